"""The transactions of the recorder. Each is a `Write` of the store: it may run more than once, and it can be kept."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import NamedTuple, cast

from agentops_local import clock
from agentops_local.event import ErrorEvent, Event, LLMEvent
from agentops_local.pricing.book import Book
from agentops_local.pricing.rates import Tokens, amount
from agentops_local.recorder import rows
from agentops_local.recorder.ground import agent, environment, ground, name_agent, update
from agentops_local.recorder.payload import Recipe, place
from agentops_local.recorder.prompts import Conversation, Node, PromptTree, first_text, grow
from agentops_local.recorder.state import Place, SessionState

_ERROR_AT = "SELECT 1 FROM events WHERE kind = 'errors' AND session = ? AND init_us = ?"
_SESSION = "SELECT 1 FROM sessions WHERE seq = ?"
_UNNAMED = "Unnamed agent"
_INIT_US = rows.HEAD.index("init_us")
_PROVIDER, _MODEL, _COST, _SOURCE, _PRICE = (
    rows.LLM.index(name) for name in ("provider", "model", "cost_pusd", "cost_source", "price")
)
_COUNTS = itemgetter(
    *(rows.LLM.index(f"{kind}_tokens") for kind in ("prompt", "completion", "cache_read", "cache_write", "reasoning"))
)


class EventWrite:
    """An event other than an LLM call, ready to be inserted."""

    __slots__ = ("_agent_id", "_has_recipes", "_row", "_sql", "_state", "events", "single_in", "size")

    def __init__(self, state: SessionState, agent_id: str | None, sql: str, row: list[rows.Value]) -> None:
        self._state = state
        self._agent_id = agent_id
        self._sql = sql
        self._row = row
        self._has_recipes = Recipe in map(type, row)
        self.events = 1
        self.size = 0
        known = state.place
        self.single_in = 0
        if known is not None and not self._has_recipes and (agent_id is None or agent_id in known.agents):
            self.single_in = known.epoch

    def run(self, connection: sqlite3.Connection, epoch: int) -> None:
        """Inserts the event, and before it what it stands on, if that is not there."""
        self._insert(connection, self._grounded(connection, epoch))

    def _grounded(self, connection: sqlite3.Connection, epoch: int) -> Place:
        state = self._state
        known = state.place
        if known is None or known.epoch != epoch:
            known = ground(connection, epoch, state)
        row = self._row
        row[0] = known.session
        row[1] = known.owner
        if self._agent_id is None:
            row[2] = known.default_agent
        else:
            number = known.agents.get(self._agent_id)
            if number is None:
                name = state.agent_names.get(self._agent_id, _UNNAMED)
                number = agent(connection, known, self._agent_id, name)
            row[2] = number
        return known

    def _insert(self, connection: sqlite3.Connection, known: Place) -> None:  # noqa: ARG002 - see ErrorWrite
        row: Sequence[object] = self._row
        if self._has_recipes:
            row = [place(connection, value) if isinstance(value, Recipe) else value for value in row]
        connection.execute(self._sql, row)

    def keep(self) -> EventWrite:
        """Itself: everything is text already."""
        self.size = sum(_size(value) for value in self._row)
        return self


def _size(value: object) -> int:
    if isinstance(value, Recipe):
        return sum(len(piece if isinstance(piece, str) else piece.text) for piece in value.pieces)
    return len(value) if isinstance(value, (str, bytes)) else 8


class ErrorWrite(EventWrite):
    """An error. Its time is unique in its session, a tie moves on by 1 µs: servers give errors no id, so the time is
    what tells two equal ones apart (and one that was sent twice)."""

    __slots__ = ()

    def __init__(self, state: SessionState, agent_id: str | None, row: list[rows.Value]) -> None:
        super().__init__(state, agent_id, rows.INSERT_ERROR, row)
        self.single_in = 0

    def _insert(self, connection: sqlite3.Connection, known: Place) -> None:
        row = self._row
        at = cast("int", row[_INIT_US])
        while connection.execute(_ERROR_AT, (known.session, at)).fetchone() is not None:
            at += 1
        row[_INIT_US] = at
        super()._insert(connection, known)


class LLMWrite(EventWrite):
    """An LLM call: its new messages, then the event that points at them.

    What this process remembers of the conversation is settled before the transaction; if that turns out to be of an
    epoch that is over, the prompt is found or written anew from its first message.
    """

    __slots__ = ("_base", "_book", "_common", "_completion", "_epoch", "_kept", "_messages", "_new", "_nodes", "_tree")

    def __init__(
        self, state: SessionState, agent_id: str | None, row: list[rows.Value], tree: PromptTree,
        messages: Sequence[object], completion: tuple[object, ...], epoch: int, book: Book | None = None,
    ) -> None:  # fmt: skip
        super().__init__(state, agent_id, rows.INSERT_LLM, row)
        self._book = book  # None: it needs no price
        self.single_in = 0
        self._tree = tree
        self._messages = messages
        self._completion = completion  # the message, or nothing
        self._nodes: list[int] = []
        self._settle(epoch)

    def _settle(self, epoch: int) -> None:
        """Splits the prompt into what is remembered and what is to be encoded."""
        self._epoch = epoch
        self._base, self._common = self._tree.known(self._messages, epoch) if epoch else (None, 0)
        taken = [self._tree.take(message) for message in (*self._messages[self._common :], *self._completion)]
        self._kept: list[object] = [kept for kept, _ in taken]
        self._new: list[Node] = [node for _, node in taken]

    def run(self, connection: sqlite3.Connection, epoch: int) -> None:
        """Finds or inserts the messages, then inserts the event."""
        known = self._grounded(connection, epoch)
        if epoch != self._epoch and self._common:
            self._settle(0)
        self._epoch = epoch
        base, common = self._base, self._common
        nodes = grow(connection, base.nodes[common - 1] if base is not None and common else None, self._new)
        self._nodes = nodes
        length = len(self._messages)
        path_end = length - common  # nodes of the prompt among the new ones
        last: int | None = None
        if path_end:
            last = nodes[path_end - 1]
        elif base is not None and common:
            last = base.nodes[common - 1]
        row = self._row
        row[-2] = last
        row[-1] = nodes[-1] if self._completion else None
        if self._book is not None:
            self._price(connection, epoch, self._book)
        self._insert(connection, known)

    def _price(self, connection: sqlite3.Connection, epoch: int, book: Book) -> None:
        """What it costs, if the book knows the model. Else it is looked up when somebody wants to know."""
        row = self._row
        at_us = cast("int", row[_INIT_US])
        price = book.price(connection, epoch, cast("str", row[_PROVIDER] or ""), cast("str", row[_MODEL]), at_us)
        pusd = None
        if price is not None and price.rates is not None:
            pusd = amount(price.rates, Tokens(*_COUNTS(row)), at_us)
        row[_COST] = pusd
        row[_SOURCE], row[_PRICE] = (None, None) if price is None or pusd is None else (price.kind, price.id)

    def remember(self) -> None:
        """After the commit: the next prompt of this conversation will begin like this one."""
        first = first_text(self._messages or self._completion)
        size = sum(len(node.raw) for node in self._new)
        self._tree.remember(Conversation(self._epoch, first, self._kept, self._nodes, size), self._base, self._common)

    def keep(self) -> LLMWrite:
        """Itself with the whole prompt encoded: the program may change its messages before this is run."""
        if self._common:
            self._settle(0)
        self._common = 0
        self._base = None
        self.size = sum(_size(value) for value in self._row) + sum(2 * len(node.raw) for node in self._new)
        return self


class Owner(NamedTuple):
    """A process that contributes to a session."""

    pid: int
    started: str
    boot: str
    host: str | None


class SessionWrite:
    """A change of a session's row, always power-durable; `change` is run once the session's rows are there."""

    __slots__ = ("_change", "_state", "events", "result", "single_in", "size")

    def __init__(
        self, state: SessionState, change: Callable[[sqlite3.Connection, Place], object] | None = None
    ) -> None:
        self._state = state
        self._change = change
        self.result: object = None
        self.single_in = 0
        self.size = 1024
        self.events = 0

    def run(self, connection: sqlite3.Connection, epoch: int) -> None:
        """Makes the change; a session that was erased is there again with it."""
        known = self._state.place
        if known is not None and connection.execute(_SESSION, (known.session,)).fetchone() is None:
            self._state.place = None
        known = ground(connection, epoch, self._state)
        if self._change is not None:
            self.result = self._change(connection, known)

    def keep(self) -> SessionWrite:
        """Itself."""
        return self


def set_tags(state: SessionState, tags: list[str]) -> SessionWrite:
    """These tags, and no others."""

    def replace(connection: sqlite3.Connection, known: Place) -> None:
        state.tags = tags
        update(connection, known, "tags = ?", json.dumps(tags))

    return SessionWrite(state, replace)


def add_tags(state: SessionState, tags: list[str]) -> SessionWrite:
    """These tags beside those the session has, whichever process gave it them."""

    def join(connection: sqlite3.Connection, known: Place) -> None:
        has = connection.execute("SELECT tags FROM sessions WHERE seq = ?", (known.session,)).fetchone()[0]
        state.tags = list(dict.fromkeys([*json.loads(has), *tags]))
        update(connection, known, "tags = ?", json.dumps(state.tags))

    return SessionWrite(state, join)


def set_video(state: SessionState) -> SessionWrite:
    """The video, as it is now."""
    video = state.video
    return SessionWrite(state, lambda connection, known: update(connection, known, "video = ?", video))


def set_environment(state: SessionState) -> SessionWrite:
    """The host environment."""
    return SessionWrite(state, lambda connection, known: environment(connection, known, state))


def add_agent(state: SessionState, agent_id: str, name: str) -> SessionWrite:
    """An agent of the session."""
    return SessionWrite(state, lambda connection, known: name_agent(connection, known, agent_id, name))


def join(state: SessionState) -> SessionWrite:
    """Another process's session, taken over as it is; its result is the row (init_us, end_us, auto_ended, tags)."""

    def look(connection: sqlite3.Connection, known: Place) -> object:
        return connection.execute(
            "SELECT init_us, end_us, auto_ended, tags, video FROM sessions WHERE seq = ?", (known.session,)
        ).fetchone()

    return SessionWrite(state, look)


