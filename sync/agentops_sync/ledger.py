"""The daemon's hold on a database: transactions that survive a power cut, in the file that the recorders write.

The recorder's own `Database` keeps in memory what cannot be written now and writes it later; nothing would be worse
here, where a row says that something was sent. So this raises, and the daemon waits.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import TypeVar, cast

from agentops_local.errors import DatabaseUnusable, StoreFault
from agentops_local.store.connection import BUSY_TIMEOUT
from agentops_local.store.file import DatabaseFile
from agentops_sync.reserve import Reserve
from agentops_sync.statements import Statements

T = TypeVar("T")

_WAL_KEPT = 256 << 10  # bytes of the WAL that stay allocated on a full disk: some transactions of the ledger
_READERS = 100  # ms that a checkpoint waits for readers, while it keeps the writers waiting

_COMPANY = 1.0  # seconds for which somebody who has written counts as one who records
_LONGEST_PAUSE = 0.25  # seconds between two transactions beside recorders

# What a database may do that passes: locked, full, read-only, gone for a moment.
FAULTS = (sqlite3.Error, OSError, StoreFault, DatabaseUnusable)


class Ledger:
    """The tables under Upload of one database, for one target; for several threads.

    Args:
        path: the database; it must exist.
        url: the target's endpoint.
        share: of the time, that transactions here may keep recorders waiting while there are any. Forcing a commit to
            the disk takes longer than all a recorder does for an event: without a limit, one that records beside a
            drain waits three times as long for its median event.
        reserve: bytes that are kept on the disk for the time when it is full; 0: none.
    """

    def __init__(self, path: Path, url: str, share: float = 1.0, reserve: int = 0) -> None:
        self.path = path
        self.url = url
        # With a reserve the WAL stays so small that it can be emptied at the cost of a half of that.
        self._file = DatabaseFile(path, reserve // 2 or None)
        self._reserve = Reserve(path, reserve)
        self._restarted = False  # the WAL, in this transaction, for want of room
        self._mutex = threading.RLock()
        self._target: tuple[str | None, int] | None = None  # the file's generation, and the number in it
        self._connection: sqlite3.Connection | None = None  # the last that was open
        self._opening = 0  # its number
        self._within = threading.local()
        self._share = share
        self._version = 0  # of the data, when this last wrote
        self._company_until = 0.0  # somebody has written a short while ago
        self._turn_after = 0.0

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction that is on the disk when the block has ended; undone when the block raises.

        Raises:
            sqlite3.Error, OSError, StoreFault, DatabaseUnusable: it could not be made.
        """
        with self._mutex:
            self._leave_room()
            began = monotonic()
            try:
                self._look()
                with self._committed() as statements:
                    yield cast("sqlite3.Connection", statements)  # all of it that is used here
            finally:
                ended = monotonic()
                self._turn_after = ended + (ended - began) * (1 / self._share - 1)

    @contextmanager
    def _committed(self) -> Iterator[Statements]:
        """As `DatabaseFile.transaction`, and on a full disk at the cost of the reserve."""
        file = self._file
        self._restarted = False
        try:
            file.take_turn()
            statements = Statements(self._opened(), self._make_room)
            yield statements
            statements.commit()
            file.tidy()
        except BaseException as error:
            file.roll_back(error)
            raise
        finally:
            self._reserve.take_back()
            file.lock.release()

    def _opened(self) -> sqlite3.Connection:
        """The connection, under the writers' lock, ready for commits that survive a power cut. On a full disk the WAL's
        index may have to be made for it, and after a sync that failed the WAL has to be written anew."""
        while True:
            try:
                connection = self._ready()
                self._file.set_durability(True)
                return connection
            except (sqlite3.Error, OSError) as error:  # noqa: PERF203 - each time there is less to give up
                if not (self._reserve.explains(error) and self._reserve.give_up()):
                    raise

    def _make_room(self, error: sqlite3.Error) -> bool:
        """Undoes a transaction that the disk had no room for, and makes some; whether there is any.

        The WAL comes first, once: moved into the database it gives back more than that grows by. But a checkpoint that
        ends half-way has made it grow and gives back nothing, so it is begun only where the reserve is enough for all.
        """
        if not self._reserve.explains(error):
            return False
        self._file.roll_back(error)
        connection = self._opened()
        growth = self._growth(connection)
        if not self._restarted and growth <= self._reserve.room:
            self._restarted = True
            self._reserve.give_up(growth)
            if self._restart_wal(connection):
                return True
        given = self._reserve.give_up()
        self._opened()
        return given

    def _restart_wal(self, connection: sqlite3.Connection) -> bool:
        """Moves the WAL into the database, and has the next commit begin it anew, over blocks that it has already:
        what is let go of and asked for again may be gone meanwhile, to any other program. That commit then cuts it
        short."""
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_KEPT}")
        connection.execute(f"PRAGMA busy_timeout = {_READERS}")
        try:
            return not connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()[0]
        except sqlite3.Error as error:
            self._file.roll_back(error)  # it may have been a sync that failed
            return False
        finally:
            connection.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT * 1000)}")

    def _growth(self, connection: sqlite3.Connection) -> int:
        """The bytes by which the database grows when the WAL is moved into it."""
        pages, size = (int(connection.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "page_size"))
        return max(0, pages * size - self._file.path.stat().st_size)

    def keep_reserve(self) -> None:
        """Makes the reserve, or lets it grow, where there is room for that; a piece at a time, for recorders wait."""
        more = True
        while more:
            with self._mutex:
                self._look()
                try:
                    self._file.take_turn()
                    more = self._reserve.keep()
                finally:
                    self._file.lock.release()

    def _leave_room(self) -> None:
        """Lets the recorders have their part of the time, if there are any."""
        if self._share >= 1 or not self._file.is_open:
            return
        version = int(self._ready().execute("PRAGMA data_version").fetchone()[0])
        now = monotonic()
        if version != self._version:
            self._version, self._company_until = version, now + _COMPANY
        if now < self._company_until:
            sleep(max(0.0, min(_LONGEST_PAUSE, self._turn_after - now)))

    def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Runs a query, which must fetch all it wants before it returns."""
        with self._mutex:
            if not self._file.is_open:
                try:
                    self._look()
                    self._file.take_turn()
                    self._opened()
                finally:
                    self._reserve.take_back()
                    self._file.lock.release()
            return query(self._ready())

    def write(self, change: Callable[[sqlite3.Connection], object]) -> None:
        """Makes a change in a transaction of its own."""
        with self.transaction() as connection:
            change(connection)

    @property
    def target(self) -> int:
        """The number of the target in this database; it is written down with its first use."""
        with self._mutex:
            known = self._target
            if known is None or known[0] != self._file.generation:
                with self.transaction() as connection:
                    connection.execute("INSERT OR IGNORE INTO targets (url) VALUES (?)", (self.url,))
                    found = connection.execute("SELECT id FROM targets WHERE url = ?", (self.url,)).fetchone()
                known = self._target = (self._file.generation, int(found[0]))
            return known[1]

    @contextmanager
    def one_file(self) -> Iterator[None]:
        """Within the block this thread does not use a file that takes the place of the one that is there now: the
        numbers of rows, which it has from the one, mean others in the other.

        Raises:
            DatabaseUnusable: the file was replaced within the block.
            sqlite3.Error, OSError, StoreFault: it cannot be read.
        """
        with self._mutex:
            self.read(lambda _: None)
            self._within.opening = self._opening
        try:
            yield
        finally:
            del self._within.opening

    def changed(self) -> tuple[int, int]:
        """Differs when another connection has committed since, or the file is another (4 µs)."""

        def ask(connection: sqlite3.Connection) -> tuple[int, int]:
            return self._opening, int(connection.execute("PRAGMA data_version").fetchone()[0])

        return self.read(ask)

    def close(self) -> None:
        """Closes the database."""
        with self._mutex:
            lock = self._file.lock
            try:
                with suppress(OSError, StoreFault):  # a folder that is gone is not made anew for this
                    lock.acquire()
                self._file.close()
            finally:
                lock.release()
                lock.close()

    def _ready(self) -> sqlite3.Connection:
        self._look()
        return self._known(self._file.ready())

    def _known(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        """The connection, if it may be used: see `one_file`."""
        if connection is not self._connection:
            self._connection = connection
            self._opening += 1
        if getattr(self._within, "opening", self._opening) != self._opening:
            raise DatabaseUnusable(f"{self.path} was replaced by another")
        return connection

    def _look(self) -> None:
        """Before the turn is taken, for that makes a folder that is gone, and an empty file in it."""
        if not self._file.path.is_file():
            raise DatabaseUnusable(f"there is no database at {self.path}")
