"""Sessions in our JSON Lines, as docs/export.md describes them: what was exported is equal to what is taken in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from agentops_local.analytics.ratings import Said as Judged
from agentops_local.analytics.ratings import said as judged
from agentops_local.errors import WrongUse
from agentops_local.importing import checks
from agentops_local.importing.checks import Wrong
from agentops_local.importing.parsing import Bad, Found, Item
from agentops_local.importing.told import Environment, Event, Messages, Nodes, Owner, Price, Session, Told, Whole, said
from agentops_local.importing.v2 import end_state, tags

FORMAT = 1  # the highest that we know

Said = Mapping[str, Any]

_TEXTS = ("name", "provider", "model", "thread_id", "code", "trigger_event_type", "cost_source")
_TOKENS = ("prompt_tokens", "completion_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
_PAYLOADS = ("params", "returns", "logs", "screenshot", "details")
_FORMS = (None, 0, 1, 2)


def is_one(value: object) -> bool:
    """Whether a value looks like the first line of such a file."""
    return isinstance(value, dict) and value.get("type") == "session" and "format" in value


def read(found: Iterator[Found]) -> Iterator[Told]:
    """The sessions of a file, each once all of its lines are read."""
    about: _About | None = None
    for one in found:
        value = one.value if isinstance(one, Item) else None
        if isinstance(value, dict) and value.get("type") == "session":
            if about is not None:
                yield from about.told()
            about = _About(one.place, value)
        elif about is None:
            yield one if isinstance(one, Bad) else Bad(one.place, "it stands before the first session")
        else:
            about.add(one)
    if about is not None:
        yield from about.told()


class _About:
    """The lines about one session."""

    def __init__(self, place: str, line: Said) -> None:
        self._place = place
        self._prices: dict[int | None, Price] = {}
        self._nodes: dict[int | None, tuple[int | None, bytes]] = {}
        self._lines = 0  # of events, good or bad
        self._expected: int | None = None
        self._wrong: list[Bad] = []
        self._events: list[Event] = []
        self._session: Session | None = None
        try:
            self._session = _session(line)
            self._expected = checks.count(line.get("events"), "events")
        except Wrong as error:
            self._wrong.append(Bad(place, str(error)))

    def add(self, one: Found) -> None:
        """Takes a line."""
        if isinstance(one, Bad):
            self._wrong.append(one)
            return
        if self._session is None:
            self._wrong.append(Bad(one.place, f"its session, {self._place}, could not be read"))
            return
        try:
            line = checks.mapping(one.value, "a line")
            takes = {"event": self._event, "price": self._price, "node": self._node, "score": self._score}
            take = takes.get(str(line.get("type")))
            if take is not None:  # else of a later version, and nothing that we must know
                take(line)
        except Wrong as error:
            self._wrong.append(Bad(one.place, str(error)))

    def told(self) -> Iterator[Told]:
        """The session."""
        if self._session is None:
            yield from self._wrong
            return
        if self._expected is not None and self._lines < self._expected:
            missing = f"it has {self._lines} events and says that there are {self._expected}"
            self._wrong.append(Bad(self._place, f"the session is cut short: {missing}"))
        yield Whole(self._session, self._events, self._wrong)

    def _price(self, line: Said) -> None:
        rates = line.get("rates")
        self._prices[_number(line, "number")] = Price(
            checks.text(line.get("provider")) or "", checks.text(line.get("model")) or "",
            checks.the_time_us(line.get("from_timestamp"), "from_timestamp"),
            checks.time_us(line.get("until_timestamp"), "until_timestamp"),
            None if rates is None else checks.encode(rates).decode(),
            "overridden" if line.get("kind") == "overridden" else "priced", checks.text(line.get("source")) or "",
            checks.the_time_us(line.get("looked_timestamp"), "looked_timestamp"),
            checks.time_us(line.get("ended_timestamp"), "ended_timestamp"),
        )  # fmt: skip

    def _score(self, line: Said) -> None:
        if self._session is not None:
            self._session.scores.append(_judged(line))

    def _node(self, line: Said) -> None:
        if "message" not in line:
            raise Wrong("message is missing")
        number, parent = _number(line, "number"), _number(line, "parent")
        if parent is not None and parent not in self._nodes:
            raise Wrong(f"the node {parent} before it is missing")
        if number == parent or number in self._nodes:
            raise Wrong(f"the node {number} stands there twice")
        self._nodes[number] = (parent, checks.encode(line["message"]))

    def _event(self, line: Said) -> None:
        self._lines += 1
        kind = line.get("kind")
        if not isinstance(kind, str) or not kind:
            raise Wrong("kind is missing")
        agent, parent, trigger = (
            checks.uuid(line.get(name), name) for name in ("agent_id", "parent_id", "trigger_event_id")
        )
        texts = {name: checks.text(line.get(name)) for name in _TEXTS}
        pusd = _pusd(line)
        if pusd is not None:
            texts["cost_source"] = texts["cost_source"] or "reported"
        owner = _number(line, "owner")
        self._events.append(Event(
            id=checks.the_uuid(line.get("id"), "id").bytes,
            kind=kind,
            init_us=checks.the_time_us(line.get("init_timestamp"), "init_timestamp"),
            columns={
                **{name: value for name, value in texts.items() if name != "trigger_event_type"},
                **{name: checks.count(line.get(name), name) for name in _TOKENS},
                "end_us": checks.time_us(line.get("end_timestamp"), "end_timestamp"),
                "parent": None if parent is None else parent.bytes,
                "trigger_id": None if trigger is None else trigger.bytes,
                "trigger_kind": texts["trigger_event_type"],
                "extra": checks.encode(line["extra"]).decode() if "extra" in line else None,
                "cost_pusd": pusd, "prompt_form": _form(line, "prompt_form"),
                "completion_form": _form(line, "completion_form"),
            },
            payloads={name: checks.encode(line[name]) for name in _PAYLOADS if name in line},
            messages=self._messages(line) if kind == "llms" else None,
            owner=owner or 0,
            agent=None if agent is None else str(agent),
            agent_name=checks.text(line.get("agent_name")),
            price=self._prices.get(_number(line, "price")),
        ))  # fmt: skip

    def _messages(self, line: Said) -> Messages:
        if "prompt_node" in line or "completion_node" in line:
            nodes = [_number(line, "prompt_node"), _number(line, "completion_node")]
            for node in nodes:
                if node is not None and node not in self._nodes:
                    raise Wrong(f"the node {node} is missing")
            return lambda tree: (self._placed(tree, nodes[0]), self._placed(tree, nodes[1]))
        prompt: tuple[bytes, ...] = ()
        if line.get("prompt_form") == 0:
            prompt = tuple(map(checks.encode, checks.items(line.get("prompt"), "prompt")))
        elif "prompt" in line:
            prompt = (checks.encode(line["prompt"]),)
        completion = None
        if "completion_whole" in line:
            completion = checks.encode(line["completion_whole"])
        elif line.get("completion_form") == 2:
            completion = checks.encode({"role": "assistant", "content": line.get("completion")})
        elif "completion" in line:
            completion = checks.encode(line["completion"])
        return said(prompt, completion)

    def _placed(self, tree: Nodes, number: int | None) -> int | None:
        path = []
        while number is not None:
            number, raw = self._nodes[number]
            path.append(raw)
        last: int | None = None
        for raw in reversed(path):
            last = tree.child(last, raw)
        return last


def _pusd(line: Said) -> int | None:
    pusd = line.get("cost_pusd")
    if pusd is None:
        return checks.money(line.get("cost"), "cost")
    if not isinstance(pusd, int) or isinstance(pusd, bool) or abs(pusd) >= 1 << 62:
        raise Wrong(f"cost_pusd {pusd!r} is no amount")
    return pusd


def _number(line: Said, name: str) -> int | None:
    """A number by which something is called."""
    number = line.get(name)
    if number is None or (isinstance(number, int) and not isinstance(number, bool)):
        return number
    raise Wrong(f"{name} {number!r} is no number")


def _form(line: Said, name: str) -> int | None:
    form = line.get(name)
    if form not in _FORMS or isinstance(form, bool):
        raise Wrong(f"{name} {form!r} is none that is known")
    return form


def _session(line: Said) -> Session:
    known = line.get("format")
    if not isinstance(known, int) or known > FORMAT:
        raise Wrong(f"format {known!r} is newer than this program, which knows {FORMAT}: upgrade agentops-local")
    host_env, moment = line.get("host_env"), line.get("moment")
    session = Session(
        str(checks.the_uuid(line.get("id"), "id")),
        checks.the_time_us(line.get("init_timestamp"), "init_timestamp"),
        checks.time_us(line.get("end_timestamp"), "end_timestamp"),
        auto_ended=int(line.get("auto_ended") is True),
        end_state=end_state(line.get("end_state")),
        tags=tags(line.get("tags")),
        moment=None if moment is None else checks.encode(moment).decode(),
        joined=int(line.get("joined") is True),
    )
    for name in ("end_state_reason", "video", "key_hash", "parent_key_hash"):
        setattr(session, name, checks.text(line.get(name)))
    if host_env is not None:
        text = checks.encode(checks.mapping(host_env, "host_env"))
        fingerprint = checks.text(line.get("fingerprint")) or f"imported:{checks.derived(text).hex}"
        session.environment = Environment(fingerprint, text.decode())
    for agent in checks.items(line.get("agents"), "agents"):
        row = checks.mapping(agent, "an agent")
        session.agents.append((str(checks.the_uuid(row.get("id"), "id")), checks.text(row.get("name")) or ""))
    for owner in checks.items(line.get("owners"), "owners"):
        row = checks.mapping(owner, "an owner")
        session.owners[_number(row, "number") or 0] = _owner(row)
    return session


def _judged(line: Said) -> Judged:
    event = checks.uuid(line.get("event_id"), "event_id")
    kind, number, text = line.get("kind"), line.get("number"), checks.text(line.get("text"))
    value: bool | float | str
    if kind == "text":
        value, remark = text or "", None
    elif kind in ("thumb", "number") and isinstance(number, (int, float)) and not isinstance(number, bool):
        value, remark = bool(number) if kind == "thumb" else number, text
    else:
        raise Wrong(f"a score of the kind {kind!r} with the number {number!r} is none that is known")
    at_us = checks.the_time_us(line.get("timestamp"), "timestamp")
    name, author = checks.text(line.get("name")) or "", checks.text(line.get("author"))
    try:
        return judged(name, value, None if event is None else event.bytes, remark, author, at_us)
    except WrongUse as error:
        raise Wrong(str(error)) from error


def _owner(row: Said) -> Owner:
    pid = row.get("pid")
    return Owner(
        pid if isinstance(pid, int) else 0, checks.text(row.get("started")) or "", checks.text(row.get("boot")) or "",
        checks.text(row.get("host")), checks.text(row.get("program")),
        checks.the_time_us(row.get("start_timestamp"), "start_timestamp"),
        checks.time_us(row.get("end_timestamp"), "end_timestamp"), checks.text(row.get("exit")),
    )  # fmt: skip