def end(state: SessionState) -> SessionWrite:
    """The end of the session, as the state says, and of this process's part in it; its result is whether it was open
    until now. An end that came by itself, with the exit of a process, yields to one that a program declares."""

    def close(connection: sqlite3.Connection, known: Place) -> object:
        _leave(connection, known, "end")
        return _end(connection, known, state)

    return SessionWrite(state, close)


def leave(state: SessionState, manner: str, ends: Callable[[list[Owner]], bool]) -> SessionWrite:
    """This process has come to its end, and the session may end with it, as the state says.

    Args:
        manner: 'end' or 'error'.
        ends: whether the session ends, told the other processes that have not left it.
    """

    def go(connection: sqlite3.Connection, known: Place) -> object:
        _leave(connection, known, manner)
        others = connection.execute(
            "SELECT pid, started, boot, host FROM owners WHERE session = ? AND end_us IS NULL", (known.session,)
        ).fetchall()
        return ends([Owner(*row) for row in others]) and _end(connection, known, state)

    return SessionWrite(state, go)


def _leave(connection: sqlite3.Connection, known: Place, manner: str) -> None:
    connection.execute(
        "UPDATE owners SET end_us = max(?, start_us), exit = ? WHERE seq = ? AND end_us IS NULL",
        (clock.now_us(), manner, known.owner),
    )


