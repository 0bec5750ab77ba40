"""`doctor --repair`: a damaged database is put aside, and what can be read of it put into a new one.

In this order, and each step leaves a state from which another run goes on: a damaged index alone is built anew in place
(if the file is sound after that); a damaged file is put aside as the recorder would do it, and a new one begun; every
copy that lies beside is salvaged, then renamed, so that it is known to be. Nothing is deleted, and programs may record
all the while: they notice by the file's identity that it was replaced.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from agentops_local.errors import AgentOpsLocalError, DatabaseUnusable, ForeignDatabase, StoreFault
from agentops_local.recovery.backup import Refused
from agentops_local.recovery.census import Census
from agentops_local.recovery.contents import altered
from agentops_local.recovery.log import read_wal
from agentops_local.recovery.pages import Image
from agentops_local.recovery.salvage import Progress, Salvage, Salvaged
from agentops_local.store import connection as opening
from agentops_local.store.file import DatabaseFile
from agentops_local.store.lock import WritersLock
from agentops_local.store.trouble import Trouble, complaints, diagnose

_DAMAGED, _SALVAGED = ".damaged-", ".salvaged-"
_LOGS = ("-wal", "-journal")
_COMPLAINTS = 20
_PATIENCE = 1.0  # seconds that another repair is given to end

FAULTS = (AgentOpsLocalError, sqlite3.Error, OSError)  # what may keep a copy from being salvaged


@dataclass
class Repaired:
    """What was found, and what was done.

    Attributes:
        damage: what was wrong with the database; nothing if it was sound.
        reindexed: whether building its indexes anew was enough.
        lost_rows: how many events an index knew, and their table no longer.
        aside: where the damaged file was put, before it was salvaged.
        emptied: whether the file held nothing at all.
        copies: what became of each copy.
        failed: copies that could not be salvaged, and why; they are as they were.
    """

    damage: list[str] = field(default_factory=list)
    reindexed: bool = False
    lost_rows: int = 0
    aside: str | None = None
    emptied: bool = False
    copies: list[Salvaged] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)


class Repair:
    """Repairs the database at a path.

    Args:
        path: where it is.
        progress: told what is done, and how far it is.
    """

    def __init__(self, path: Path, progress: Progress = lambda *_: None) -> None:
        self._file = DatabaseFile(path)
        self._path = self._file.path
        self._progress = progress
        self._may_be_indexes = False
        self.done = Repaired()

    def run(self) -> Repaired:
        """Does it.

        Raises:
            ForeignDatabase, DatabaseTooNew: the file at the path is not ours to touch.
            Refused: another repair is at work.
            DatabaseUnusable, StoreFault, sqlite3.Error, OSError: it could not be done.
        """
        try:
            known = _identity(self._path)
            self.done.damage = self._look()
            if self.done.damage and self._may_be_indexes and self._reindex(known):
                contents = self._look()
                self.done.damage += contents
                self.done.reindexed = not contents
            damaged = bool(self.done.damage) and not self.done.reindexed
            if damaged or damaged_copies(self._path):
                with self._alone():
                    if damaged:
                        self._put_aside(known)
                    for copy in damaged_copies(self._path):
                        self._salvage(copy)
        finally:
            self._close()
        return self.done

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One repair at a time: two would salvage the same copy, and the one remove the other's stage."""
        lock = WritersLock(self._path.with_name(f"{self._path.name}.repair.lock"), _PATIENCE)
        try:
            lock.acquire()
        except StoreFault:
            raise Refused(f"another repair of {self._path} is at work: let it end") from None
        try:
            yield
        finally:
            lock.release()
            lock.close()

    # The database -------------------------------------------------------------------------------------------------

    def _look(self) -> list[str]:
        """What is wrong with the file; nothing if it is sound, or there is none."""
        if not self._path.is_file():
            return []
        if self._path.stat().st_size < 512:  # less than the smallest page: SQLite takes it for a new one
            # SQLite would throw the log away with the next use.
            if read_wal(self._path.with_name(f"{self._path.name}-wal")).places:
                return ["it is empty, and its WAL is not"]
            self.done.emptied = True
            return []
        try:
            with closing(opening.connect_readonly(self._path)) as connection:
                found = connection.execute(f"PRAGMA integrity_check({_COMPLAINTS})").fetchall()
                opening.generation(connection)
                if found == [("ok",)]:
                    return self._look_at_contents(connection)
        except ForeignDatabase:
            if not _is_ours(self._path):
                raise
            return ["its header does not say that it is ours"]
        except (DatabaseUnusable, sqlite3.Error) as error:
            cause = error.__cause__ if isinstance(error, DatabaseUnusable) else error
            if cause is None or not (diagnose(cause) is Trouble.DAMAGED or "no such" in str(cause)):
                raise
            return [str(cause)]
        self._may_be_indexes = True
        return complaints([str(row[0]) for row in found])

    def _look_at_contents(self, connection: sqlite3.Connection) -> list[str]:
        found = altered(connection, partial(self._progress, "checking"))
        wrong = [f"rows of {name} that are not what was written: {count:,}" for name, count in found.items()]
        # Nobody ever commits such a row: a bit in the number that it names has flipped.
        lost = Counter(row[0] for row in connection.execute("PRAGMA foreign_key_check").fetchall())
        return wrong + [f"rows of {name} that name one that is not there: {count:,}" for name, count in lost.items()]

    def _reindex(self, known: tuple[int, int]) -> bool:
        """Builds the indexes anew; False, and nothing changed, if the file is not sound with that."""
        file = self._file
        try:
            file.take_turn()
            if _identity(self._path) != known:
                return False
            # While a reader is there, closing the writer moves nothing from the WAL into a file that may be damaged.
            with (
                closing(opening.connect_readonly(self._path)),
                closing(opening.connect(self._path)) as connection,
            ):
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("BEGIN IMMEDIATE")
                self.done.lost_rows = _more_in_index(connection)
                connection.execute("REINDEX")
                self.done.reindexed = connection.execute("PRAGMA integrity_check(1)").fetchone()[0] == "ok"
                connection.execute("COMMIT" if self.done.reindexed else "ROLLBACK")
        except (sqlite3.Error, DatabaseUnusable):
            self.done.reindexed = False
        finally:
            file.lock.release()
        if not self.done.reindexed:
            self.done.lost_rows = 0
        return self.done.reindexed

    def _put_aside(self, known: tuple[int, int]) -> None:
        """Puts the file aside, unless somebody else has done so, and begins a new one."""
        file = self._file
        before = set(damaged_copies(self._path))
        try:
            file.take_turn()
            if _identity(self._path) == known:
                error = sqlite3.DatabaseError(self.done.damage[0])
                if not (file.quarantine(error, told=False) or file.quarantine(error, _is_ours(self._path), told=False)):
                    raise ForeignDatabase(
                        f"{self._path} cannot be read, and nothing shows that it is a database of ours: it is left as "
                        "it is. Name another file with --db, or move it away"
                    )
            file.ready()
        finally:
            file.lock.release()
        aside = sorted(set(damaged_copies(self._path)) - before)
        self.done.aside = str(aside[-1]) if aside else None

    def _close(self) -> None:
        lock = self._file.lock
        try:
            with suppress(OSError, StoreFault):
                lock.acquire()
            self._file.close()
        finally:
            lock.release()
            lock.close()

    # Copies -------------------------------------------------------------------------------------------------------

    def _salvage(self, copy: Path) -> None:
        try:
            salvaged = Salvage(copy, self._file, self._progress).run()
            salvaged.copy = str(_rename(copy))
        except FAULTS as error:
            self.done.failed.append((str(copy), str(error)))
        else:
            self.done.copies.append(salvaged)


