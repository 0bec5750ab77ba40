"""Up to where the index goes, and whether it is of this database at all."""

from __future__ import annotations

import sqlite3
from typing import Any

from agentops_local.analytics.index.tables import TABLES, VERSION
from agentops_local.store.schema import statements

_TOP = "SELECT coalesce(max(seq), 0), (SELECT coalesce(max(revision), 0) FROM changes) FROM events"
_OF = "SELECT key, value FROM about WHERE key IN ('generation', 'restored_us')"
_PUT = "INSERT OR REPLACE INTO idx.marks (key, value) VALUES (?, ?)"


class Marks:
    """The marks of the index, read in the transaction that moves them. An index that is none, or that of another
    database or version, or of a later state of this one, is made anew, empty.

    Attributes:
        seq: the last event that is counted. revision: the last change of stored events that was followed.
        top: the last event there is.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.top, self._newest = connection.execute(_TOP).fetchone()
        of = {row[0]: row[1] for row in connection.execute(_OF).fetchall()}
        self._of = {"version": VERSION, "generation": of.get("generation"), "restored_us": of.get("restored_us")}
        found = _read(connection)
        if any(found.get(name) != value for name, value in self._of.items()) or not self._fits(found):
            found = self._begin()
        self.seq, self.revision = int(found["seq"]), int(found["revision"])

    def are_behind(self) -> bool:
        """Whether there is anything that the index does not know."""
        return bool(self.seq < self.top or self.revision < self._newest)

    def move(self, seq: int, event: bytes) -> None:
        """The last event that is counted is this one, with this id."""
        self.seq = seq
        self._connection.execute(_PUT, ("event", event))

    def keep(self) -> None:
        """Writes them."""
        self._connection.execute(_PUT, ("seq", self.seq))
        self._connection.execute(_PUT, ("revision", self.revision))

    def _fits(self, found: dict[str, Any]) -> bool:
        """Whether what is counted is still what is there. An older copy of the database, put in its place, has fewer
        events, or others with the same numbers; one that was erased since is told of in `changes`."""
        seq, revision, event = found["seq"], found["revision"], found.get("event")
        if seq > self.top or revision > self._newest:
            return False
        row = self._connection.execute("SELECT id FROM events WHERE seq = ?", (seq,)).fetchone()
        if seq == 0 or row is None:
            return bool(seq == 0 or revision < self._newest)
        return bool(row[0] == event)

    def _begin(self) -> dict[str, Any]:
        drop(self._connection)
        for statement in statements(TABLES):
            self._connection.execute(statement)
        # What was changed before the first event is counted is counted as it is.
        begun: dict[str, Any] = {**self._of, "seq": 0, "revision": self._newest}
        self._connection.executemany(_PUT, begun.items())
        return begun


def drop(connection: sqlite3.Connection) -> None:
    """Empties the index."""
    # The table of words first: those behind it go with it.
    sql = "SELECT name FROM idx.sqlite_master WHERE type = 'table' ORDER BY sql NOT LIKE 'CREATE VIRTUAL%'"
    for (name,) in connection.execute(sql).fetchall():
        connection.execute(f'DROP TABLE IF EXISTS idx."{name}"')


def _read(connection: sqlite3.Connection) -> dict[str, Any]:
    if connection.execute("SELECT 1 FROM idx.sqlite_master WHERE name = 'marks'").fetchone() is None:
        return {}
    return {row[0]: row[1] for row in connection.execute("SELECT key, value FROM idx.marks").fetchall()}
