"""Copies of a database that is in use, and of whatever else is made of one: whole under their name, or not there.

A copy is made by SQLite's backup API. To read the file by another descriptor would cancel SQLite's locks when that is
closed, and `cp` takes a database and its WAL at two different moments.
"""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from itertools import count
from pathlib import Path

from agentops_local.store.location import sync_folder

FOLDER = "backups"
Progress = Callable[[int, int], object]

# In UTC: an hour that comes twice a year would put a later one first.
_NAME = r"-(?P<time>\d{8}T\d{6})(-(?P<number>\d+))?\.db"


def back_up(connection: sqlite3.Connection, target: Path, pages: int = -1, progress: Progress | None = None) -> Path:
    """Copies the database to a new file, mode 0600: a single one, without WAL, that any SQLite tool reads.

    Args:
        connection: to the database. In WAL mode and within a transaction, what it sees is copied, whoever writes.
        target: the new file.
        pages: how many are copied at once; all of them by default.
        progress: told after each step how many pages are left, and how many there are. It may raise.

    Raises:
        FileExistsError: there is a file of that name. It stays as it is.
        sqlite3.Error, OSError: it could not be copied. Half a copy is none, and is removed.
    """
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    tell = progress or (lambda *_: None)
    try:
        with closing(sqlite3.connect(target)) as copy:
            connection.backup(copy, pages=pages, progress=lambda _, left, total: tell(left, total))
        # The copied header says WAL: read-only places could not open it, and a reader would put a WAL beside it.
        with closing(sqlite3.connect(target, isolation_level=None)) as copy:
            copy.execute("PRAGMA journal_mode = DELETE")
    except BaseException as error:
        remove(target)
        if isinstance(error, sqlite3.Error) and "is full" in str(error):  # of two disks SQLite does not say which
            raise sqlite3.OperationalError(f"{error}: there is no room for a copy in {target.parent}") from error
        raise
    return target


def remove(database: Path) -> None:
    """Removes a copy, and what SQLite may have put beside it."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        with suppress(OSError):
            database.with_name(database.name + suffix).unlink()


def put_in_place(made: Path, target: Path, force: bool = False) -> None:
    """Gives a file that is complete its name: from then on it is there, and whole, also after a power cut.

    Args:
        made: the file, in the same folder. No process of ours may have it open: a descriptor is opened here.
        force: whether it may take the place of another.

    Raises:
        FileExistsError: there is a file of that name.
    """
    descriptor = os.open(made, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if force:
        os.replace(made, target)
    else:
        _rename(made, target)
    sync_folder(target.parent)


def _rename(made: Path, target: Path) -> None:
    try:
        os.link(made, target)  # unlike a rename, it never takes the place of a file
    except FileExistsError:
        raise
    except OSError:  # a filesystem without hard links
        if os.path.lexists(target):
            raise FileExistsError(f"{target} exists") from None
        os.replace(made, target)
    else:
        os.unlink(made)


def backups(database: Path) -> list[Path]:
    """The backups of a database in their default folder, the oldest first."""
    found = []
    with suppress(OSError):
        for file in folder_of(database).iterdir():
            match = re.fullmatch(re.escape(database.stem) + _NAME, file.name)
            if match:  # by the time in the name: that of the file is the copy's if somebody has copied it
                found.append((match["time"], int(match["number"] or 1), file))
    return [file for _, _, file in sorted(found)]


def folder_of(database: Path) -> Path:
    """Where the backups of a database are put by default."""
    return database.parent / FOLDER


def names(database: Path) -> Iterator[Path]:
    """Names for a backup made now, in the default folder: the plain one first, and further ones if it is taken."""
    plain = f"{database.stem}-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}"
    yield folder_of(database) / f"{plain}.db"
    for number in count(2):
        yield folder_of(database) / f"{plain}-{number}.db"
