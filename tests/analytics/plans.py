"""How SQLite would answer a question."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

# What a statement may go through as a whole: the lists that it is given, and what it has found itself.
_OWN = {"path", "node", "CONSTANT"}


def scanned(connection: sqlite3.Connection, sql: str, values: Sequence[object] | Mapping[str, object]) -> list[str]:
    """The tables that a statement goes through from end to end; the lines of its plan."""
    rows = connection.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()
    scans = [row["detail"] for row in rows if row["detail"].startswith("SCAN")]
    return [line for line in scans if "VIRTUAL" not in line and "json_each" not in line and line.split()[1] not in _OWN]


def steps(connection: sqlite3.Connection, ask: object) -> int:
    """How many hundreds of steps SQLite takes for what is asked."""
    counted = 0

    def count() -> int:
        nonlocal counted
        counted += 1
        return 0

    connection.set_progress_handler(count, 100)
    ask(connection)  # type: ignore[operator]  # a function of the connection
    connection.set_progress_handler(None, 0)
    return counted
