"""Sessions in the shape of the v2 API's `/export`: the same for those recorded here and those that a collector has.

Texts that v2 gives as text are text here: params, returns and logs that were objects are JSON text, tags too. Prompts
and completions say what they are: {"type": "chatml", "messages": ...} for chat messages, {"type": "string", "string":
...} for anything else.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import orjson

from agentops_local.exporting.choice import Choice, Progress
from agentops_local.exporting.source import SessionHead, Source
from agentops_local.exporting.texts import iso, loaded, plain, uuid_text

Row = dict[str, object]

GROUPS = ("actions", "llms", "tools", "errors")
_OUT = 1 << 16  # bytes that are gathered before they are written
_GENERATION = "SELECT value FROM about WHERE key = 'generation'"
_PRICE_SOURCE = "SELECT source FROM prices WHERE id = ?"
_CONTENT = frozenset({"prompt", "completion", "params", "returns", "logs", "screenshot", "details", "extra"})


def group(kind: str) -> str:
    """The list in which v2 has a kind of events: API calls, and whatever else there is, stand among the actions."""
    return kind if kind in ("llms", "tools", "errors") else "actions"


@dataclass(frozen=True)
class SessionRows:
    """A session whole: rows by the names of their columns, in the shape of the v2 export, in the order of commits."""

    session: Mapping[str, object]
    actions: Sequence[Mapping[str, object]]
    llms: Sequence[Mapping[str, object]]
    tools: Sequence[Mapping[str, object]]
    errors: Sequence[Mapping[str, object]]


def whole(connection: sqlite3.Connection, session_id: str, project_id: str | None, ours: bool) -> SessionRows | None:
    """A session with all its rows; None if there is none.

    Args:
        connection: one that sees one moment.
        project_id: None for the database's own id.
        ours: with the columns that v2 does not know.
    """
    source = Source(connection)
    seq = source.seq(session_id)
    head = None if seq is None else source.session(seq)
    if head is None:
        return None
    rows = Rows(source, head, ours)
    return SessionRows(session(source, head, project_id), **{name: list(rows.of(name)) for name in GROUPS})


def session(source: Source, head: SessionHead, project_id: str | None = None, content: bool = True) -> Row:
    """The row of a session."""
    row = head.row
    if project_id is None:
        found = source.connection.execute(_GENERATION).fetchone()
        project_id = None if found is None else str(found[0])
    return {
        "id": row["id"],
        "project_id": project_id,
        "project_id_secondary": None,
        "init_timestamp": iso(row["init_us"]),
        "end_timestamp": iso(row["end_us"]),
        "tags": row["tags"],
        "end_state": row["end_state"],
        "end_state_reason": row["end_state_reason"] if content else None,
        "video": row["video"] if content else None,
        "host_env": source.texts.json(row["host_env_then"]) if content else None,
    }


class Rows:
    """The events of a session in the shapes of v2.

    Args:
        ours: with the columns that v2 does not know.
        content: False leaves out what the program said, heard and handed over.
    """

    def __init__(self, source: Source, head: SessionHead, ours: bool = False, content: bool = True) -> None:
        self._source = source
        self._head = head
        self._ours = ours
        self._content = content
        self._events = source.by_kind(head, group, source.messages.ahead if content else None)
        self._makers: dict[str, Callable[[sqlite3.Row], Row]] = {
            "actions": self._action, "llms": self._llm, "tools": self._tool, "errors": self._error,
        }  # fmt: skip

    def of(self, name: str) -> Iterator[Row]:
        """The rows of a list of v2, in the order of commits."""
        make = self._makers[name]
        for event in self._events(name):
            row = make(event)
            if not self._content:
                row = {key: None if key in _CONTENT else value for key, value in row.items()}
            yield row

    def _begin(self, event: sqlite3.Row) -> Row:
        return {
            "id": uuid_text(event["id"]),
            "session_id": self._head.id,
            "agent_id": self._head.agent(event["agent"])[0],
        }

    def _span(self, event: sqlite3.Row) -> Row:
        return {
            "params": self._text(event["params"]), "returns": self._text(event["returns"]),
            "init_timestamp": iso(event["init_us"]), "end_timestamp": iso(event["end_us"]),
        }  # fmt: skip

    def _of_ours(self, event: sqlite3.Row) -> Row:
        if not self._ours:
            return {}
        return {
            "seq": event["seq"], "parent_id": uuid_text(event["parent"]),
            "agent_name": self._head.agent(event["agent"])[1], "extra": self._source.texts.json(event["extra"]),
        }  # fmt: skip

    def _text(self, payload: object) -> str | None:
        return plain(self._source.texts.raw(payload))

    def _action(self, event: sqlite3.Row) -> Row:
        more = {**self._of_ours(event), "kind": event["kind"]} if self._ours else {}
        return {
            **self._begin(event), "action_type": event["name"], "logs": self._text(event["logs"]),
            "screenshot": self._text(event["screenshot"]), **self._span(event), **more,
        }  # fmt: skip

    def _tool(self, event: sqlite3.Row) -> Row:
        return {
            **self._begin(event), "name": event["name"], "logs": self._text(event["logs"]), **self._span(event),
            **self._of_ours(event),
        }  # fmt: skip

    def _llm(self, event: sqlite3.Row) -> Row:
        more: Row = {}
        if self._ours:
            names = ("provider", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens", "cost_source")
            price = self._source.price(event["price"]) if event["price"] is not None else None
            more = {
                **self._of_ours(event), **{name: event[name] for name in names},
                "price_source": None if price is None else price["source"],
            }  # fmt: skip
        cost = event["cost_pusd"]
        return {
            **self._begin(event), "thread_id": event["thread_id"], "prompt": self._prompt(event),
            "completion": self._completion(event), "model": event["model"], "prompt_tokens": event["prompt_tokens"],
            "completion_tokens": event["completion_tokens"], "cost": None if cost is None else cost / 1e12,
            "promptarmor_flag": None, **self._span(event), **more,
        }  # fmt: skip

    def _prompt(self, event: sqlite3.Row) -> Row | None:
        form, last = event["prompt_form"], event["prompt"]
        if form is None or not self._content:
            return None
        if form == 0:
            prompt = self._source.messages.prompt(last)
            if prompt.length and prompt.is_chat:
                return {"type": "chatml", "messages": orjson.Fragment(f"[{prompt.text}]")}
            return {"type": "string", "string": f"[{prompt.text}]"}
        node = self._source.messages.node(last)
        return None if node is None else {"type": "string", "string": plain(node.text)}

    def _completion(self, event: sqlite3.Row) -> Row | None:
        form = event["completion_form"]
        node = self._source.messages.node(event["completion"]) if form is not None and self._content else None
        if node is None:
            return None
        if form == 1:
            value = loaded(node.text)
            messages = value if isinstance(value, list) else [value]
            if messages and all(isinstance(one, dict) and isinstance(one.get("role"), str) for one in messages):
                return {"type": "chatml", "messages": orjson.Fragment(node.text)}
            return {"type": "string", "string": plain(node.text)}
        said = loaded(node.text)
        text = said.get("content") if isinstance(said, dict) else None
        if text is None:
            return None
        return {"type": "string", "string": text if isinstance(text, str) else orjson.dumps(text).decode()}

    def _error(self, event: sqlite3.Row) -> Row:
        span = self._span(event)
        more: Row = {}
        if self._ours:
            begin = self._begin(event)
            more = {
                "agent_id": begin["agent_id"], **self._of_ours(event), "params": span["params"],
                "returns": span["returns"], "end_timestamp": span["end_timestamp"],
            }  # fmt: skip
        return {
            "id": uuid_text(event["id"]), "session_id": self._head.id,
            "trigger_event_id": uuid_text(event["trigger_id"]), "trigger_event_type": event["trigger_kind"],
            "error_type": event["name"], "code": event["code"], "details": self._text(event["details"]),
            "logs": self._text(event["logs"]), "timestamp": span["init_timestamp"], **more,
        }  # fmt: skip


def write(source: Source, sessions: Iterator[SessionHead], out: BinaryIO, choice: Choice, progress: Progress) -> None:
    """Writes sessions: one as an object, several as a list, or nothing but the list where there is none."""
    if not choice.single:
        out.write(b"[")
    for number, head in enumerate(sessions):
        out.write(b",\n" if number else b"")
        _write_one(source, head, out, choice, progress)
    out.write(b"\n" if choice.single else b"]\n")


def _write_one(source: Source, head: SessionHead, out: BinaryIO, choice: Choice, progress: Progress) -> None:
    rows = Rows(source, head, content=choice.content)
    out.write(b'{"session":' + orjson.dumps(session(source, head, content=choice.content)))
    for name in GROUPS:
        gathered = bytearray(f',"{name}":['.encode())
        separator = b""
        for row in rows.of(name):
            gathered += separator
            gathered += orjson.dumps(row)
            separator = b","
            progress.event()
            if len(gathered) > _OUT:
                out.write(gathered)
                gathered.clear()
        out.write(gathered + b"]")
    out.write(b"}")
