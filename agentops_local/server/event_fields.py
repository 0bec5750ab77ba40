"""What a body says of events.

An event is stored as it is said: what has no column of its own goes to `extra`, an agent that nobody has announced is
made, a kind that nobody knows is kept as it is called. Refused is only what cannot be meant, such as a time that is
none; then the whole request is, and the answer names each bad event by its place and the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any
from uuid import UUID

import orjson

from agentops_local.enums import EventType
from agentops_local.server import values
from agentops_local.server.body import encode, encoded, shown
from agentops_local.server.refusal import BadInput
from agentops_local.server.store import EventFields

_MOST_TOLD = 20  # bad events that an answer names

_COMMON = frozenset(
    {"id", "event_type", "init_timestamp", "end_timestamp", "agent_id", "session_id", "parent_id", "params", "returns"}
)
_TOKENS = ("prompt_tokens", "completion_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")

Said = Mapping[str, object]
_Own = tuple[dict[str, Any], frozenset[str]]  # the fields of a kind, and the keys they were taken from


def read_events(body: Said, session_id: str, change: bool = False) -> list[EventFields]:
    """The events of a request.

    Args:
        session_id: whose they are, by the token; what the events say of it does not count.
        change: whether they change events that are there: then an id and the type are needed, and nothing else.

    Raises:
        BadInput: `events` is no list, or some of them are wrong; the message names those.
    """
    said = body.get("events")
    if not isinstance(said, list):
        raise BadInput(f'events must be a list: the body must be {{"events": [...]}}, not {shown(body)}')
    found: list[EventFields] = []
    wrong: list[str] = []
    for index, event in enumerate(said):
        read = _read(event, session_id, change)
        if isinstance(read, EventFields):
            found.append(read)
        else:
            wrong.append(f"event {index}: {read}")
    if wrong:
        more = f"; and {len(wrong) - _MOST_TOLD} more" if len(wrong) > _MOST_TOLD else ""
        raise BadInput(f"nothing was stored, {len(wrong)} of {len(said)} events are wrong: "
                       f"{'; '.join(wrong[:_MOST_TOLD])}{more}")  # fmt: skip
    return found


def _read(event: object, session_id: str, change: bool) -> EventFields | str:
    """An event, or what is wrong with it."""
    try:
        return _event(values.mapping(event, "an event"), session_id, change)
    except BadInput as error:
        return error.message


def _event(said: Said, session_id: str, change: bool) -> EventFields:
    kind = said.get("event_type")
    if not isinstance(kind, str) or not kind:
        raise BadInput(f"event_type {shown(kind)} must be a text such as llms, tools, actions or errors")
    fields, taken = _OWN.get(kind, _action)(said)
    begin = values.time_us(said.get("init_timestamp"), "init_timestamp")
    at = values.time_us(said.get("timestamp"), "timestamp") if kind == EventType.ERROR.value else None
    if at is None and begin is None and not change:
        raise BadInput("timestamp is missing" if kind == EventType.ERROR.value else "init_timestamp is missing")
    agent_id = values.uuid_or_none(said.get("agent_id"), "agent_id")
    extra = {name: value for name, value in said.items() if name not in _COMMON and name not in taken}
    if isinstance(inner := extra.get("extra"), dict):  # as our own export calls it
        extra = {**inner, **{name: value for name, value in extra.items() if name != "extra"}}
    if at is not None and begin is not None and at != begin:
        extra["init_timestamp"] = said["init_timestamp"]
    return EventFields(
        id=_id(said, session_id, change),
        kind=kind,
        init_us=begin or 0 if at is None else at,
        said=frozenset(said),
        end_us=values.time_us(said.get("end_timestamp"), "end_timestamp"),
        agent_id=None if agent_id is None else str(agent_id),
        parent_id=values.uuid_or_none(said.get("parent_id"), "parent_id"),
        params=encoded(said.get("params")),
        returns=encoded(said.get("returns")),
        extra=extra,
        **fields,
    )  # fmt: skip


def _id(said: Said, session_id: str, change: bool) -> UUID:
    """The id; where none was sent one made of all that was, so that a verbatim repeat is known for what it is."""
    found = values.uuid_or_none(said.get("id"), "id")
    if found is not None:
        return found
    if change:
        raise BadInput("id is missing")
    try:
        content = orjson.dumps(said, option=orjson.OPT_SORT_KEYS)
    except (TypeError, ValueError):
        content = encode(said)
    digest = bytearray(blake2b(session_id.encode() + b"\n" + content, digest_size=16).digest())
    digest[6] = 0x80 | digest[6] & 0x0F  # version 8 of RFC 9562: made in a way of one's own
    digest[8] = 0x80 | digest[8] & 0x3F
    return UUID(bytes=bytes(digest))


def _llm(said: Said) -> _Own:
    thread = said.get("thread_id")
    return {
        "model": values.text(said.get("model")),
        "prompt": said.get("prompt"),
        "completion": said.get("completion"),
        **{name: values.count(said.get(name), name) for name in _TOKENS},
        "cost_pusd": values.money(said.get("cost"), "cost"),
        "thread_id": values.text(thread) or None,
    }, _LLM


def _tool(said: Said) -> _Own:
    # The classic client says the name twice.
    name, second = values.text(said.get("name")), said.get("tool_name")
    if name is None:
        name = values.text(second)
    taken = _TOOL | {"tool_name"} if second is None or values.text(second) == name else _TOOL
    return {"name": name, "logs": encoded(said.get("logs"))}, taken


def _action(said: Said) -> _Own:
    name, second = values.text(said.get("action_type")), said.get("name")
    if name is None:
        name = values.text(second)
    taken = _ACTION | {"name"} if second is None or values.text(second) == name else _ACTION
    screenshot = said.get("screenshot")
    return {"name": name, "logs": encoded(said.get("logs")), "screenshot": encoded(screenshot)}, taken


def _error(said: Said) -> _Own:
    trigger, exception = said.get("trigger_event"), said.get("exception")
    trigger_id, trigger_kind = said.get("trigger_event_id"), said.get("trigger_event_type")
    taken = _ERROR
    if trigger is None or trigger == "":  # what the classic client sends for any event
        taken |= {"trigger_event"}
    elif isinstance(trigger, dict) and trigger_id is None:
        trigger_id, trigger_kind = trigger.get("id"), trigger_kind or trigger.get("event_type")
    if exception is None or exception == "":
        taken |= {"exception"}
    return {
        "name": values.text(said.get("error_type")),
        "code": values.text(said.get("code")),
        "details": encoded(said.get("details")),
        "logs": encoded(said.get("logs")),
        "trigger_id": values.uuid_or_none(trigger_id, "trigger_event_id"),
        "trigger_kind": values.text(trigger_kind) or None,
    }, taken


_LLM = frozenset({"model", "prompt", "completion", *_TOKENS, "cost", "thread_id"})
_TOOL = frozenset({"name", "logs"})
_ACTION = frozenset({"action_type", "logs", "screenshot"})
_ERROR = frozenset({"timestamp", "error_type", "code", "details", "logs", "trigger_event_id", "trigger_event_type"})
_OWN: dict[str, Callable[[Said], _Own]] = {
    EventType.LLM.value: _llm,
    EventType.TOOL.value: _tool,
    EventType.ERROR.value: _error,
}
