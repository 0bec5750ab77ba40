"""The database into which something is taken: looked at without keeping anybody waiting, written in short turns."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Protocol

from agentops_local.errors import StoreFault
from agentops_local.store.connection import open_or_create
from agentops_local.store.file import DatabaseFile


class Writable(Protocol):
    """A database that can be looked at and written."""

    def look(self) -> sqlite3.Connection:
        """The connection, for short reads that fetch all they want."""

    def transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        """A transaction; undone when the block raises."""

    def close(self) -> None:
        """Closes it."""


class Target:
    """A database that is written. Afterwards, `close` it.

    Args:
        path: where it is; it is made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        self._file = DatabaseFile(path)

    def look(self) -> sqlite3.Connection:
        """The connection, for short reads that fetch all they want."""
        if self._file.is_open:
            return self._file.ready()
        try:
            self._file.take_turn()
            return self._file.ready()
        finally:
            self._file.lock.release()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction that survives a power cut; undone when the block raises."""
        with self._file.transaction() as connection:
            yield connection

    def close(self) -> None:
        """Closes it."""
        lock = self._file.lock
        try:
            with suppress(OSError, StoreFault):
                lock.acquire()
            self._file.close()
        finally:
            lock.release()
            lock.close()


class Fresh:
    """A new database that nobody knows of yet: until it gets its name it need not survive anything.

    Args:
        path: where it shall be.
    """

    def __init__(self, path: Path) -> None:
        self._connection = open_or_create(path, wal=False)
        for pragma in ("journal_mode = MEMORY", "synchronous = OFF"):
            self._connection.execute(f"PRAGMA {pragma}")

    def look(self) -> sqlite3.Connection:
        """The connection."""
        return self._connection

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction; undone when the block raises."""
        self._connection.execute("BEGIN")
        try:
            yield self._connection
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def close(self) -> None:
        """Closes it."""
        self._connection.close()
