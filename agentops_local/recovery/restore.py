"""A backup put in the place of the database. Nothing is deleted: what was there is put aside.

Whatever ends this, at any moment, leaves a whole database at the path, the old one or the restored one:

1. The backup is copied to a file beside the database, compared with it row by row, looked through, and made another
   database (see `renewal`). All this takes a while, and nobody waits for it.
2. Under the writers' lock, the WAL of the old database is moved into it, and it gets a second name, `.replaced-...`.
3. The WAL, which is empty of anything that only it holds, and its index are removed. They must not lie beside another
   database: SQLite would play the one into it, and share the other with those who still have the old one open.
4. One rename puts the copy in place. What stands there is compared once more; if it is not what was copied, another
   rename brings the old one back.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from agentops_local.errors import DatabaseTooNew, DatabaseUnusable, ForeignDatabase, WrongUse
from agentops_local.recovery.backup import Refused
from agentops_local.recovery.digest import Holding, NotSound, check, digests, holding, opened
from agentops_local.recovery.renewal import renew
from agentops_local.store.backup import Progress, back_up, put_in_place, remove
from agentops_local.store.connection import connect, play_back, write_generation
from agentops_local.store.location import prepare_folder, sync_folder
from agentops_local.store.lock import writers_turn

_STEP = 1024  # pages
_WAL_PATIENCE = 5.0  # seconds that readers are given to let go of the WAL

Guard = Callable[[sqlite3.Connection], object]


@dataclass(frozen=True)
class Restored:
    """What was done.

    Attributes:
        held: what the database holds now.
        replaced: where the one is that was there before; None: there was none.
        tables: how many were compared with those of the backup, row by row.
    """

    held: Holding
    replaced: Path | None
    tables: int


def look_at_backup(backup: Path, database: Path) -> Holding:
    """What a backup holds, which is looked through.

    Raises:
        DatabaseUnusable: it is none of ours, or of a newer version.
        NotSound: it is damaged.
        WrongUse: it is the database itself.
    """
    with _opened_backup(backup) as connection:
        if database.exists() and backup.samefile(database):
            raise WrongUse(f"{backup} is the database itself: name a backup")
        check(connection, backup)
        return holding(connection, backup)


@contextmanager
def _opened_backup(backup: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a backup; what is none is refused in words that speak of a backup, not of the database."""
    with ExitStack() as stack:
        try:
            connection = stack.enter_context(opened(backup))
        except ForeignDatabase as error:
            raise ForeignDatabase(f"{backup} is no backup: it is the database of another program") from error
        except DatabaseTooNew:
            raise
        except DatabaseUnusable as error:
            if not backup.is_file():
                raise
            raise DatabaseUnusable(f"{backup} is no backup: {error.__cause__ or 'it holds nothing'}") from error
        yield connection


def look_at_database(database: Path) -> Holding | None:
    """What the database at a path holds; None if it holds nothing, or cannot be read.

    Raises:
        ForeignDatabase: it is another program's, and not ours to move.
    """
    try:
        with opened(database) as connection:
            return holding(connection, database)
    except ForeignDatabase:
        raise
    except (DatabaseUnusable, sqlite3.DatabaseError):
        return None


def restore(
    database: Path, backup: Path, guard: Guard = lambda _: None, progress: Progress = lambda *_: None
) -> Restored:
    """Puts a backup in the place of a database.

    Args:
        database: where; symbolic links resolved.
        backup: what `look_at_backup` has found good.
        guard: told a connection to the database in place, while nobody can write; it may raise.
        progress: told after each step of the copying how many pages are left, and how many there are.

    Raises:
        Refused: a program reads the database, and keeps its WAL from being emptied.
        NotSound: what was copied is not what the backup holds.
        DatabaseUnusable, StoreFault, sqlite3.Error, OSError: it could not be done; the database is what it was.
    """
    prepare_folder(database)
    part = database.with_name(f"{database.name}.restoring-{os.getpid()}")
    _sweep(database)
    try:
        expected, generation = _prepare(backup, part, progress)
        with writers_turn(database):
            replaced = _replace(database, part, guard)
            try:
                held = _compare(database, expected)
            except BaseException:
                _bring_back(database, replaced)
                raise
            write_generation(database, generation)
    finally:
        remove(part)
    return Restored(held, replaced, len(expected))


# Before anybody waits ------------------------------------------------------------------------------------------------


