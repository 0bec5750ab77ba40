"""Sessions in the shape of the v2 API's `/export`, from whatever server or file: see docs/import.md.

v2 tells objects as JSON text and texts as they are, so a text that is the JSON of an object or a list is taken for
that. Ids of events and sessions are its own; a row without one gets an id made of what it says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from agentops_local.enums import EndState
from agentops_local.errors import WrongUse
from agentops_local.importing import checks
from agentops_local.importing.checks import Wrong
from agentops_local.importing.parsing import Bad, Found, parse
from agentops_local.importing.told import Environment, Event, Session, Told, Whole, said

Said = Mapping[str, Any]

_LISTS = ("llms", "tools", "actions", "errors")
_TOKENS = ("prompt_tokens", "completion_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
_SOURCES = frozenset({"reported", "priced", "overridden"})
_COMMON = frozenset({
    "id", "session_id", "agent_id", "agent_name", "parent_id", "init_timestamp", "end_timestamp", "params", "returns",
    "seq", "extra", "kind",
})  # fmt: skip
_OWN = {
    "llms": frozenset({
        "thread_id", "prompt", "completion", "model", "provider", "cost", "cost_source", "price_source",
        "promptarmor_flag", *_TOKENS,
    }),
    "tools": frozenset({"name", "logs"}),
    "actions": frozenset({"action_type", "logs", "screenshot"}),
    "errors": frozenset({
        "trigger_event_id", "trigger_event_type", "error_type", "code", "details", "logs", "timestamp",
    }),
}  # fmt: skip


def is_one(value: object) -> bool:
    """Whether a value looks like a session in this shape."""
    return isinstance(value, dict) and isinstance(value.get("session"), dict)


def read(found: Iterator[Found]) -> Iterator[Told]:
    """The sessions of a file."""
    for one in found:
        if isinstance(one, Bad):
            yield one
            continue
        try:
            body = checks.mapping(one.value, "a session")
            session = _session(checks.mapping(body.get("session"), "session"))
        except Wrong as error:
            yield Bad(one.place, str(error))
            continue
        wrong: list[Bad] = []
        yield Whole(session, _events(body, session, one.place, wrong), wrong)


def _session(row: Said) -> Session:
    session = Session(
        str(checks.the_uuid(row.get("id"), "id")),
        checks.the_time_us(row.get("init_timestamp"), "init_timestamp"),
        checks.time_us(row.get("end_timestamp"), "end_timestamp"),
        end_state=end_state(row.get("end_state")),
        end_state_reason=checks.text(row.get("end_state_reason")),
        tags=tags(row.get("tags")),
        video=checks.text(row.get("video")),
    )
    if row.get("host_env") is not None:
        host_env = checks.encode(checks.mapping(_plain(row["host_env"]), "host_env"))
        session.environment = Environment(f"imported:{checks.derived(host_env).hex}", host_env.decode())
    return session


def end_state(word: object) -> str:
    """The state of a session; none is none."""
    if word is None:
        return EndState.INDETERMINATE.value
    try:
        return EndState.parse(str(word)).value
    except WrongUse as error:
        raise Wrong(str(error)) from error


def tags(given: object) -> list[str]:
    """A list of texts, or its JSON; a text alone is one tag."""
    value = _plain(given)
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    return [checks.text(tag) or "" for tag in checks.items(value, "tags") if tag is not None]


def _events(body: Said, session: Session, place: str, wrong: list[Bad]) -> list[Event]:
    rows: list[tuple[int, int, int, Event]] = []
    for name in _LISTS:
        for number, row in enumerate(_list(body, name, place, wrong)):
            here = f"{place}.{name}[{number}]"
            try:
                said_of_it = checks.mapping(row, "a row")
                order = said_of_it.get("seq")
                event = _event(name, said_of_it, session)
            except Wrong as error:
                wrong.append(Bad(here, str(error)))
            else:
                rows.append((order if isinstance(order, int) else 0, event.init_us, len(rows), event))
    # As they were recorded, where that is told; else by their times, and as they stand.
    return [row[-1] for row in sorted(rows, key=lambda row: row[:3])]


def _list(body: Said, name: str, place: str, wrong: list[Bad]) -> list[Any]:
    try:
        return checks.items(body.get(name), name)
    except Wrong as error:
        wrong.append(Bad(f"{place}.{name}", str(error)))
        return []


def _event(name: str, row: Said, session: Session) -> Event:
    begin = row.get("timestamp") if name == "errors" else None
    begin = row.get("init_timestamp") if begin is None else begin
    own = _ROWS[name](row)
    agent = checks.uuid(row.get("agent_id"), "agent_id")
    parent = checks.uuid(row.get("parent_id"), "parent_id")
    found = checks.uuid(row.get("id"), "id") or checks.derived(session.id, name, checks.encode(row))
    extra = row.get("extra")
    more = {key: value for key, value in row.items()
            if value is not None and key not in _COMMON and key not in _OWN[name]}  # fmt: skip
    if isinstance(extra, dict):
        more = {**extra, **more}
    kind = checks.text(row.get("kind")) if name == "actions" else name
    return Event(
        id=found.bytes,
        kind=kind or name,
        init_us=checks.the_time_us(begin, "timestamp" if name == "errors" else "init_timestamp"),
        columns={
            "end_us": checks.time_us(row.get("end_timestamp"), "end_timestamp"),
            "parent": None if parent is None else parent.bytes,
            "extra": checks.encode(more).decode() if more else None,
            **own.columns,
        },
        payloads=_payloads(row, "params", "returns", "logs", *own.payloads),
        messages=said(own.prompt, own.completion) if name == "llms" else None,
        agent=None if agent is None else str(agent),
        agent_name=checks.text(row.get("agent_name")),
    )


class _Own(NamedTuple):
    """What only a kind of events has."""

    columns: dict[str, Any]
    payloads: tuple[str, ...] = ()
    prompt: tuple[bytes, ...] = ()
    completion: bytes | None = None


def _llm(row: Said) -> _Own:
    prompt, prompt_form = _prompt(row.get("prompt"))
    completion, completion_form = _completion(row.get("completion"))
    cost = checks.money(row.get("cost"), "cost")
    source = row.get("cost_source")
    columns = {
        "model": checks.text(row.get("model")), "provider": checks.text(row.get("provider")),
        **{name: checks.count(row.get(name), name) for name in _TOKENS},
        "cost_pusd": cost, "cost_source": None if cost is None else source if source in _SOURCES else "reported",
        "thread_id": checks.text(row.get("thread_id")), "prompt_form": prompt_form,
        "completion_form": completion_form,
    }  # fmt: skip
    return _Own(columns, (), prompt, completion)


def _prompt(given: object) -> tuple[tuple[bytes, ...], int | None]:
    value = _spoken(given)
    if value is None:
        return (), None
    if isinstance(value, list):
        return tuple(map(checks.encode, value)), 0
    return (checks.encode(value),), 1


def _completion(given: object) -> tuple[bytes | None, int | None]:
    value = _spoken(given)
    if value is None:
        return None, None
    if isinstance(value, str):
        return checks.encode({"role": "assistant", "content": value}), 2
    return checks.encode(value), 1


def _spoken(given: object) -> Any:
    """Messages or text, as v2 says which it is, or as they are."""
    if isinstance(given, dict) and given.get("type") == "chatml" and "messages" in given:
        return given["messages"]
    if isinstance(given, dict) and given.get("type") == "string" and "string" in given:
        return given["string"]
    return given


def _tool(row: Said) -> _Own:
    return _Own({"name": checks.text(row.get("name"))})


def _action(row: Said) -> _Own:
    return _Own({"name": checks.text(row.get("action_type"))}, ("screenshot",))


def _error(row: Said) -> _Own:
    trigger = checks.uuid(row.get("trigger_event_id"), "trigger_event_id")
    return _Own(
        {
            "name": checks.text(row.get("error_type")), "code": checks.text(row.get("code")),
            "trigger_id": None if trigger is None else trigger.bytes,
            "trigger_kind": checks.text(row.get("trigger_event_type")),
        },
        ("details",),
    )  # fmt: skip


_ROWS = {"llms": _llm, "tools": _tool, "actions": _action, "errors": _error}


def _payloads(row: Said, *names: str) -> dict[str, bytes]:
    return {name: checks.encode(_plain(row[name])) for name in names if row.get(name) is not None}


def _plain(value: object) -> Any:
    """A text that is the JSON of an object or a list, as what it says; any other value as it is."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return parse(value.encode())
        except ValueError:
            pass
    return value
