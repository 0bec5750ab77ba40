"""How the reading side opens a database, and what every query of it needs.

Whoever reads must not be in the way of those who write: a connection cannot write, each read is short and fetches all
it wants, and no cursor stays open, for an open one keeps the WAL from being emptied.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from agentops_local.clock import to_iso
from agentops_local.store.connection import connect_readonly

_BITS = 32


def open_reader(path: Path, any_thread: bool = False) -> sqlite3.Connection:
    """A connection for reading; its rows are known by their names.

    Args:
        any_thread: whether other threads may use it as well, one at a time.

    Raises:
        DatabaseUnusable: if there is no such file, or it is not a database of ours.
    """
    connection = connect_readonly(path, any_thread)
    connection.row_factory = sqlite3.Row
    # Text that another program wrote need not be UTF-8: one such row must not hide all the others.
    connection.text_factory = _text
    return connection


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection for reading, closed at the end of the block."""
    with closing(open_reader(path)) as connection:
        yield connection


def exact_sum(column: str) -> str:
    """Two result columns, from which `added` makes the exact sum of an integer column.

    Not sum() itself: it stops at 64 bits with an error, and one absurd token count would hide the whole session.
    """
    return f"sum({column} >> {_BITS}) AS {column}_high, sum({column} & {(1 << _BITS) - 1}) AS {column}_low"


def added(row: sqlite3.Row, column: str) -> int:
    """The sum of a column that was asked for with `exact_sum`; 0 over nothing."""
    return ((row[f"{column}_high"] or 0) << _BITS) + (row[f"{column}_low"] or 0)


def iso(us: int | None) -> str | None:
    """ISO 8601 in UTC; None for no time, and for a number that is none."""
    try:
        return None if us is None else to_iso(us)
    except (OverflowError, ValueError):  # a year that no calendar has
        return None


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
