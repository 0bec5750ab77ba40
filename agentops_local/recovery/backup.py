"""A backup, made while programs record.

In WAL mode a transaction that only reads keeps nobody waiting: it is held open over the whole copy, which is therefore
of one moment, however long it takes. SQLite's own remedy, to begin anew whenever somebody has written, would never end
beside a program that records all the time.

With a rollback journal readers and writers exclude each other. There the copy is made in steps, between which writers
get their turn; one that was disturbed is begun anew, and the last attempt keeps the writers waiting.

The copy is looked through before it gets its name. Until then it is called `.part-PID`.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from agentops_local.errors import AgentOpsLocalError, WrongUse
from agentops_local.recovery.digest import Holding, check, counts, holding, opened
from agentops_local.store.backup import Progress, back_up, backups, folder_of, names, put_in_place, remove
from agentops_local.store.connection import play_back
from agentops_local.store.location import make_private
from agentops_local.store.lock import writers_turn

_STEP = 1024  # pages: 4 MB
_SMALL_STEP = 64  # where writers wait for a step
_ATTEMPTS = 3
_NAMES = 100  # backups in one second
_DAY = 86400  # seconds
# What belongs to a database.
_PARTS = ("", "-wal", "-shm", "-journal", "-generation", ".lock", ".sync.lock", ".sync.reserve", ".repair.lock")


class Refused(AgentOpsLocalError):
    """It was not done, for something is in the way; the message says what, and what to do."""


class _DisturbedError(Exception):
    """Somebody has written since the copy was begun."""


@dataclass(frozen=True)
class Backup:
    """A backup that was made.

    Attributes:
        held: what it holds.
        rows: of each table.
        removed: older backups that were not to be kept.
    """

    held: Holding
    rows: dict[str, int]
    removed: list[Path]


def make(
    database: Path, target: Path | None = None, force: bool = False, keep: int | None = None,
    progress: Progress = lambda *_: None,
) -> Backup:  # fmt: skip
    """Makes a backup.

    Args:
        database: which one.
        target: the file it shall be, or a folder for it; None: the default folder.
        force: whether it may take the place of a file.
        keep: how many in the default folder stay, the newest ones; None: all.
        progress: told after each step how many pages are left, and how many there are.

    Raises:
        Refused: there is a file of that name, or a database that may be in use.
        WrongUse: the target is the database itself, or a part of it.
        NotSound: the copy is damaged, and so is the database.
        DatabaseUnusable, sqlite3.Error, OSError: it could not be made.
    """
    if database.with_name(f"{database.name}-journal").exists():  # a writer is at work, or has come to a sudden end
        with writers_turn(database):
            play_back(database)
    with opened(database) as source:
        if target is None:
            make_private(folder_of(database))
        chosen = _chosen(database, target)
        _look_at(database, chosen[0], force or len(chosen) > 1)
        part = chosen[0].with_name(f"{chosen[0].name}.part-{os.getpid()}")
        try:
            rows = _copy(source, database, part, progress)
            held = _verified(part, rows)
            path = _named(part, chosen, force)
        except BaseException:
            remove(part)
            raise
    return Backup(Holding(**{**vars(held), "path": path}), rows, _discard(database, path, keep))


def _chosen(database: Path, target: Path | None) -> list[Path]:
    """The names that it may get: the first that is free."""
    if target is None:
        return list(islice(names(database), _NAMES))
    if target.is_dir():
        return [target / name.name for name in islice(names(database), _NAMES)]
    return [target]


def _look_at(database: Path, target: Path, force: bool) -> None:
    """Raises Refused or WrongUse if nothing may be written there."""
    if not target.parent.is_dir():
        raise Refused(f"there is no folder {target.parent}: make it first")
    place = Path(os.path.realpath(target.parent)) / target.name
    for part in (Path(os.path.realpath(database)).with_name(database.name + suffix) for suffix in _PARTS):
        if place == part or (part.exists() and target.exists() and target.samefile(part)):
            raise WrongUse(f"{target} belongs to the database itself: name another file")
    if not force and os.path.lexists(target):
        raise Refused(f"{target} exists: name another file, or use --force")
    for suffix in ("-wal", "-journal"):  # SQLite would play it into the backup
        beside = target.with_name(target.name + suffix)
        if os.path.lexists(beside):
            raise Refused(f"{beside} exists, so {target} is a database that may be in use: name another file")


def _copy(source: sqlite3.Connection, database: Path, part: Path, progress: Progress) -> dict[str, int]:
    """Copies what the database holds at one moment; returns how many rows of each table that are."""
    if source.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
        return _copy_moment(source, part, progress)
    for _ in range(_ATTEMPTS):
        with suppress(_DisturbedError):
            return _copy_between(source, part, progress)
    with writers_turn(database):
        return _copy_moment(source, part, progress)


def _copy_moment(source: sqlite3.Connection, part: Path, progress: Progress) -> dict[str, int]:
    source.execute("BEGIN")
    try:
        rows = counts(source)
        back_up(source, part, _STEP, progress)
    finally:
        source.execute("ROLLBACK")
    return rows


def _copy_between(source: sqlite3.Connection, part: Path, progress: Progress) -> dict[str, int]:
    """Copies in steps that let writers through, as long as none of them writes.

    Raises:
        _DisturbedError: one has.
    """

    def version() -> int:
        return int(source.execute("PRAGMA data_version").fetchone()[0])

    began = version()

    def step(left: int, total: int) -> None:
        if version() != began:
            raise _DisturbedError
        progress(left, total)

    rows = counts(source)
    back_up(source, part, _SMALL_STEP, step)
    return rows


def _verified(part: Path, rows: dict[str, int]) -> Holding:
    """What the copy holds; it is sound, and has the rows that were there.

    Raises:
        NotSound: it is not, or has others.
    """
    with opened(part) as copy:
        check(copy, "the copy, and so the database,")
        found = counts(copy)
        if found != rows:
            differing = sorted(table for table in rows.keys() | found.keys() if rows.get(table) != found.get(table))
            raise Refused(f"the copy has other rows than the database had, in {', '.join(differing)}: try again")
        return holding(copy, part)


def _named(part: Path, chosen: list[Path], force: bool) -> Path:
    for path in chosen:
        try:
            put_in_place(part, path, force and len(chosen) == 1)
        except FileExistsError:
            continue
        return path
    raise Refused(f"{chosen[0]} exists: name another file, or use --force")


def _discard(database: Path, made: Path, keep: int | None) -> list[Path]:
    """Removes what is not to be kept in the default folder, and what a killed attempt has left there."""
    folder = folder_of(database)
    with suppress(OSError):
        for part in folder.glob("*.part-*"):
            if time.time() - part.stat().st_mtime > _DAY:  # a younger one may be being written
                remove(part)
    if keep is None:
        return []
    old = [one for one in backups(database) if one != made][: -(keep - 1) or None]
    for one in old:
        one.unlink()
    return old