def _prepare(backup: Path, part: Path, progress: Progress) -> tuple[dict[str, str], str]:
    """Makes the copy that will be put in place; returns the digests of its tables, and its generation."""
    with opened(backup) as source:
        source.execute("BEGIN")  # should it be in use, it is copied and digested as of one moment
        back_up(source, part, _STEP, progress)
        expected = digests(source)
    with opened(part) as copy:
        if digests(copy) != expected:
            raise NotSound(f"the copy of {backup} is not equal to it: try again, and look at the disk")
    # No WAL yet: this file will be renamed, and a WAL would stay behind.
    with closing(connect(part, wal=False)) as connection:
        generation = renew(connection)
    with opened(part) as copy:
        check(copy, "the copy")
        renewed = digests(copy)
    changed = {table for table in expected if renewed.get(table) != expected[table]}
    if changed - _RENEWED:
        raise NotSound(f"the copy of {backup} has other rows than it, in {', '.join(sorted(changed - _RENEWED))}")
    return renewed, generation


_RENEWED = {"about", "deliveries", "batches", "projects", "api_keys"}


def _sweep(database: Path) -> None:
    """Removes copies of restorings that were killed an hour ago, or longer."""
    for part in database.parent.glob(f"{database.name}.restoring-*"):
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > 3600:
                remove(part)


# Under the lock ------------------------------------------------------------------------------------------------------


def _replace(database: Path, part: Path, guard: Guard) -> Path | None:
    """Puts the copy in place; returns where the old database is now, None if there was none worth keeping."""
    replaced = None
    if database.exists() and database.stat().st_size:
        readable = _empty_wal(database, guard)
        replaced = _set_aside(database, readable)
    try:
        _remove_wal(database)
        put_in_place(part, database, force=True)
    except BaseException:
        if replaced is not None and replaced.samefile(database):  # it is still in its place
            replaced.unlink()
        raise
    _remove_wal(database)  # a reader that came between the two has made one for the old database
    return replaced


def _empty_wal(database: Path, guard: Guard) -> bool:
    """Moves what only the WAL holds into the database; False if that is damaged."""
    try:
        play_back(database)
        with opened(database) as connection:
            guard(connection)
    except DatabaseTooNew:
        pass  # to go back to an older version is a reason to restore a backup
    except ForeignDatabase:
        raise
    except (DatabaseUnusable, sqlite3.DatabaseError):
        return False
    with closing(connect(database, wal=False)) as connection:
        try:
            connection.execute(f"PRAGMA busy_timeout = {_WAL_PATIENCE * 1000:.0f}")
            _, pages, moved = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.OperationalError as error:
            raise Refused(f"a program keeps {database} in use ({error}): close it first") from error
        except sqlite3.DatabaseError:
            return False
        if pages != moved:
            raise Refused(f"a program reads {database} and keeps its WAL from being emptied: close it first")
    return True


def _set_aside(database: Path, readable: bool) -> Path:
    """Gives the old database, and the WAL of a damaged one, a second name."""
    aside = database.with_name(f"{database.name}.replaced-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}")
    while os.path.lexists(aside):
        aside = aside.with_name(f"{aside.name}+")
    try:
        os.link(database, aside)
    except OSError:  # a filesystem without hard links
        with opened(database) as source:
            back_up(source, aside)
    if not readable:
        for suffix in ("-wal", "-journal"):
            with suppress(FileNotFoundError):
                os.link(database.with_name(database.name + suffix), aside.with_name(aside.name + suffix))
    sync_folder(database.parent)
    return aside


def _remove_wal(database: Path) -> None:
    for suffix in ("-wal", "-shm", "-journal"):
        with suppress(FileNotFoundError):
            database.with_name(database.name + suffix).unlink()


def _compare(database: Path, expected: dict[str, str]) -> Holding:
    with opened(database) as connection:
        if digests(connection) != expected:
            raise NotSound(f"{database} does not hold what was put there: look at the disk")
        check(connection, database)
        return holding(connection, database)


def _bring_back(database: Path, replaced: Path | None) -> None:
    if replaced is None:
        database.unlink()
        return
    replaced.replace(database)
    for suffix in ("-wal", "-journal"):
        with suppress(FileNotFoundError):
            replaced.with_name(replaced.name + suffix).replace(database.with_name(database.name + suffix))
    sync_folder(database.parent)