def _end(connection: sqlite3.Connection, known: Place, state: SessionState) -> bool:
    (is_open,) = connection.execute(
        "SELECT end_us IS NULL OR (auto_ended AND NOT (? AND end_state = 'Fail')) FROM sessions WHERE seq = ?",
        (state.auto_ended, known.session),
    ).fetchone()
    if is_open:
        update(
            connection, known,
            "end_us = max(?, init_us), end_state = ?, end_state_reason = ?, video = coalesce(?, video), auto_ended = ?",
            state.end_us, state.end_state, state.end_state_reason, state.video if state.video_due else None,
            state.auto_ended,
        )  # fmt: skip
    return bool(is_open)


def event_write(
    state: SessionState, event: Event, agent_id: str | None, parent: bytes | None, redact: rows.Redact,
    tree: PromptTree, epoch: int, book: Book | None = None,
) -> EventWrite:  # fmt: skip
    """An event as the write that stores it; an LLM call is priced by the book."""
    row = rows.common_row(event, parent, redact)
    if isinstance(event, LLMEvent):
        return _llm(state, event, agent_id, row, redact, tree, epoch, book)
    name = rows.HEAD.index("name")
    if isinstance(event, ErrorEvent):
        row[name] = rows.text(event.error_type, redact)
        trigger = event.trigger_event
        row += [
            rows.text(event.code, redact),
            rows.payload(event.details, redact),
            rows.uuid_bytes(trigger.id) if trigger is not None else None,
            rows.words(getattr(trigger.event_type, "value", trigger.event_type)) if trigger is not None else None,
        ]
        return ErrorWrite(state, agent_id, row)
    label = getattr(event, "name", None)
    row[name] = rows.text(getattr(event, "action_type", None) if label is None else label, redact)
    image = getattr(event, "screenshot", None)
    if image is not None:
        row.append(rows.screenshot(image, redact))
        return EventWrite(state, agent_id, rows.INSERT_ACTION, row)
    return EventWrite(state, agent_id, rows.INSERT_COMMON, row)


def _llm(
    state: SessionState, event: LLMEvent, agent_id: str | None, row: list[rows.Value], redact: rows.Redact,
    tree: PromptTree, epoch: int, book: Book | None,
) -> LLMWrite:  # fmt: skip
    prompt, completion = event.prompt, event.completion
    messages: Sequence[object] = ()
    prompt_form = completion_form = None
    if isinstance(prompt, (list, tuple)):
        messages, prompt_form = list(prompt), 0
    elif prompt is not None:
        messages, prompt_form = (prompt,), 1
    said: tuple[object, ...] = ()
    if isinstance(completion, str):
        said, completion_form = ({"role": "assistant", "content": completion},), 2
    elif completion is not None:
        said, completion_form = (completion,), 1
    cost = rows.money(event.cost)
    row += [
        rows.text(event.provider, redact),
        rows.text(event.model, redact),
        prompt_form,
        completion_form,
        rows.count(event.prompt_tokens),
        rows.count(event.completion_tokens),
        rows.count(event.cache_read_tokens),
        rows.count(event.cache_write_tokens),
        rows.count(event.reasoning_tokens),
        cost,
        None if cost is None else "reported",
        None,
        None if event.thread_id is None else rows.words(event.thread_id),
        None,
        None,
    ]
    if cost is not None or row[_MODEL] is None:
        book = None  # the figure that was reported stands
    return LLMWrite(state, agent_id, row, tree, messages, said, epoch, book)
