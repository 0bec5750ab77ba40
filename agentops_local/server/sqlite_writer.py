"""One database, as the collector holds it: a transaction at a time, and readers beside it.

Not the recorder's `Database`: that keeps in memory what cannot be written now, and moves to another place when its own
cannot be used, for nobody may notice a fault of the recorder. A client of the collector is told, and sends again.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from agentops_local.errors import DatabaseUnusable, StoreFault
from agentops_local.log import logger
from agentops_local.server.store import StoreUnavailable
from agentops_local.store.connection import BUSY_TIMEOUT
from agentops_local.store.file import DatabaseFile
from agentops_local.store.trouble import Trouble, diagnose

T = TypeVar("T")

_ATTEMPTS = 4
_PATIENCE = 10.0  # seconds to wait for another process's turn; a client waits 20
_IDLE_READERS = 4
_Identity = tuple[int, int, int]  # device and inode of the file that a reader has open, inode of its WAL's index
_FAULTS = (sqlite3.Error, OSError, StoreFault, DatabaseUnusable)


class SqliteWriter:
    """The hold of this process on one database; safe to be used by many threads.

    Args:
        path: the file; it is made when it is first used.
    """

    def __init__(self, path: Path) -> None:
        self._file = DatabaseFile(path)
        self._file.lock.timeout = _PATIENCE
        self._turn = threading.Lock()
        self._readers: list[tuple[sqlite3.Connection, _Identity]] = []
        self._failing = False

    def __enter__(self) -> SqliteWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def path(self) -> Path:
        """The file, symbolic links resolved."""
        return self._file.path

    @property
    def is_open(self) -> bool:
        """Whether it holds the file open."""
        return self._file.is_open

    def write(self, work: Callable[[sqlite3.Connection, int], T]) -> T:
        """Runs `work` in a transaction and commits it, so that it survives the loss of power.

        Args:
            work: told the connection and the epoch, which numbers of rows hold for. It may run more than once.

        Raises:
            StoreUnavailable: it cannot be written now; nothing of it is, or will be.
        """
        with self._turn:
            try:
                done = self._commit(work)
            except _FAULTS as error:
                if diagnose(error) is Trouble.OURS:
                    raise
                raise self._unavailable("written", error) from error
            self._recovered()
            return done

    def _commit(self, work: Callable[[sqlite3.Connection, int], T]) -> T:
        attempt = 1
        while True:
            try:
                return self._attempt(work)
            except _FAULTS as error:
                if attempt == _ATTEMPTS or not self._mend(error):
                    raise
            attempt += 1

    def _attempt(self, work: Callable[[sqlite3.Connection, int], T]) -> T:
        with self._file.transaction() as connection:
            return work(connection, self._file.epoch)

    def _mend(self, error: Exception) -> bool:
        """Whether trying again makes sense: a row that was erased meanwhile is written anew."""
        trouble = diagnose(error)
        if trouble is Trouble.CLOSED:
            self._file.close()
        # A removed index of the WAL stays in use for as long as any connection of this process has it open.
        had_readers = isinstance(error, StoreFault) and self._close_readers()
        return had_readers or trouble in (Trouble.LOST_GROUND, Trouble.CLOSED)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one moment of the database and cannot change it; its rows are known by their names.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        try:
            connection, identity = self._borrow()
            try:
                yield connection
            finally:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                self._give_back(connection, identity)
        except _FAULTS as error:
            if diagnose(error) is Trouble.OURS:
                raise
            raise self._unavailable("read", error) from error

    def _borrow(self) -> tuple[sqlite3.Connection, _Identity]:
        """A reader in a transaction. Opening one takes half a millisecond, most of it to read the schema."""
        if not self._file.is_open:
            self._open()
        try:
            identity = _identity(self.path)
        except FileNotFoundError:  # removed while it was open: whoever comes first, reader or writer, begins a new one
            self._open()
            identity = _identity(self.path)
        while True:
            try:
                connection, known = self._readers.pop()
            except IndexError:
                break
            if known == identity:
                connection.execute("BEGIN")
                return connection, identity
            connection.close()  # of a file that another has taken the place of
        # As analytics.reading opens it, but for any thread.
        connection = sqlite3.connect(
            f"{self.path.as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT, isolation_level=None,
            check_same_thread=False,
        )  # fmt: skip
        try:
            connection.row_factory = sqlite3.Row
            connection.text_factory = _text
            connection.execute("PRAGMA mmap_size = 0")
            connection.execute("BEGIN")
        except BaseException:
            connection.close()
            raise
        return connection, identity

    def _give_back(self, connection: sqlite3.Connection, identity: _Identity) -> None:
        if len(self._readers) < _IDLE_READERS:
            self._readers.append((connection, identity))
        else:
            connection.close()

    def _close_readers(self) -> bool:
        """Closes those that nobody uses; False if there were none."""
        found = False
        with suppress(IndexError):
            while True:
                self._readers.pop()[0].close()
                found = True
        return found

    def _open(self) -> None:
        """Makes the database if there is none, and looks whether it is one of ours."""
        with self._turn:
            try:
                self._file.take_turn()
                self._file.ready()
            finally:
                self._file.lock.release()

    def generation(self) -> str:
        """The id that was given to the file when it was made.

        Raises:
            StoreUnavailable: it cannot be opened.
        """
        try:
            self._open()
        except _FAULTS as error:
            raise self._unavailable("opened", error) from error
        return self._file.generation or ""

    def close(self, wait: bool = True) -> None:
        """Closes the connections; the next use opens them again.

        Args:
            wait: False leaves one that is at work open.
        """
        if not self._turn.acquire(blocking=wait):
            return
        try:
            self._close_readers()
            if self._file.is_open:
                with suppress(OSError, StoreFault):
                    self._file.lock.acquire()
                self._file.close()
            self._file.lock.release()
            self._file.lock.close()
        finally:
            self._turn.release()

    def _unavailable(self, doing: str, error: Exception) -> StoreUnavailable:
        if not self._failing:  # once, not with every request
            self._failing = True
            logger.error("agentops_local: %s cannot be %s (%s); clients are told to try again", self.path, doing, error)
        return StoreUnavailable(f"the collector's database cannot be {doing} now")

    def _recovered(self) -> None:
        if self._failing:
            self._failing = False
            logger.warning("agentops_local: %s can be written again", self.path)


def _identity(path: Path) -> _Identity:
    found = path.stat()
    try:
        index = path.with_name(f"{path.name}-shm").stat().st_ino
    except FileNotFoundError:  # a rollback journal has none
        index = 0
    return found.st_dev, found.st_ino, index


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
