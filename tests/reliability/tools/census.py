"""Which pages each row of a sound database stands on, as SQLite itself tells: by its table `dbstat`, whose leaves have
their rows in the order of their numbers. What a damage of other pages leaves of a database is known by that, whatever
any program for repairs may say."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple


class Row(NamedTuple):
    """A row of a sound database, and the pages it stands on."""

    key: int
    values: dict[str, object]
    pages: frozenset[int]


def has_dbstat() -> bool:
    """Whether this SQLite was built with that table."""
    with closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.execute("SELECT 1 FROM dbstat").fetchall()
        except sqlite3.OperationalError:
            return False
    return True


def census(path: Path, table: str, key: str) -> dict[int, Row]:
    """The rows of a table that has numbers, by these."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        rows = connection.execute(f"SELECT * FROM {table} ORDER BY {key}").fetchall()
        places = list(_places(connection, table))
    assert len(places) == len(rows), table
    return {row[key]: Row(row[key], dict(row), pages) for row, pages in zip(rows, places, strict=True)}


def _places(connection: sqlite3.Connection, table: str) -> Iterator[frozenset[int]]:
    sql = "SELECT path, pageno, pagetype, ncell FROM dbstat WHERE name = ?"
    overflow: dict[tuple[str, int], set[int]] = defaultdict(set)
    leaves: list[tuple[str, int, int]] = []
    for path, number, kind, cells in connection.execute(sql, (table,)).fetchall():
        if kind == "overflow":
            parent, _, rest = path.rpartition("/")
            overflow[f"{parent}/", int(rest.partition("+")[0], 16)].add(number)
        elif kind == "leaf":
            leaves.append((path, number, cells))
    for path, number, cells in sorted(leaves):
        for cell in range(cells):
            yield frozenset({number, *overflow[path, cell]})
