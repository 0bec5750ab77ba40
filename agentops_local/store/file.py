"""The file behind a database: this process's connection to it, for as long as it is the file at its path.

Everything here happens while the caller holds the database's mutex and, but for closing, the writers' lock. What is
held against the hazards of SQLite in a Python process (each of them lost acknowledged rows in an experiment):

- The file was removed, renamed or replaced, or its WAL was, or the index of that: they are watched.
- Checkpoints are never automatic; whoever finds the WAL too large makes one, while no one can write.
- A damaged file is put aside whole, a place that cannot be written is left for the user's data folder.
"""

from __future__ import annotations

import gc
import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from agentops_local.errors import StoreFault
from agentops_local.log import logger
from agentops_local.store import connection as opening
from agentops_local.store import renewal
from agentops_local.store.filesystem import filesystem_type, wal_is_safe
from agentops_local.store.location import fallback_database, prepare_folder
from agentops_local.store.lock import WritersLock
from agentops_local.store.watch import Watch, remove

WAL_SIZE = 16 << 20  # bytes; a larger WAL is checkpointed by the writer that sees it
WAL_ALARM = 64 << 20
_PATIENCE = 30.0  # seconds to wait for the writers' lock
_MOMENT = 0.05  # seconds
_CHECKPOINT_WAIT = 0.1  # seconds that a checkpoint waits for readers while it keeps the writers waiting
_CHECKPOINT_LONGEST = 0.5  # the same where the WAL has grown to a multiple because of them
_CHECKPOINT_MOMENT = 0.005  # the same where each of many writers may try in vain, once a second
_CHECKPOINT_PAUSE = 0.001
_CHECKPOINT_AGAIN = 1.0  # seconds


