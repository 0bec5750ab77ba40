"""What the trees of our database look like: the number of columns of each record, and what may stand in them.

That tells our tables apart without any name: a page that no tree reaches any more is known by its records. It is taken
from schema.sql, so that there is no second truth about it.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache

from agentops_local.recovery.record import ANY, BLOB, INTEGER, NULL, TEXT, storage_class
from agentops_local.store.schema import schema_text, statements

SCHEMA = "sqlite_schema"  # the table of the tables
SESSION_IDS, EVENT_IDS, URLS = (f"sqlite_autoindex_{table}_1" for table in ("sessions", "events", "targets"))

_DECLARED = {"INTEGER": INTEGER, "TEXT": TEXT, "BLOB": BLOB}


@dataclass(frozen=True)
class Tree:
    """A table or an index.

    Attributes:
        name: of the table or index.
        table: the table that it belongs to.
        keyed: whether it is an index, or a table WITHOUT ROWID, which is stored as one.
        columns: their names in the order in which they are stored.
        allowed: the storage classes that may stand in each.
        number: which column is the number of the row, and stored as NULL; None if there is none.
        is_index: whether it is an index.
    """

    name: str
    table: str
    keyed: bool
    columns: tuple[str, ...]
    allowed: tuple[int, ...]
    number: int | None = None
    is_index: bool = False

    def fits(self, serials: Sequence[int]) -> bool:
        """Whether a record of these serial types may be one of this tree."""
        return len(serials) == len(self.allowed) and all(
            storage_class(serial) & allowed for serial, allowed in zip(serials, self.allowed, strict=True)
        )


@cache
def trees() -> dict[str, Tree]:
    """Every tree of the database, by name."""
    found = {SCHEMA: Tree(SCHEMA, SCHEMA, False, ("type", "name", "tbl_name", "rootpage", "sql"),
                          (TEXT, TEXT, TEXT, INTEGER, TEXT | NULL))}  # fmt: skip
    with closing(sqlite3.connect(":memory:")) as connection:
        for statement in statements(schema_text()):
            connection.execute(statement)
        rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master WHERE rootpage").fetchall()
        for kind, name, table, sql in rows:
            if kind == "index":
                found[name] = _index(connection, name, table)
            elif re.search(r"WITHOUT\s+ROWID\s*$", sql, re.IGNORECASE):
                found[name] = _keyed_table(connection, name)
            else:
                found[name] = _table(connection, name)
    return found


@cache
def tables() -> tuple[Tree, ...]:
    """Our tables."""
    return tuple(tree for tree in trees().values() if not tree.is_index and tree.name != SCHEMA)


def _columns(connection: sqlite3.Connection, table: str) -> dict[str, tuple[int, bool]]:
    """The columns of a table: what may stand in each, and whether it is (a part of) the primary key."""
    found = {}
    for _, name, declared, not_null, _, key in connection.execute(f"PRAGMA table_info({table})").fetchall():
        allowed = _DECLARED.get(declared.upper(), ANY)
        found[name] = (allowed if not_null else allowed | NULL, key > 0)
    return found


def _table(connection: sqlite3.Connection, name: str) -> Tree:
    columns = _columns(connection, name)
    keys = [place for place, (allowed, key) in enumerate(columns.values()) if key and allowed & INTEGER]
    number = keys[0] if keys else None
    allowed = tuple(NULL if place == number else classes for place, (classes, _) in enumerate(columns.values()))
    return Tree(name, name, False, tuple(columns), allowed, number)


def _keyed_table(connection: sqlite3.Connection, name: str) -> Tree:
    columns = _columns(connection, name)
    for _, index, _, origin, _ in connection.execute(f"PRAGMA index_list({name})").fetchall():
        if origin == "pk":
            order = [row[2] for row in connection.execute(f"PRAGMA index_xinfo({index})").fetchall()]
            allowed = tuple(columns[column][0] & ~(NULL if columns[column][1] else 0) for column in order)
            return Tree(name, name, True, tuple(order), allowed)
    raise LookupError(f"{name} has no primary key")


def _index(connection: sqlite3.Connection, name: str, table: str) -> Tree:
    columns = _columns(connection, table)
    names, allowed = [], []
    for _, place, column, *_ in connection.execute(f"PRAGMA index_xinfo({name})").fetchall():
        names.append(column or "")
        classes, _ = columns.get(column, (INTEGER if place == -1 else ANY, False))
        if column in columns and columns[column][1] and classes & INTEGER:
            classes &= ~NULL  # the number of a row stands here as it is
        allowed.append(classes)
    return Tree(name, table, True, tuple(names), tuple(allowed), is_index=True)
