"""New events as they are committed, by whichever process: the reading end of `tail`.

`seq` is the order of commits, so what lies above the last number seen is new, and nothing can be missed. The file is
watched too: one that is not there yet is waited for, and one that took another's place is opened in turn.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from agentops_local.analytics.reading import open_reader
from agentops_local.errors import DatabaseUnusable

_PIECE = 500  # events a read

_NEW = f"""
SELECT e.seq FROM events e CROSS JOIN sessions s ON s.seq = e.session
WHERE e.seq > :mark AND s.id <> '' AND substr(s.id, 1, length(:session)) = :session ORDER BY e.seq LIMIT {_PIECE}
"""  # noqa: S608 - our own text
_BEFORE = """
SELECT e.seq FROM events e CROSS JOIN sessions s ON s.seq = e.session
WHERE s.id <> '' AND substr(s.id, 1, length(:session)) = :session ORDER BY e.seq DESC LIMIT 1 OFFSET :already
"""
_ENDED = """
SELECT id, end_state, end_state_reason, revision FROM sessions
WHERE revision > :mark AND end_us IS NOT NULL AND id <> '' AND substr(id, 1, length(:session)) = :session
ORDER BY revision
"""
_TOP = "SELECT coalesce(max(seq), 0) FROM events"
_REVISION = "SELECT coalesce(max(revision), 0) FROM sessions"

T = TypeVar("T")
Read = Callable[[sqlite3.Connection, list[int]], Iterable[T]]
Identity = tuple[tuple[int, int] | None, ...]  # of the file, its WAL and the index of that: device and inode


class End(NamedTuple):
    """The end of a session."""

    session_id: str
    state: str
    reason: str | None


class Feed(Generic[T]):
    """What is new in a database since it was last asked.

    Args:
        path: the database; it need not exist yet.
        read: makes of the numbers of some new events what is wanted.
        session: the beginning of a session's id; "" for all sessions.
        already: how many events of those already there count as new; None for all.

    Attributes:
        trouble: why there is nothing to read at the moment; None if there is.
    """

    def __init__(self, path: Path, read: Read[T], session: str = "", already: int | None = 0) -> None:
        self.trouble: str | None = None
        self._path = path
        self._read = read
        self._session = session
        self._already = already
        self._connection: sqlite3.Connection | None = None
        self._identity: Identity = (None, None, None)
        self._generation = ""
        self._version = -1
        self._mark = 0
        self._revision = 0
        self._ends: list[End] = []

    def poll(self) -> Iterator[T]:
        """What is new.

        Raises:
            ForeignDatabase, DatabaseTooNew: there is a file now, and it is not ours to read.
        """
        try:
            connection = self._ready()
            while connection is not None:
                seqs = [
                    row["seq"]
                    for row in connection.execute(_NEW, {"mark": self._mark, "session": self._session}).fetchall()
                ]
                yield from self._read(connection, seqs)
                if not seqs:
                    self._look_for_ends(connection)
                    return
                self._mark = seqs[-1]
        except sqlite3.Error as error:  # replaced while it was read, or damaged: look again at the next call
            self.close()
            self.trouble = f"{self._path} cannot be read now ({error})"

    def ends(self) -> list[End]:
        """The sessions that were found ended since this was last asked."""
        ends, self._ends = self._ends, []
        return ends

    def close(self) -> None:
        """Closes the connection; the next `poll` opens it again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _look_for_ends(self, connection: sqlite3.Connection) -> None:
        for row in connection.execute(_ENDED, {"mark": self._revision, "session": self._session}).fetchall():
            self._ends.append(End(row["id"], row["end_state"], row["end_state_reason"]))
            self._revision = row["revision"]

    def _ready(self) -> sqlite3.Connection | None:
        """The connection, if there may be something new."""
        if self._connection is not None and self._identity != self._look():
            self.close()
        connection = self._connection or self._open()
        if connection is None:
            return None
        version = _number(connection, "PRAGMA data_version")
        if version == self._version:
            return None
        self._version = version
        return connection

    def _open(self) -> sqlite3.Connection | None:
        file, *_ = self._look()
        try:
            connection = open_reader(self._path)
        except DatabaseUnusable as error:
            if type(error) is not DatabaseUnusable:
                raise
            self.trouble = str(error)
            self._already = None  # it was waited for: all that will be in it is new
            return None
        try:
            generation = str(connection.execute("SELECT value FROM about WHERE key = 'generation'").fetchone()[0])
            self._identity = self._look()  # reading has made SQLite open the WAL
            if file != self._identity[0]:  # replaced in between: which of the two is open?
                connection.close()
                return None
            self._begin(connection, generation)
        except BaseException:
            connection.close()
            raise
        self.trouble = None
        self._version = -1
        self._connection = connection
        return connection

    def _begin(self, connection: sqlite3.Connection, generation: str) -> None:
        top, revision = _number(connection, _TOP), _number(connection, _REVISION)
        if self._generation == "":
            self._mark, self._revision = self._first_mark(connection, top), revision
        elif generation != self._generation:  # another database: all that is in it is new
            self._mark = self._revision = 0
        else:  # the same, perhaps an older copy of it: numbers above its top are still to come
            self._mark, self._revision = min(self._mark, top), min(self._revision, revision)
        self._generation = generation

    def _first_mark(self, connection: sqlite3.Connection, top: int) -> int:
        if not self._already:
            return top if self._already == 0 else 0
        found = connection.execute(_BEFORE, {"already": self._already, "session": self._session}).fetchone()
        return 0 if found is None else int(found[0])

    def _look(self) -> Identity:
        file = os.path.realpath(self._path)
        return _identity(file), _identity(f"{file}-wal"), _identity(f"{file}-shm")


def _number(connection: sqlite3.Connection, sql: str) -> int:
    return int(connection.execute(sql).fetchone()[0])


def _identity(file: str) -> tuple[int, int] | None:
    try:
        found = os.stat(file)  # noqa: PTH116 - asked five times a second
    except OSError:
        return None
    return found.st_dev, found.st_ino