class DatabaseFile:
    """One process's hold on the database file.

    Args:
        path: where the file is or shall be; it is made when it is first used.
        wal_size: bytes; a larger WAL is emptied after a transaction. None: `WAL_SIZE`.

    Attributes:
        path: where it is now, symbolic links resolved: SQLite puts the WAL beside the resolved name.
        lock: the writers' lock.
        epoch: changes when row numbers learnt earlier no longer hold.
    """

    def __init__(self, path: Path, wal_size: int | None = None) -> None:
        self.epoch = 1
        self._wal_most = wal_size
        self._connection: sqlite3.Connection | None = None
        self._wal = True
        self._full = False
        self._reopen = False
        self._fell_back = False
        self._complained = False
        self._patient = True
        self._doubtful = False  # whether the WAL is on the disk: a sync of it has failed
        self._settle(path)

    def _settle(self, path: Path) -> None:
        self.path = Path(os.path.realpath(path))
        self.lock = WritersLock(self.path.with_name(f"{self.path.name}.lock"))
        self._file = str(self.path)
        self._watch = Watch(self._file)
        self._generation: str | None = None
        self._wal_limit = self._wal_most or WAL_SIZE
        self._retry_at = 0.0

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self._connection is not None

    @property
    def generation(self) -> str | None:
        """The random id of the file that is open, or was last: another file has another."""
        return self._generation

    def take_turn(self) -> None:
        """Takes the writers' lock; the folder is made if it is not there yet.

        Raises:
            StoreFault, OSError, DatabaseUnusable: it cannot be had.
        """
        try:
            self.lock.acquire()
        except FileNotFoundError:
            prepare_folder(self.path)
            self.lock.acquire()

    def ready(self) -> sqlite3.Connection:
        """The connection to the file that is at `path` now, opened if need be.

        Raises:
            sqlite3.Error, OSError, DatabaseUnusable: it cannot be opened.
        """
        connection = self._connection
        if connection is None:
            return self._open()
        if self._watch.all_there():
            return connection
        if _is_closed(connection):  # by a fork in a handler, or this is a handler in the midst of closing
            self._connection = None
            return self._open()
        self._abandon()
        return self._open()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction under the writers' lock that survives a power cut; undone when the block raises.

        Raises:
            sqlite3.Error, OSError, StoreFault, DatabaseUnusable: it could not be made.
        """
        try:
            self.take_turn()
            connection = self.ready()
            self.set_durability(True)
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
            self.tidy()
        except BaseException as error:
            self.roll_back(error)
            raise
        finally:
            self.lock.release()

    def set_patience(self, patient: bool) -> None:
        """How long to wait for others: with patience as long as it may take, else for a moment. A store that could not
        be written is tried again with the next events, and they must not all wait for it."""
        self.lock.timeout = _PATIENCE if patient else _MOMENT
        self._patient = patient
        if self._connection is not None:
            self._wait_as_set(self._connection)

    def _wait_as_set(self, connection: sqlite3.Connection) -> None:
        timeout = opening.BUSY_TIMEOUT if self._patient else _MOMENT
        connection.execute(f"PRAGMA busy_timeout = {int(timeout * 1000)}")

    def set_durability(self, power: bool) -> None:
        """Lets the commits that follow survive a power cut (`synchronous=FULL`), or only the end of the process."""
        if self._doubtful:
            self._renew()
        if power is not self._full and self._wal and self._connection is not None:
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if power else 'NORMAL'}")
            self._full = power

    def _renew(self) -> None:
        if self._connection is not None and self._wal:
            renewal.renew(self._connection, f"{self._file}-wal")
        self._doubtful = False

    def _doubt(self, error: BaseException | None) -> None:
        """After a failed sync the WAL is written anew, now or before the next commit."""
        if renewal.is_doubtful(error):
            self._doubtful = True
            with suppress(sqlite3.Error, OSError):
                self._renew()

    def roll_back(self, error: BaseException | None = None) -> None:
        """Ends a transaction that failed, with an error, or was interrupted.

        Row numbers learnt in it do not hold: another process may get the same ones for rows of its own.
        """
        self.epoch += 1
        connection = self._connection
        with suppress(sqlite3.Error):
            if connection is not None and connection.in_transaction:
                connection.execute("ROLLBACK")
        self._doubt(error)

    def tidy(self, at_once: bool = False) -> None:
        """Checkpoints when the WAL has grown large. A fault here is not one of the write that came before it.

        A reader that stays can forbid it. Then it is tried again when the WAL has grown by as much once more, so that
        writers do not wait for the same reader with every event, each time more patiently; and once a second, but
        hardly waiting, or the WAL would stay as large for a day after the reader has gone, where little is recorded.
        """
        size, most = self._watch.wal_size, self._wal_most or WAL_SIZE
        if at_once or size > self._wal_limit:
            wait = min(_CHECKPOINT_WAIT * max(1.0, size / most), _CHECKPOINT_LONGEST)
        elif size > most and time.monotonic() > self._retry_at:
            wait = _CHECKPOINT_MOMENT
        else:
            return
        try:
            self._checkpoint(wait)
        except sqlite3.Error as error:
            self._doubt(error)

    def _checkpoint(self, wait: float) -> None:
        """Moves the WAL into the database and empties it, if no reader forbids it for longer than `wait`.

        In short steps: SQLite waits for the moment in which nobody reads, and among readers that come one after the
        other there is none. But what the next step finds is a reader that sees all there is, which lets the whole WAL
        be moved; those that come after that do without the WAL, and then it can be emptied.
        """
        connection = self._connection
        if connection is None:
            return
        size, grown = self._watch.wal_size, self._watch.wal_size > self._wal_limit
        self._retry_at = time.monotonic() + _CHECKPOINT_AGAIN
        if grown:
            self._wal_limit = size + WAL_SIZE
        deadline = time.monotonic() + wait
        connection.execute(f"PRAGMA busy_timeout = {int(_CHECKPOINT_MOMENT * 1000)}")
        try:
            while blocked := connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                if time.monotonic() > deadline:
                    break
                time.sleep(_CHECKPOINT_PAUSE)
        finally:
            self._wait_as_set(connection)
        if not blocked:
            self._wal_limit = self._wal_most or WAL_SIZE
        elif grown and size > WAL_ALARM:
            logger.warning(
                "agentops_local: a reader that stays open keeps the WAL of %s from being emptied (%d MB); "
                "close long-running queries",
                self.path,
                size >> 20,
            )

    def _open(self) -> sqlite3.Connection:
        self._wal = wal_is_safe(filesystem_type(self.path.parent))
        if not self._wal and not self._complained:
            self._complained = True
            logger.warning(
                "agentops_local: %s is on a filesystem where SQLite's WAL is unsafe; a rollback journal is used, which "
                "is slower. Put the database on a local disk with db= or AGENTOPS_LOCAL_DB",
                self.path,
            )
        self._watch.pause()
        if self._watch.keeps_lost_index():
            raise StoreFault(
                "the index of its WAL was removed, and a connection of this program that is not ours goes on with it"
            )
        try:
            connection = self._reconnect()
            if connection is None:
                # Another file, or the same after it was closed: an older copy may have been put back meanwhile.
                if self._generation is not None:
                    self.epoch += 1
                connection = opening.open_or_create(self.path, self._wal, self._hold)
            # The first read makes SQLite open the WAL, whose identity is part of what is watched.
            self._generation = opening.generation(connection)
            self._full = not self._wal
            self._watch.begin(self._wal)
        except BaseException:
            self.close()
            raise
        self._reopen = False
        return connection

    def _hold(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        if not self._patient:  # else a database that cannot even be opened keeps each event waiting
            self._wait_as_set(connection)

    def _reconnect(self) -> sqlite3.Connection | None:
        """The connection after a fork, without looking through the file again; None if it is another file by now. Its
        inode alone would not tell: while nobody has it open, the system may give the same to a new file."""
        if not self._reopen or self._watch.is_moved():
            return None
        connection = opening.connect(self.path, self._wal, self._hold)
        with suppress(sqlite3.Error):
            if opening.generation(connection) == self._generation:
                return connection
        self.close()
        return None

    def _abandon(self) -> None:
        """Leaves a file that is no longer the one at `path`, or whose WAL or index is no longer beside it.

        The old WAL must not stay beside a new database: SQLite would play it into that, or share its index between the
        two.
        """
        story = self._watch.story()
        logger.warning("agentops_local: %s: %s while it was open; recording goes on at that path", self.path, story)
        moved = self._watch.is_moved()
        self.close()
        if moved:
            self.epoch += 1
            self._watch.remove_wal()
            self.lock.close()  # its file may be gone with the folder; the next opener uses the one that is there
            self.take_turn()

    def _part(self, connection: sqlite3.Connection) -> None:
        """Closes a connection. If its files were parted, what only the WAL holds is moved into the database first: it
        belongs there, wherever that is now.

        But not where a newcomer has made another index, or writes to another WAL: then our index does not know what it
        wrote, or our WAL does not hold what the index says, and a checkpoint would put old pages over its new ones.
        """
        if self._watch.has_lost_index() or self._watch.has_lost_wal():
            opening.close_as_it_is(connection, self.path)
            return
        if self._wal and self._watch.begun:  # else it could not even be opened
            mode = "TRUNCATE" if self._watch.is_parted() else "PASSIVE"
            renewal.checkpoint(connection, f"{self._file}-wal", mode, self._doubtful)
        connection.close()

    def quarantine(self, error: Exception, ours: bool = False, told: bool = True) -> bool:
        """Puts a damaged file aside, whole, with its WAL; the next use begins a new one. It is logged, unless the
        caller tells of it.

        False, and nothing moved, if no `-generation` says that we made the file, and the caller does not know it
        otherwise: a text named by mistake, or a database that only its owner can decrypt, is not ours to move.
        """
        self.close()
        if not ours and not os.path.exists(f"{self._file}-generation"):
            return False
        aside = f"{self._file}.damaged-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}"
        while os.path.lexists(aside):  # a second one within a second must not take the place of the first
            aside += "+"
        _move(self._file, aside)
        remove(f"{self._file}-shm", f"{self._file}-generation")
        self.epoch += 1
        self._watch.forget()
        logger.log(
            logging.ERROR if told else logging.DEBUG,
            "agentops_local: %s is damaged (%s). It is kept as %s; a new database is begun, nothing is deleted, and "
            "`agentops-local doctor --repair` puts back what can be read",
            self.path,
            error,
            aside,
        )
        return True

    def fall_back(self, error: Exception) -> bool:
        """Moves to the user's data folder when the chosen place cannot be used; once, and False after that. The lock
        of the new place is not yet taken."""
        if self._fell_back:
            return False
        self._fell_back = True
        self.close()
        self.lock.close()
        refused = self.path
        self._settle(fallback_database(refused))
        self.epoch += 1
        logger.warning("agentops_local: %s cannot be used (%s); recording to %s instead", refused, error, self.path)
        return True

    def close_cursors(self) -> None:
        """Ends the statements that a fork finds under way. Since Python 3.11 each keeps its connection open, and a
        child with an open connection takes its parent's locks for its own: what it was told is stored was lost."""
        for cursor in gc.get_referrers(self._connection) if self._connection is not None else ():
            if isinstance(cursor, sqlite3.Cursor):
                with suppress(sqlite3.Error):
                    cursor.close()

    def close(self, for_fork: bool = False) -> None:
        """Closes the connection. The last one to a database also checkpoints, so the writers' lock should be held."""
        connection = self._connection
        if connection is not None:
            with suppress(sqlite3.Error):
                self._part(connection)
        self._connection = None  # not before: a fork in a handler that runs here must still find it
        self._reopen = for_fork and connection is not None


def _is_closed(connection: sqlite3.Connection) -> bool:
    try:
        return connection.total_changes < 0
    except sqlite3.ProgrammingError:
        return True


def _move(file: str, aside: str) -> None:
    """Moves a database with what belongs to it, or nothing of it.

    The WAL goes first: SQLite removes one that it finds beside a new database, and with it what was acknowledged.

    Raises:
        OSError: it stays where it is.
    """
    moved: list[str] = []
    try:
        for suffix in ("-wal", "-journal", ""):
            with suppress(FileNotFoundError):
                os.replace(file + suffix, aside + suffix)
                moved.append(suffix)
    except OSError:
        for suffix in moved:
            with suppress(OSError):
                os.replace(aside + suffix, file + suffix)
        raise
