"""One event whole, with what stands around it: messages, payloads, costs, the events above and below it, the errors
that tell of it.

Payloads are told as the JSON that they are, not as values: a number that Python or a browser would round, or half of a
surrogate pair, arrives as it was recorded.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence

from agentops_local.analytics.one_session.failures import ancestors, as_text
from agentops_local.analytics.one_session.messages import path, texts
from agentops_local.analytics.one_session.steps import shown
from agentops_local.analytics.reading import iso
from agentops_local.analytics.sessions import NoSuchSession

MOST = 20  # events below, and errors, that are named

_UUID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.IGNORECASE)
_LARGEST = (1 << 63) - 1

BY_ID = "SELECT seq, id, parent, trigger_id FROM events WHERE session = ? AND id = ?"
BY_SEQ = "SELECT seq, id, parent, trigger_id FROM events WHERE +session = ? AND seq = ?"
WHOLE = """
SELECT p.seq, p.id, p.kind, coalesce(p.name, p.model) AS name, p.agent_id, p.agent_name, p.thread_id, p.init_us,
       p.end_us, p.provider, p.model, p.prompt, p.prompt_form, p.completion, p.completion_form, p.prompt_tokens,
       p.completion_tokens, p.cache_read_tokens, p.cache_write_tokens, p.reasoning_tokens, p.cost_pusd, p.cost_source,
       p.code, p.trigger_kind, p.params, p.returns, p.logs, p.details, p.extra, p.screenshot IS NOT NULL AS pictured,
       b.source AS price_source, b.rates, b.looked_us,
       o.pid, o.program, o.host, s.init_us AS session_us
FROM payloads p JOIN owners o ON o.seq = p.owner JOIN sessions s ON s.seq = p.session
     LEFT JOIN prices b ON b.id = p.price
WHERE p.seq = ?
"""
NAMED = "SELECT seq, id, kind, coalesce(name, model) AS name, init_us, end_us FROM events WHERE seq = ?"
# All rows of the session, but of each the first columns alone: each event would pay for an index by parent.
BELOW = """
SELECT seq, id, kind, coalesce(name, model) AS name, init_us, end_us FROM events
WHERE session = ? AND parent = ? ORDER BY init_us, +seq LIMIT ?
"""
ERRORS = """
SELECT e.seq, e.id, e.kind, e.name, e.init_us, e.end_us,
       (SELECT p.details FROM payloads p WHERE p.seq = e.seq) AS details
FROM events e INDEXED BY errors_by_time
WHERE e.session = ? AND e.kind = 'errors' AND e.trigger_id = ? ORDER BY e.init_us LIMIT ?
"""
_TOKENS = ("prompt_tokens", "completion_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
_PAYLOADS = ("params", "returns", "logs", "details", "extra")


class NoSuchEvent(NoSuchSession):
    """There is no such event in a session: nothing to show, as where the session itself is not there."""


def find_event(connection: sqlite3.Connection, session: int, text: str) -> sqlite3.Row:
    """An event of a session, by its id or its number: `seq`, `id`, `parent`, `trigger_id`.

    Raises:
        NoSuchEvent: if it is not there.
    """
    row = None
    if _UUID.fullmatch(text):
        row = connection.execute(BY_ID, (session, bytes.fromhex(text.replace("-", "")))).fetchone()
    elif text.isascii() and text.isdecimal() and int(text) <= _LARGEST:
        row = connection.execute(BY_SEQ, (session, int(text))).fetchone()
    if row is None:
        raise NoSuchEvent(f"this session has no event {text[:80]!r}: it may have been erased")
    found: sqlite3.Row = row
    return found


def detail(connection: sqlite3.Connection, session: int, event: str) -> dict[str, object]:
    """An event of a session, by its id or its number.

    Raises:
        NoSuchEvent: if it is not there.
    """
    found = find_event(connection, session, event)
    row = connection.execute(WHOLE, (found["seq"],)).fetchone()
    if row is None:
        raise NoSuchEvent(f"event {event} has just been erased")
    below = connection.execute(BELOW, (session, found["id"], MOST + 1)).fetchall()
    errors = connection.execute(ERRORS, (session, found["id"], MOST)).fetchall()
    return {
        "id": row["id"], "seq": row["seq"], "kind": row["kind"], "name": row["name"],
        "agent_id": row["agent_id"], "agent": row["agent_name"], "thread": row["thread_id"],
        "process": {"pid": row["pid"], "program": row["program"], "host": row["host"]},
        "begin": iso(row["init_us"]), "end": iso(row["end_us"]),
        "at_s": (row["init_us"] - row["session_us"]) / 1e6,
        "took_s": None if row["end_us"] is None else (row["end_us"] - row["init_us"]) / 1e6,
        "code": row["code"], "payloads": {name: row[name] for name in _PAYLOADS if row[name] is not None},
        "pictured": bool(row["pictured"]), "llm": _llm(connection, row) if row["kind"] == "llms" else None,
        "trigger": _trigger(connection, session, found, row),
        "above": _named(connection, ancestors(connection, session, found["parent"])),
        "below": [_brief(one) for one in below[:MOST]], "more_below": len(below) > MOST,
        "errors": [{**_brief(one), "message": shown(one["details"])} for one in errors],
    }  # fmt: skip


def _llm(connection: sqlite3.Connection, row: sqlite3.Row) -> dict[str, object]:
    nodes = path(connection, row["prompt"]) if row["prompt_form"] == 0 else [row["prompt"]] if row["prompt"] else []
    told = texts(connection, [*nodes, row["completion"]] if row["completion"] is not None else nodes)
    return {
        "provider": row["provider"], "model": row["model"],
        "prompt": [told[node] for node in nodes if node in told],
        "completion": told.get(row["completion"]),
        "tokens": {name: row[name] for name in _TOKENS if row[name] is not None},
        "cost": None if row["cost_pusd"] is None else row["cost_pusd"] / 1e12,
        "cost_source": row["cost_source"], "price_source": row["price_source"], "rates": row["rates"],
        "price_looked_up": iso(row["looked_us"]),
    }  # fmt: skip


def _trigger(
    connection: sqlite3.Connection, session: int, found: sqlite3.Row, row: sqlite3.Row
) -> dict[str, object] | None:
    """The event that failed, of an error; what is known of it where it is not there."""
    if found["trigger_id"] is None:
        return None
    there = connection.execute(BY_ID, (session, found["trigger_id"])).fetchone()
    if there is None:
        return {"id": as_text(found["trigger_id"]), "seq": None, "kind": row["trigger_kind"], "name": None}
    return _named(connection, [there["seq"]])[0]


def _named(connection: sqlite3.Connection, seqs: Sequence[int]) -> list[dict[str, object]]:
    rows = [connection.execute(NAMED, (seq,)).fetchone() for seq in seqs]
    return [_brief(row) for row in rows if row is not None]


def _brief(row: sqlite3.Row) -> dict[str, object]:
    took = None if row["end_us"] is None else (row["end_us"] - row["init_us"]) / 1e6
    return {"id": as_text(row["id"]), "seq": row["seq"], "kind": row["kind"], "name": row["name"], "took_s": took}
