"""The events of a session as lines: in brief, in the order in which they began, what happened inside another under it.

Events are committed when they end, so an inner one comes before the one around it; read by their beginnings they tell
the story. An error stands under the event that failed.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from agentops_local.analytics.totals import dollars

BRIEF = 400  # characters of a text that are fetched

# `+seq` keeps SQLite from walking all events of the database backwards in search of this session's.
_LAST = "SELECT seq FROM events WHERE session = ? ORDER BY +seq DESC LIMIT ?"


def _plain(column: str) -> str:
    """A payload as text: a JSON string without its quotes."""
    return f"CASE json_type({column}) WHEN 'text' THEN json_extract({column}, '$') ELSE {column} END"


_LINES = f"""
SELECT p.seq, p.id, p.session_id, p.parent_id, p.trigger_id, p.kind, p.name, p.model, p.agent_name, p.code,
       p.init_us, p.end_us, p.prompt_tokens, p.completion_tokens, p.cost_pusd,
       substr(CASE p.kind WHEN 'errors' THEN {_plain("p.details")} ELSE {_plain("p.params")} END, 1, {BRIEF}) AS given,
       substr({_plain("p.returns")}, 1, {BRIEF}) AS got,
       (SELECT substr(CASE json_type(t.text)
                          WHEN 'object' THEN coalesce(json_extract(t.text, '$.content'),
                                                      json_extract(t.text, '$.tool_calls'), t.text)
                          ELSE {_plain("t.text")} END, 1, {BRIEF})
        FROM message_texts t WHERE t.id = p.completion) AS said
FROM payloads p WHERE p.seq IN (SELECT value FROM json_each(?)) ORDER BY p.seq
"""  # noqa: S608 - our own text


@dataclass
class Line:
    """An event in brief.

    Attributes:
        above: the ids of the events it may stand under, the nearest first.
        name: of the tool, action or error type; for an LLM call its model.
        cost: US dollars; None if it has no price.
        given, got: the beginnings of what went in and what came out.
        depth: how many of the events shown it stands under.
    """

    seq: int
    id: str
    session_id: str
    above: tuple[str, ...]
    kind: str
    name: str | None
    agent: str | None
    init_us: int
    end_us: int | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cost: Decimal | None
    given: str | None
    got: str | None
    depth: int = 0


def last_seqs(connection: sqlite3.Connection, session: int, limit: int = 0) -> list[int]:
    """The events of a session that were committed last, oldest first; all of them with 0."""
    rows = connection.execute(_LAST, (session, limit or -1)).fetchall()
    return [row["seq"] for row in reversed(rows)]


def lines(connection: sqlite3.Connection, seqs: Sequence[int]) -> list[Line]:
    """Events in brief, in the order of their commits."""
    return [_line(row) for row in connection.execute(_LINES, (json.dumps(list(seqs)),)).fetchall()]


def arranged(flat: Sequence[Line]) -> list[Line]:
    """Lines as a story: by their beginnings, each under the one in whose course it happened, with its depth set."""
    known = {line.id for line in flat}
    below: dict[str | None, list[Line]] = {}
    for line in sorted(flat, key=lambda line: (line.init_us, line.seq)):
        below.setdefault(next((above for above in line.above if above in known), None), []).append(line)
    told: list[Line] = []
    seen: set[int] = set()
    for root in below.get(None, []):
        told += _walk(root, below, seen)
    # What is its own ancestor hangs on no root; it is told all the same.
    for line in flat:
        told += _walk(line, below, seen)
    return told


def _walk(root: Line, below: dict[str | None, list[Line]], seen: set[int]) -> Iterator[Line]:
    waiting = [(root, 0)]
    while waiting:
        line, depth = waiting.pop()
        if line.seq in seen:
            continue
        seen.add(line.seq)
        line.depth = depth
        yield line
        waiting += [(child, depth + 1) for child in reversed(below.get(line.id, []))]


def _line(row: sqlite3.Row) -> Line:
    kind = row["kind"]
    given, got = row["given"], row["got"]
    if kind == "llms":
        given, got = None, row["said"] if row["said"] is not None else got
    elif kind == "errors" and row["code"] is not None:
        given = f"{row['code']}: {given or ''}"
    return Line(
        row["seq"], row["id"], row["session_id"], tuple(filter(None, (row["trigger_id"], row["parent_id"]))), kind,
        row["model"] if kind == "llms" else row["name"], row["agent_name"], row["init_us"], row["end_us"],
        row["prompt_tokens"], row["completion_tokens"],
        None if row["cost_pusd"] is None else dollars(row["cost_pusd"]), given, got,
    )  # fmt: skip
