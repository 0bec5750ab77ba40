"""Which statements go through all events: SQLite is asked for the plan of each one while it is executed."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

_ASKED = ("SELECT", "WITH", "INSERT", "DELETE", "UPDATE")
_NAMED = re.compile(r"\bevents(?:\s+(?:AS\s+)?(\w+))?", re.IGNORECASE)
_WORDS = frozenset(("where", "on", "join", "order", "group", "limit", "indexed", "set", "union", "cross", "left"))
_VIEWS = {"e"}  # what our views call it
# All of it, also where an index has all that is wanted. From a number on is none of that: so one asks what is new.
_SCAN = re.compile(r"SCAN (?:TABLE )?(\w+)(?: AS (\w+))?.*")


@contextmanager
def scans() -> Iterator[list[str]]:
    """The lines of plans that read the events from one end to the other, of what is executed within the block: each
    with the beginning of its statement, once."""
    found: dict[str, None] = {}
    lines: list[str] = []

    class Asking(sqlite3.Connection):
        """A connection that asks for the plan of what it executes."""

        def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
            if sql.lstrip().upper().startswith(_ASKED):
                plan = super().execute(f"EXPLAIN QUERY PLAN {sql}", parameters).fetchall()
                found.update(dict.fromkeys(_lines(sql, [str(row[3]) for row in plan])))
            return super().execute(sql, parameters)

    connect: Any = sqlite3.connect
    sqlite3.connect = partial(connect, factory=Asking)  # whoever connects in this process
    try:
        yield lines
    finally:
        sqlite3.connect = connect
        lines += found


def _lines(sql: str, plan: list[str]) -> Iterator[str]:
    if sql.endswith("LIMIT 0"):  # whether there is such a table
        return
    names = {"events", *_VIEWS} | {name for name in _NAMED.findall(sql) if name and name.lower() not in _WORDS}
    for line in plan:
        scan = _SCAN.fullmatch(line)
        if scan and names & set(scan.groups()):
            yield f"{line}  in  {' '.join(sql.split())[:90]}"
