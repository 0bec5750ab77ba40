"""A transaction that can be run once more: its statements are remembered until they are committed.

On a full disk SQLite undoes a transaction at any of its statements, mostly at the last. Who holds the writers' lock can
make room and run the same statements again; they find the same rows, and so they do the same.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

Values = Sequence[Any] | dict[str, Any]


class Statements:
    """The statements of one transaction, which it begins.

    Args:
        connection: in autocommit mode.
        make_room: undoes what a statement has failed in, and makes room; whether that may have helped.

    Raises:
        sqlite3.Error: it cannot be begun.
    """

    def __init__(self, connection: sqlite3.Connection, make_room: Callable[[sqlite3.Error], bool]) -> None:
        self._connection = connection
        self._make_room = make_room
        self._run: list[tuple[str, Values]] = []
        self._version = self._data_version()
        self.execute("BEGIN IMMEDIATE")

    @property
    def in_transaction(self) -> bool:
        """As of the connection."""
        return self._connection.in_transaction

    def execute(self, sql: str, values: Values = ()) -> sqlite3.Cursor:
        """Runs a statement, and all that went before once more where there was no room for it."""
        self._run.append((sql, values))
        try:
            return self._connection.execute(sql, values)
        except sqlite3.Error as error:
            return self._again(error)

    def commit(self) -> None:
        """Ends the transaction."""
        self.execute("COMMIT")

    def _again(self, error: sqlite3.Error) -> sqlite3.Cursor:
        while self._make_room(error):
            # A program that does not know the writers' lock may have written meanwhile.
            if self._data_version() != self._version:
                break
            try:
                return [self._connection.execute(*statement) for statement in self._run][-1]
            except sqlite3.Error as another:
                error = another
        raise error

    def _data_version(self) -> int:
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])
