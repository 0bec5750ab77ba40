"""What a database holds, in forms that can be compared: rows counted, rows digested; and whether it is sound."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from agentops_local.errors import AgentOpsLocalError
from agentops_local.store.connection import connect_readonly
from agentops_local.store.trouble import complaints

# Neither counts the empty row that keeps the number of one that was erased.
_HELD = """
SELECT (SELECT count(*) FROM sessions WHERE id <> ''),
       (SELECT count(*) FROM events e JOIN sessions s ON s.seq = e.session WHERE s.id <> ''),
       (SELECT max(coalesce(end_us, init_us)) FROM events),
       (SELECT value FROM about WHERE key = 'generation')
"""
_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!' ORDER BY name"


class NotSound(AgentOpsLocalError):
    """A database is damaged, or not what it should be."""


@dataclass(frozen=True)
class Holding:
    """What a database holds, in a few numbers.

    Attributes:
        version: of its schema.
        last_us: when its last event was over; None: it has none.
        generation: its id.
    """

    path: Path
    bytes: int
    version: int
    sessions: int
    events: int
    last_us: int | None
    generation: str


def holding(connection: sqlite3.Connection, path: Path) -> Holding:
    """What a database holds.

    Raises:
        sqlite3.DatabaseError: it cannot be read.
    """
    sessions, events, last_us, generation = connection.execute(_HELD).fetchone()
    version = _one(connection, "PRAGMA user_version")
    size = _one(connection, "PRAGMA page_count") * _one(connection, "PRAGMA page_size")
    return Holding(path, size, version, sessions, events, last_us, str(generation))


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that reads a database of ours, and every text in it, be it UTF-8 or not.

    Raises:
        DatabaseUnusable: there is none, or it is not ours.
    """
    connection = connect_readonly(path)
    connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
    try:
        yield connection
    finally:
        connection.close()


def counts(connection: sqlite3.Connection) -> dict[str, int]:
    """How many rows each table has."""
    return {table: _one(connection, f"SELECT count(*) FROM {_quoted(table)}") for table in _tables(connection)}  # noqa: S608 - our own names


def digests(connection: sqlite3.Connection) -> dict[str, str]:
    """A digest of all the rows of each table, in the order of its key: equal if and only if the rows are."""
    return {table: _digest(connection, table) for table in _tables(connection)}


def check(connection: sqlite3.Connection, what: object) -> None:
    """Has SQLite look through the whole file.

    Args:
        what: the file, as the message names it.

    Raises:
        NotSound: it is damaged, or a row names one that is not there.
    """
    try:
        found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(3)").fetchall()]
        if found != ["ok"]:
            raise NotSound(f"{what} is damaged: {'; '.join(complaints(found)[:3])}")
        broken = connection.execute("PRAGMA foreign_key_check").fetchmany(1)
        if broken:
            raise NotSound(f"{what} is damaged: rows of {broken[0][0]} name rows of {broken[0][2]} that are not there")
    except sqlite3.DatabaseError as error:
        raise NotSound(f"{what} is damaged: {error}") from error


def _digest(connection: sqlite3.Connection, table: str) -> str:
    hashed = blake2b(digest_size=16)
    key = ", ".join(_quoted(column) for column in _key(connection, table)) or "rowid"
    for row in connection.execute(f"SELECT * FROM {_quoted(table)} ORDER BY {key}"):  # noqa: S608 - our own names
        hashed.update(repr(row).encode("utf-8", "surrogateescape"))
    return hashed.hexdigest()


def _key(connection: sqlite3.Connection, table: str) -> list[str]:
    columns = connection.execute(f"PRAGMA table_info({_quoted(table)})").fetchall()
    return [name for _, _, name in sorted((row[5], row[0], row[1]) for row in columns if row[5])]


def _tables(connection: sqlite3.Connection) -> list[str]:
    return [row[0] for row in connection.execute(_TABLES).fetchall()]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _one(connection: sqlite3.Connection, sql: str) -> int:
    return int(connection.execute(sql).fetchone()[0])
