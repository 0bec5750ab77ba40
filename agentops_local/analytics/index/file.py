"""The file of the index: opened beside the database, made anew where it is of no use, thrown away."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from agentops_local.analytics.index.catch_up import catch_up
from agentops_local.analytics.reading import open_reader
from agentops_local.log import logger
from agentops_local.store.connection import file_uri

_PATIENCE = 60_000  # milliseconds; whoever is at work writes a first index in pieces
_RUINED = (
    "malformed",
    "not a database",
    "disk I/O",
    "readonly",
    "unable to open",
    "no such table: idx",
    "already exists",
)


def index_file(path: Path) -> Path:
    """Where the index of a database is."""
    real = path.resolve()
    return real.with_name(f"{real.name}-index")


@contextmanager
def opened(path: Path, *more: Callable[[sqlite3.Connection], None]) -> Iterator[sqlite3.Connection]:
    """A connection for reading a database with its index, as `idx`, up to the last event. Both are read as they are at
    one moment until the block ends, so it is to be short.

    Args:
        more: what else is to be brought up to date before.

    Raises:
        DatabaseUnusable: as `open_reader`.
        sqlite3.Error: the database cannot be read.
    """
    with closing(_ready(path, more)) as connection:
        while not _begin(connection):  # it was thrown away in this very moment
            _bring(connection, more)
        yield connection
        connection.execute("ROLLBACK")


def forget(path: Path) -> None:
    """Throws the index of a database away: who has erased something leaves no word of it there."""
    file = index_file(path)
    if not file.exists():
        return
    # Emptied first, under its locks: who has it open has nothing left, and where a file in use cannot be removed, it
    # is an empty one.
    with (
        suppress(sqlite3.DatabaseError),
        closing(sqlite3.connect(file, timeout=_PATIENCE / 1000, isolation_level=None)) as connection,
    ):
        connection.execute("PRAGMA secure_delete = ON")
        names = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY sql NOT LIKE 'CREATE VIRTUAL%'"
        ).fetchall()
        connection.execute("BEGIN IMMEDIATE")
        for (name,) in names:
            connection.execute(f'DROP TABLE IF EXISTS "{name}"')
        connection.execute("COMMIT")
        connection.execute("PRAGMA busy_timeout = 200")  # who still reads it keeps the WAL, which is removed
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    _remove(file)


def _ready(path: Path, more: tuple[Callable[[sqlite3.Connection], None], ...]) -> sqlite3.Connection:
    file = index_file(path)
    try:
        return _open(path, file, more)
    except sqlite3.DatabaseError as error:
        if not any(text in str(error) for text in _RUINED):
            raise
        logger.debug("agentops_local: the index %s cannot be used (%s); it is made anew", file, error)
    try:
        _remove(file)
        return _open(path, file, more)
    except (sqlite3.DatabaseError, OSError) as error:
        logger.debug("agentops_local: the index %s cannot be made (%s); a temporary one is", file, error)
    return _open(path, None, more)


def _open(path: Path, file: Path | None, more: tuple[Callable[[sqlite3.Connection], None], ...]) -> sqlite3.Connection:
    connection = open_reader(path)  # first: beside a database that is refused nothing is made
    try:
        file = None if file is None else _create(file)
        connection.execute("ATTACH ? AS idx", ("" if file is None else file_uri(file, "rw"),))
        connection.execute(f"PRAGMA busy_timeout = {_PATIENCE}")
        if file is not None:
            connection.execute("PRAGMA idx.journal_mode = WAL")
            connection.execute("PRAGMA idx.synchronous = NORMAL")
        _bring(connection, more)
    except BaseException:
        connection.close()
        raise
    return connection


def _bring(connection: sqlite3.Connection, more: tuple[Callable[[sqlite3.Connection], None], ...]) -> None:
    for bring in (catch_up, *more):
        bring(connection)


def _begin(connection: sqlite3.Connection) -> bool:
    """Begins to read both files as they are now, for which each must be read from; whether there is an index."""
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM main.sqlite_master").fetchone()
    if connection.execute("SELECT count(*) FROM idx.sqlite_master WHERE name = 'marks'").fetchone()[0]:
        return True
    connection.execute("ROLLBACK")
    return False


def _create(file: Path) -> Path | None:
    """Sees to it that there is a file that only its owner can read; None where there can be none."""
    try:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        os.close(os.open(file, flags, 0o600))
    except OSError:
        return None
    return file


def _remove(file: Path) -> None:
    for name in (file, file.with_name(f"{file.name}-wal"), file.with_name(f"{file.name}-shm")):
        with suppress(FileNotFoundError, PermissionError):
            name.unlink()