def damaged_copies(path: Path) -> list[Path]:
    """Damaged files that were put aside and are not salvaged yet, the oldest first."""
    return sorted(copy for copy in path.parent.glob(f"{path.name}{_DAMAGED}*") if not copy.name.endswith(_LOGS))


def _rename(copy: Path) -> Path:
    """The logs first: while the file itself has its old name, another run finds it and goes on."""
    new = copy.with_name(copy.name.replace(_DAMAGED, _SALVAGED))
    for end in (*_LOGS, ""):
        with suppress(FileNotFoundError):
            copy.with_name(copy.name + end).rename(new.with_name(new.name + end))
    return new


def _identity(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_dev, found.st_ino


def _is_ours(path: Path) -> bool:
    """Whether what is left of a file shows that it is a database of ours. This process has no connection to it now."""
    with closing(Image(path)) as image:
        return Census(image).is_ours()


def _more_in_index(connection: sqlite3.Connection) -> int:
    """How many events an index names that are not in the table: what is built anew will not know of them any more."""
    counts = [
        int(connection.execute(f"SELECT count(*) FROM events {how}").fetchone()[0])  # noqa: S608 - our own text
        for how in ("INDEXED BY sqlite_autoindex_events_1", "NOT INDEXED")
    ]
    return max(0, counts[0] - counts[1])
