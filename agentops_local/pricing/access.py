"""How pricing reads and writes the database, whoever has it open: the program that records, or a command."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from agentops_local.store.database import Database
from agentops_local.store.file import DatabaseFile

T = TypeVar("T")
Change = Callable[[sqlite3.Connection], object]


class Access(Protocol):
    """A database that can be read and written."""

    @property
    def path(self) -> Path:
        """Where it is."""

    def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Runs a query, which fetches all it wants, outside a transaction."""

    def write(self, change: Change) -> None:
        """Makes a change in a short transaction of its own."""


class OfProgram:
    """The database that this program records to. Its one connection serves pricing as well."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def path(self) -> Path:
        """Where it is."""
        return self._database.path

    def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Runs a query."""
        return self._database.read(query)

    def write(self, change: Change) -> None:
        """Makes a change; where that cannot be done now, later or not at all."""
        self._database.write(_Write(change))


class _Write:
    """A change as a write of the store. That prices were written may be forgotten: they are found once more."""

    __slots__ = ("_change", "events", "single_in", "size")

    def __init__(self, change: Change) -> None:
        self._change = change
        self.single_in = 0
        self.size = 0
        self.events = 0

    def run(self, connection: sqlite3.Connection, epoch: int) -> None:  # noqa: ARG002 - as the store calls it
        self._change(connection)

    def keep(self) -> _Write:
        return self


class OfFile:
    """A database file that a command has opened for this. Use `opened`."""

    def __init__(self, file: DatabaseFile) -> None:
        self._file = file

    @property
    def path(self) -> Path:
        """Where it is."""
        return self._file.path

    def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Runs a query."""
        if self._file.is_open:
            return query(self._file.ready())
        try:
            self._file.take_turn()
            return query(self._file.ready())
        finally:
            self._file.lock.release()

    def write(self, change: Change) -> None:
        """Makes a change, which survives a power cut."""
        with self._file.transaction() as connection:
            change(connection)


@contextmanager
def opened(path: Path) -> Iterator[OfFile]:
    """A database that is there, opened for writing, and closed at the end of the block."""
    file = DatabaseFile(path)
    try:
        yield OfFile(file)
    finally:
        try:
            file.lock.acquire()
            file.close()
        finally:
            file.lock.release()
            file.lock.close()
