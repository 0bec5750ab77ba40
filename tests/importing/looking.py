"""What a database says, so that two can be compared: the views, without the numbers of rows."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

VIEWS = ("llms", "tools", "actions", "errors", "session_stats", "scored", "egress")
_NUMBERS = frozenset({"seq", "batch"})
_SESSIONS = """
SELECT s.id, s.init_us, s.end_us, s.auto_ended, s.end_state, s.end_state_reason, s.tags, s.video, v.fingerprint,
       json(v.host_env), json(s.moment), s.key_hash, s.parent_key_hash, s.joined
FROM sessions s LEFT JOIN environments v ON v.id = s.environment WHERE s.id <> ''
"""
_OWNERS = """
SELECT s.id, o.pid, o.started, o.boot, o.host, o.program, o.start_us, o.end_us, o.exit
FROM owners o JOIN sessions s ON s.seq = o.session WHERE s.id <> '' ORDER BY o.seq
"""
_AGENTS = "SELECT s.id, a.id, a.name FROM agents a JOIN sessions s ON s.seq = a.session WHERE s.id <> '' ORDER BY a.seq"
_STORED = ("sessions", "owners", "agents", "events", "messages", "blobs", "environments", "prices", "losses", "scores")
_LEDGER = ("targets", "deliveries", "agent_deliveries", "uploads", "batches", "dead_letters")


def query(path: Path, sql: str, *values: object) -> list[tuple]:
    """The rows of a query."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql, values).fetchall()


def said(path: Path, *views: str) -> dict[str, list[tuple]]:
    """What the views say, and what stands of sessions, their processes and agents; events in their order."""
    found = {"sessions": sorted(query(path, _SESSIONS)), "owners": query(path, _OWNERS), "agents": query(path, _AGENTS)}
    with closing(sqlite3.connect(path)) as connection:
        for view in views or VIEWS:
            cursor = connection.execute(f"SELECT * FROM {view} ORDER BY seq")
            names = [column[0] for column in cursor.description]
            kept = [place for place, name in enumerate(names) if name not in _NUMBERS]
            found[view] = [tuple(row[place] for place in kept) for row in cursor]
    return found


def stored(path: Path) -> dict[str, list[tuple]]:
    """Every row of every table that a merge writes."""
    return {table: query(path, f"SELECT * FROM {table}") for table in (*_STORED, *_LEDGER)}


def sound(path: Path) -> None:
    """The database is sound, no row names one that is not there, and no message stands twice."""
    assert query(path, "PRAGMA integrity_check") == [("ok",)]
    assert query(path, "PRAGMA foreign_key_check") == []
    assert query(path, "SELECT 1 FROM messages GROUP BY coalesce(parent, 0), content HAVING count(*) > 1") == []
