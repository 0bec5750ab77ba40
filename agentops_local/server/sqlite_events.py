"""Events in a database of ours, by the recorder's own writes; all of a request in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from uuid import UUID

import orjson

from agentops_local.enums import EventType
from agentops_local.recorder import payload, rows
from agentops_local.recorder.ground import agent
from agentops_local.recorder.payload import Encoded
from agentops_local.recorder.prompts import PromptTree, grow
from agentops_local.recorder.state import SessionState
from agentops_local.recorder.writes import ErrorWrite, EventWrite, LLMWrite
from agentops_local.server.body import encode
from agentops_local.server.sqlite_sessions import UNNAMED, need_default_agent, place_of
from agentops_local.server.store import EventFields, UnknownEvent

_TOKENS = ("prompt_tokens", "completion_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
_LLM = (
    *rows.HEAD, "model", "prompt_form", "completion_form", *_TOKENS, "cost_pusd", "cost_source", "thread_id", "extra",
    "prompt", "completion",
)  # fmt: skip
_INSERT_LLM = rows.insert(_LLM)
_INSERT_ERROR = rows.insert((*rows.ERROR, "extra"))
_INSERT_ACTION = rows.insert((*rows.ACTION, "extra"))

_BY_ID = "SELECT seq, extra FROM events WHERE session = ? AND id = ? AND kind = ?"
# What a request may say, and the column that it changes. The time at which an event began stays: errors are told apart
# by it. Prompt, completion and cost take several columns each.
_NAMES = ("name", "tool_name", "action_type", "error_type")
_CHANGES = {
    "end_timestamp": "end_us", "parent_id": "parent", "trigger_event_id": "trigger_id",
    "trigger_event_type": "trigger_kind", **dict.fromkeys(_NAMES, "name"),
    **{name: name for name in ("params", "returns", "logs", "model", "thread_id", "screenshot", "code", "details")},
    **{name: name for name in _TOKENS},
}  # fmt: skip
_ATTRIBUTES = {"parent": "parent_id"}


class _Call(LLMWrite):
    """An LLM call with all the columns that a client may fill."""

    __slots__ = ()

    def __init__(self, state: SessionState, event: EventFields, row: list[rows.Value], tree: PromptTree) -> None:
        messages, prompt_form = _messages(event.prompt)
        completion, completion_form = _said(event.completion)
        row += [
            event.model, prompt_form, completion_form, event.prompt_tokens, event.completion_tokens,
            event.cache_read_tokens, event.cache_write_tokens, event.reasoning_tokens, event.cost_pusd,
            None if event.cost_pusd is None else "reported", event.thread_id, _extra(event), None, None,
        ]  # fmt: skip
        super().__init__(state, event.agent_id, row, tree, messages, completion, 0)
        self._sql = _INSERT_LLM


class _Error(ErrorWrite):
    """An error with all the columns that a client may fill."""

    __slots__ = ()

    def __init__(self, state: SessionState, event: EventFields, row: list[rows.Value]) -> None:
        row += [
            event.code, rows.payload(event.details, None),
            None if event.trigger_id is None else event.trigger_id.bytes, event.trigger_kind, _extra(event),
        ]  # fmt: skip
        super().__init__(state, event.agent_id, row)
        self._sql = _INSERT_ERROR


class EventsWrite:
    """Events of one request, ready to be inserted.

    Args:
        session_id: whose they are.
        events: in the order in which they were sent.
    """

    def __init__(self, session_id: str, events: Sequence[EventFields]) -> None:
        self._state = SessionState(session_id)
        self._tree = PromptTree()  # it remembers nothing: what a client sends next is another conversation, mostly
        self._begin = min((event.init_us for event in events), default=None)
        self._agentless = any(event.agent_id is None for event in events)
        self._writes = [self._write(event) for event in events]

    def _write(self, event: EventFields) -> EventWrite:
        row: list[rows.Value] = [
            0, 0, None, event.id.bytes, None if event.parent_id is None else event.parent_id.bytes, event.kind,
            event.init_us, event.end_us, event.name, rows.payload(event.params, None),
            rows.payload(event.returns, None), rows.payload(event.logs, None),
        ]  # fmt: skip
        if event.kind == EventType.LLM.value:
            return _Call(self._state, event, row, self._tree)
        if event.kind == EventType.ERROR.value:
            return _Error(self._state, event, row)
        row += [rows.payload(event.screenshot, None), _extra(event)]
        return EventWrite(self._state, event.agent_id, _INSERT_ACTION, row)

    def run(self, connection: sqlite3.Connection, epoch: int) -> None:
        """Inserts them, and before them the session, should it be gone."""
        place = place_of(connection, epoch, self._state.id, self._begin)
        if self._agentless:
            need_default_agent(connection, place)
        self._state.place = place
        for write in self._writes:
            write.run(connection, epoch)


def change(connection: sqlite3.Connection, epoch: int, session_id: str, changes: Sequence[EventFields]) -> None:
    """Replaces what is said of events that are there. In a transaction.

    Raises:
        UnknownEvent: one is not there, or is of another kind.
    """
    place = place_of(connection, epoch, session_id, None)
    tree = PromptTree()
    for index, event in enumerate(changes):
        found = connection.execute(_BY_ID, (place.session, event.id.bytes, event.kind)).fetchone()
        if found is None:
            raise UnknownEvent(index, event.id)
        number, extra = found
        columns = _columns(connection, event, tree)
        if event.agent_id is not None:
            columns["agent"] = agent(connection, place, event.agent_id, UNNAMED)
        if event.extra:
            columns["extra"] = encode({**(orjson.loads(extra) if extra else {}), **event.extra}).decode()
        if columns:
            settings = ", ".join(f"{column} = ?" for column in columns)
            connection.execute(f"UPDATE events SET {settings} WHERE seq = ?", (*columns.values(), number))  # noqa: S608


def _columns(connection: sqlite3.Connection, event: EventFields, tree: PromptTree) -> dict[str, object]:
    """The columns that a request says something of, with their new values."""
    columns: dict[str, object] = {}
    for name, column in _CHANGES.items():
        if name not in event.said or (name in _NAMES and event.name is None and "name" in columns):
            continue
        value = getattr(event, _ATTRIBUTES.get(column, column))
        if isinstance(value, Encoded):
            cut = payload.cut(value.raw)
            value = payload.place(connection, cut)
        columns[column] = value.bytes if isinstance(value, UUID) else value
    if event.kind == EventType.LLM.value:
        if "cost" in event.said:
            columns["cost_pusd"] = event.cost_pusd
            columns["cost_source"] = None if event.cost_pusd is None else "reported"
        columns |= _conversation(connection, event, tree)
    return columns


def _conversation(connection: sqlite3.Connection, event: EventFields, tree: PromptTree) -> dict[str, object]:
    """The columns of a prompt and a completion; a completion that comes later is said after no prompt of its own."""
    columns: dict[str, object] = {}
    last: int | None = None
    if "prompt" in event.said:
        messages, form = _messages(event.prompt)
        nodes = grow(connection, None, [tree.take(message)[1] for message in messages])
        last = nodes[-1] if nodes else None
        columns |= {"prompt": last, "prompt_form": form}
    if "completion" in event.said:
        said, form = _said(event.completion)
        nodes = grow(connection, last, [tree.take(message)[1] for message in said])
        columns |= {"completion": nodes[-1] if nodes else None, "completion_form": form}
    return columns


def _messages(prompt: object) -> tuple[Sequence[object], int | None]:
    """The messages of a prompt, and the form that schema.sql gives it."""
    if prompt is None:
        return (), None
    return (prompt, 0) if isinstance(prompt, list) else ((prompt,), 1)


def _said(completion: object) -> tuple[tuple[object, ...], int | None]:
    """The message of a completion, if there is one, and its form."""
    if completion is None:
        return (), None
    if isinstance(completion, str):
        return ({"role": "assistant", "content": completion},), 2
    return (completion,), 1


def _extra(event: EventFields) -> str | None:
    return encode(event.extra).decode() if event.extra else None
