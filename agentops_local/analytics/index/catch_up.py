"""Bringing the index up to the last event: from the mark on, in pieces, each of them one transaction of the index."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable

from agentops_local.analytics.index.cells import COLUMNS, Cells, Names, place, take_away
from agentops_local.analytics.index.fingerprint import fingerprint
from agentops_local.analytics.index.marks import Marks
from agentops_local.analytics.index.sums import Sums

PIECE = 20_000  # events in a transaction, about a fifth of a second
_PAUSE = 0.001  # seconds in which another may take its turn

_NEW = f"""
SELECT {COLUMNS} FROM events e WHERE e.seq > ? AND e.seq <= ? ORDER BY e.seq LIMIT {PIECE}
"""  # noqa: S608 - our own text
OF_SESSION = f"SELECT {COLUMNS} FROM events e WHERE e.session = ? AND +e.seq <= ? ORDER BY +e.seq"  # noqa: S608 - our own text
_EMPTY = "SELECT seq FROM sessions WHERE id = ''"
_CHANGED = "SELECT session, revision FROM changes WHERE revision > ? ORDER BY revision LIMIT 20"
_ERROR = "SELECT name, code, coalesce(json_extract(details, '$'), details) AS words FROM payloads WHERE seq = ?"
_FAILED = f"SELECT {COLUMNS} FROM events e WHERE e.session = ? AND e.id = ?"  # noqa: S608 - our own text
_ORPHANS = """
SELECT o.session, o.error, o.failed FROM idx.orphans o JOIN events e ON e.session = o.session AND e.id = o.failed
"""


def catch_up(connection: sqlite3.Connection) -> None:
    """Counts what was recorded, and counts anew what was changed, since the index was asked last.

    Raises:
        sqlite3.Error: the index cannot be written, or is damaged.
    """
    while not _piece(connection):
        time.sleep(_PAUSE)


def _piece(connection: sqlite3.Connection) -> bool:
    """Does a piece of the work; whether nothing is left."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        marks = Marks(connection)
        done = True
        if marks.are_behind():
            done = _follow(connection, marks) and _count(connection, marks)
            marks.keep()
        connection.execute("COMMIT")
        return done
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _follow(connection: sqlite3.Connection, marks: Marks) -> bool:
    """Counts sessions anew whose stored events have changed; whether all of them are done."""
    changed = connection.execute(_CHANGED, (marks.revision,)).fetchall()
    for session, revision in changed:
        sums = Sums()
        take_away(connection, session, sums)
        for table in ("orphans", "faults"):
            connection.execute(f"DELETE FROM idx.{table} WHERE session = ?", (session,))  # noqa: S608 - our own names
        rows = connection.execute(OF_SESSION, (session, marks.seq)).fetchall()
        _add(connection, rows, sums, calls=False)
        marks.revision = revision
    return not changed


def _count(connection: sqlite3.Connection, marks: Marks) -> bool:
    rows = connection.execute(_NEW, (marks.seq, marks.top)).fetchall()
    _add(connection, rows, Sums(), calls=True)
    if rows:
        marks.move(rows[-1]["seq"], rows[-1]["id"])
    return len(rows) < PIECE


def _add(connection: sqlite3.Connection, rows: Iterable[sqlite3.Row], sums: Sums, calls: bool) -> None:
    empty = connection.execute(_EMPTY).fetchone()
    names = Names(connection)
    cells = Cells(names)
    errors = []
    asked: list[tuple[int, int]] = []
    for row in rows:
        if empty is not None and row["session"] == empty[0]:  # it only keeps numbers from being given twice
            continue
        cells.add(row)
        if row["kind"] == "errors":
            errors.append(row)
        asked += ((message, row["seq"]) for message in (row["prompt"], row["completion"]) if message is not None)
    for row in errors:
        _fault(connection, names, row)
        if row["trigger_id"] is not None:
            orphan = (row["session"], row["seq"], row["trigger_id"])
            connection.execute("INSERT OR IGNORE INTO idx.orphans (session, error, failed) VALUES (?, ?, ?)", orphan)
    for session, error, failed in connection.execute(_ORPHANS).fetchall():
        cells.fail(place(names, connection.execute(_FAILED, (session, failed)).fetchone()))
        connection.execute("DELETE FROM idx.orphans WHERE session = ? AND error = ?", (session, error))
    if calls:
        connection.executemany("INSERT OR IGNORE INTO idx.calls (message, seq) VALUES (?, ?)", asked)
    cells.put(connection, sums)
    sums.put(connection)


def _fault(connection: sqlite3.Connection, names: Names, row: sqlite3.Row) -> None:
    found = connection.execute(_ERROR, (row["seq"],)).fetchone()
    mark = fingerprint(found["name"], found["code"], None if found["words"] is None else str(found["words"]))
    sql = "INSERT OR IGNORE INTO idx.fingerprints (hash, error_type, code, text) VALUES (?, ?, ?, ?)"
    connection.execute(sql, mark)
    sql = """
    INSERT OR REPLACE INTO idx.faults (seq, session, fingerprint, agent, host, at_us)
    VALUES (?, ?, (SELECT id FROM idx.fingerprints WHERE hash = ?), ?, ?, ?)
    """
    values = (row["seq"], row["session"], mark.hash, row["agent"], names.host(row["owner"]), row["init_us"])
    connection.execute(sql, values)
