"""JSON Lines: all that the database knows of a session, one row a line. docs/export.md describes each field.

What is NULL is left out, so a `null` that stands there is the JSON null that a program gave. Rows of other tables that
an event refers to (its price; with `each_message_once` its messages) stand before the first event of the session that
needs them, so a reader that goes on line by line always knows what it needs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from operator import itemgetter
from typing import BinaryIO

import orjson

from agentops_local.analytics import ratings
from agentops_local.analytics.sessions import tag_list
from agentops_local.exporting.choice import Choice, Progress
from agentops_local.exporting.seqs import Seqs
from agentops_local.exporting.source import SessionHead, Source
from agentops_local.exporting.texts import iso, uuid_text

FORMAT = 1

_OUT = 1 << 16  # bytes that are gathered before they are written
_PAYLOADS = ("params", "returns", "logs", "screenshot", "details", "extra")
_IDS = {"parent": "parent_id", "trigger_id": "trigger_event_id"}
# What most events have little of: taken out of a row all at once, for it is looked at in each.
_COLUMNS = (
    *_PAYLOADS, *_IDS,
    "name", "provider", "model", "prompt_tokens", "completion_tokens", "cache_read_tokens", "cache_write_tokens",
    "reasoning_tokens", "cost_pusd", "cost_source", "price", "thread_id", "code", "trigger_kind",
)  # fmt: skip
_columns = itemgetter(*_COLUMNS)
_CONTENT = ("end_state_reason", "video", "fingerprint", "key_hash", "parent_key_hash")  # of a session
# How a completion stands that was given as text; what follows is its text, and the brace.
_SAID = '{"role":"assistant","content":'

Line = dict[str, object]


def write(source: Source, sessions: Iterator[SessionHead], out: BinaryIO, choice: Choice, progress: Progress) -> None:
    """Writes sessions, each with its events."""
    gathered = bytearray()
    for head in sessions:
        for line in lines(source, head, choice):
            gathered += orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
            if line["type"] == "event":
                progress.event()
            if len(gathered) > _OUT:
                out.write(gathered)
                gathered.clear()
    out.write(gathered)


def lines(source: Source, head: SessionHead, choice: Choice) -> Iterator[Line]:
    """The lines of a session, first its own."""
    yield _session(source, head, choice.content)
    told: set[int] = set()
    nodes = _Nodes(source) if choice.each_message_once and choice.content else None
    owners = {row["seq"]: number for number, row in enumerate(head.owners, 1)}
    for event in source.events(head, source.messages.ahead if choice.content else None):
        number = event["price"]
        if number is not None and number not in told:
            told.add(number)
            yield from _price(source, number)
        if nodes is not None:
            yield from nodes.before(event)
        yield _event(source, head, event, owners, choice)
    for one in ratings.told(source.connection, head.seq):
        yield from _score(one, choice.content)


def _score(one: ratings.Said, content: bool) -> Iterator[Line]:
    if content or one.kind != "text":
        yield _present({
            "type": "score", "event_id": None if one.event is None else uuid_text(one.event), "name": one.name,
            "kind": one.kind, "number": one.number, "text": one.text if content else None,
            "author": one.author if content else None, "timestamp": iso(one.at_us),
        })  # fmt: skip


def _session(source: Source, head: SessionHead, content: bool) -> Line:
    row = head.row
    line: Line = {
        "type": "session", "format": FORMAT, "id": head.id, "init_timestamp": iso(row["init_us"]),
        "end_timestamp": iso(row["end_us"]), "auto_ended": bool(row["auto_ended"]), "end_state": row["end_state"],
        "tags": tag_list(row["tags"]), "joined": bool(row["joined"]),
    }  # fmt: skip
    if content:
        line |= {name: row[name] for name in _CONTENT}
        line |= {name: source.texts.json(row[name]) for name in ("host_env", "moment")}
    line["events"] = head.events
    line["agents"] = [{"id": agent, "name": name} for agent, name in head.agents.values()]
    line["owners"] = [_owner(row, number, content) for number, row in enumerate(head.owners, 1)]
    return _present(line)


def _owner(row: sqlite3.Row, number: int, content: bool) -> Line:
    line: Line = {"number": number, "pid": row["pid"], "started": row["started"], "boot": row["boot"]}
    if content:
        line |= {"host": row["host"], "program": row["program"]}
    line |= {"start_timestamp": iso(row["start_us"]), "end_timestamp": iso(row["end_us"]), "exit": row["exit"]}
    return _present(line)


def _price(source: Source, number: int) -> Iterator[Line]:
    row = source.price(number)
    if row is not None:
        yield _present({
            "type": "price", "number": number, "provider": row["provider"], "model": row["model"],
            "from_timestamp": iso(row["from_us"]), "until_timestamp": iso(row["until_us"]),
            "rates": source.texts.json(row["rates"]), "kind": row["kind"], "source": row["source"],
            "looked_timestamp": iso(row["looked_us"]), "ended_timestamp": iso(row["ended_us"]),
        })  # fmt: skip


def _event(source: Source, head: SessionHead, event: sqlite3.Row, owners: dict[int, int], choice: Choice) -> Line:
    agent_id, agent_name = head.agent(event["agent"])
    known = {name: value for name, value in zip(_COLUMNS, _columns(event), strict=True) if value is not None}
    line: Line = {"type": "event", "seq": event["seq"], "id": uuid_text(event["id"]), "session_id": head.id}
    line |= _present({
        "kind": event["kind"], "owner": owners.get(event["owner"]), "agent_id": agent_id, "agent_name": agent_name,
        "init_timestamp": iso(event["init_us"]), "end_timestamp": iso(event["end_us"]),
    })  # fmt: skip
    for column, name in _IDS.items():
        if column in known:
            line[name] = uuid_text(known.pop(column))
    for name in _PAYLOADS:
        if name in known:
            payload = known.pop(name)
            if choice.content:
                line[name] = source.texts.json(payload)
    if "trigger_kind" in known:
        line["trigger_event_type"] = known.pop("trigger_kind")
    line |= known
    if "cost_pusd" in known:
        line["cost"] = event["cost_pusd"] / 1e12
    if choice.content and (event["prompt_form"] is not None or event["completion_form"] is not None):
        line |= _present(_references(event) if choice.each_message_once else _said(source, event))
    return line


def _references(event: sqlite3.Row) -> Line:
    return {
        "prompt_form": event["prompt_form"], "prompt_node": event["prompt"],
        "completion_form": event["completion_form"], "completion_node": event["completion"],
    }  # fmt: skip


def _said(source: Source, event: sqlite3.Row) -> Line:
    messages = source.messages
    line: Line = {"prompt_form": event["prompt_form"], "completion_form": event["completion_form"]}
    if event["prompt_form"] == 0:
        line["prompt"] = orjson.Fragment(f"[{messages.prompt(event['prompt']).text}]")
    elif event["prompt_form"] is not None:
        node = messages.node(event["prompt"])
        line["prompt"] = None if node is None else orjson.Fragment(node.text)
    node = messages.node(event["completion"]) if event["completion_form"] is not None else None
    if node is None:
        return line
    if event["completion_form"] != 2:
        line["completion"] = orjson.Fragment(node.text)
        return line
    text = node.text[len(_SAID) : -1] if node.text.startswith(_SAID) else ""
    try:
        orjson.loads(text)
        line["completion"] = orjson.Fragment(text)
    except orjson.JSONDecodeError:  # more than the two fields, or less
        message = orjson.loads(node.text) if node.text[:1] == "{" else {}
        line["completion"] = message.get("content")
        line["completion_whole"] = orjson.Fragment(node.text)
    return line


class _Nodes:
    """The messages of a session, each told once."""

    def __init__(self, source: Source) -> None:
        self._messages = source.messages
        row = source.connection.execute("SELECT max(id) FROM messages").fetchone()
        self._told = Seqs(1, row[0] or 1)

    def before(self, event: sqlite3.Row) -> Iterator[Line]:
        """The messages that an event needs and that are not told yet, each after the one before it."""
        for last in (event["prompt"], event["completion"]):
            new = []
            for number, node in self._messages.back(last):
                if not self._told.add(number):
                    break
                new.append((number, node))
            for number, node in reversed(new):
                yield _present({
                    "type": "node", "number": number, "parent": node.parent, "message": orjson.Fragment(node.text),
                })  # fmt: skip


def _present(line: Line) -> Line:
    """Without what is NULL. A JSON null is a fragment, and stays."""
    return {name: value for name, value in line.items() if value is not None}
