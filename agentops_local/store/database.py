"""The writing side: one connection a process, one transaction a write, from any thread, through forks and faults.

A process has one connection to a database, behind one lock. SQLite has one writer at a time anyway, so a connection a
thread would win nothing, and a thread that starts pays nothing. The lock knows reentry: a signal handler, a `__del__`
or a weak reference's callback may record while this very thread is in the midst of a write; such a write is put off
until that one is done, for it can neither wait for itself nor join a transaction that may yet be undone.

The connection is closed before every fork, under its lock, and opened again on both sides when it is needed. A child
made without Python's fork hooks notices by its pid, and closes the inherited connection before it opens its own.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar

from agentops_local import clock, faults
from agentops_local.errors import DatabaseUnusable, StoreFault
from agentops_local.forks import announce_to
from agentops_local.log import logger
from agentops_local.store.file import DatabaseFile
from agentops_local.store.trouble import Trouble, diagnose
from agentops_local.store.waiting import WaitingRoom

T = TypeVar("T")

_LOOKS = 10  # that must find a file damaged, or out of reach, before it is left
_ATTEMPTS = _LOOKS + 3
_RETRY_AFTER = 0.25  # seconds from one failure of the store to the next attempt
_FINAL = (Trouble.DAMAGED, Trouble.UNREACHABLE)
_FAULTS = (sqlite3.Error, OSError, StoreFault, DatabaseUnusable)


class Write(Protocol):
    """One thing to be written, in one transaction.

    Attributes:
        single_in: the epoch in which `run` executes exactly one statement, which then is its own transaction; or 0.
        size: about how many bytes it keeps in memory.
        events: how many events are lost if it is never run.
    """

    single_in: int
    size: int
    events: int

    def run(self, connection: sqlite3.Connection, epoch: int) -> None:
        """Executes the statements. It may run more than once, so a second run must change nothing more.

        Args:
            connection: in a transaction already, unless in the epoch `single_in`.
            epoch: row numbers learnt under another epoch no longer hold.
        """

    def keep(self) -> Write:
        """The same write, independent of objects that the program may change meanwhile."""


class Database:
    """A project's database, for writing and for short reads.

    Args:
        path: the file; it is made with the first write.
        power: whether every commit survives a power cut, not only the end of the process.
    """

    def __init__(self, path: Path, power: bool = False) -> None:
        self.power = power
        self.waiting: WaitingRoom[Write] = WaitingRoom()
        self._file = DatabaseFile(path)
        self._mutex = threading.RLock()
        self._busy = False
        self._reading = 0
        self._forks = 0  # made by handlers in the midst of a write or a read
        self._behind = False  # something waits, or a loss is still to be written down
        self._retry_at = 0.0
        self._put_off: deque[tuple[Write, bool]] = deque()
        self._pid = os.getpid()
        announce_to(self)

    @property
    def path(self) -> Path:
        """Where the database is; a place that cannot be written moves it to the user's data folder."""
        return self._file.path

    @property
    def epoch(self) -> int:
        """Changes when row numbers learnt earlier no longer hold: another file, another process, rows deleted."""
        return self._file.epoch

    @property
    def unstored(self) -> int:
        """Events that are not in the database though `record()` has returned: waiting in memory, or lost."""
        return self.waiting.events + self.waiting.lost

    # Writing ------------------------------------------------------------------------------------------------------

    def write(self, write: Write, power: bool = False) -> bool:
        """Commits a write; with `power` it survives a power cut whatever the setting.

        Returns:
            True once it is committed. False if it was put off (the caller interrupted a write of this same thread), or
            kept in memory because the store cannot be written now; then it follows later or is counted as lost.

        Raises:
            sqlite3.Error: a bug of ours (a statement that is wrong).
        """
        if self._pid != os.getpid():
            self._enter_child()
        with self._mutex:
            if self._busy:
                self._put_off.append((write.keep(), power))
                return False
            self._busy = True
            try:
                return self._deliver(write, power)
            except Exception:
                raise
            except BaseException:
                # Ctrl-C, or an exit from a signal handler, in the midst of the write. Its transaction is undone; what
                # the program meant to record is written all the same, and the interruption goes on.
                self._file.lock.release()  # if it came just before that
                with suppress(Exception):
                    self._deliver(write, power)
                raise
            finally:
                try:
                    self._catch_up()
                finally:
                    self._busy = False

    def _catch_up(self) -> None:
        """Writes what was put off. Each is forgotten only when that is settled: Ctrl-C may come in between."""
        while self._put_off:
            try:
                self._deliver(*self._put_off[0])
            except Exception:
                self._put_off.popleft()
                raise
            except BaseException:
                self._file.lock.release()
                raise
            self._put_off.popleft()

    def _deliver(self, write: Write, power: bool) -> bool:
        try:
            if self._behind:
                if time.monotonic() < self._retry_at:
                    self._keep_waiting(write, power, None)
                    return False
                self._file.set_patience(False)
                self._drain()
            self._commit(write, power)
        except _FAULTS as error:
            if diagnose(error) is Trouble.OURS:
                raise
            self._keep_waiting(write, power, error)
            return False
        return True

    def _commit(self, write: Write, power: bool) -> None:
        """Runs a write in a transaction of its own, and mends what can be mended on the way."""
        file = self._file
        attempt = 0
        looks = 0
        while True:
            attempt += 1
            forks = self._forks
            try:
                file.take_turn()
                connection = file.ready()
                if forks != self._forks:
                    continue  # a handler has forked: the lock and the connection are gone
                file.set_durability(power or self.power)
                if write.single_in == file.epoch:
                    write.run(connection, file.epoch)
                else:
                    connection.execute("BEGIN IMMEDIATE")
                    write.run(connection, file.epoch)
                    connection.execute("COMMIT")
                file.tidy()
                return
            except (sqlite3.Error, OSError, DatabaseUnusable) as error:
                file.roll_back(error)
                looks += diagnose(error) in _FINAL
                if attempt >= _ATTEMPTS or not (forks != self._forks or self._mend(error, looks)):
                    raise
            except BaseException:
                file.roll_back()
                raise
            finally:
                # Also when acquire() itself was interrupted: giving back what is not held does nothing.
                file.lock.release()

    def _mend(self, error: Exception, looks: int) -> bool:
        """Does what an error calls for, holding the writers' lock; False if trying again now makes no sense.

        Of one call that fails, of the disk or for want of a descriptor, SQLite may say that the file is malformed or
        cannot be opened. A sound file was put aside for that; so it is opened anew and looked at again first. So it is
        where somebody has removed the WAL, or its index, in the midst of opening: the program left its database for it.
        """
        trouble = diagnose(error)
        if trouble in _FINAL and looks < _LOOKS and isinstance(error, (sqlite3.Error, FileNotFoundError)):
            self._file.close()
        elif trouble is Trouble.LOST_GROUND:
            self._file.epoch += 1
        elif trouble is Trouble.CLOSED:
            self._file.close()
        elif trouble is Trouble.DAMAGED:
            return self._file.quarantine(error) or self._file.fall_back(error)
        elif trouble is Trouble.UNREACHABLE:
            return self._file.fall_back(error)
        else:
            return False
        return True

    # What could not be written ------------------------------------------------------------------------------------

    def _keep_waiting(self, write: Write, power: bool, error: Exception | None) -> None:
        """Keeps a write in memory, because of an error or because others wait already."""
        lost_before = self.waiting.lost
        if error is not None:
            self._behind = True
            self._retry_at = time.monotonic() + _RETRY_AFTER
        if not self.waiting.add(write.keep(), power):
            if lost_before == 0:
                logger.error("agentops_local: the memory for unwritten events is full; events are lost, and counted")
        elif error is not None and len(self.waiting) == 1:
            logger.error(
                "agentops_local: %s cannot be written (%s); events are kept in memory and written when it can be",
                self.path,
                error,
            )

    def _drain(self) -> None:
        """Writes what waits, oldest first, then the count of what found no room."""
        waited = len(self.waiting)
        while self.waiting:
            write, power = self.waiting.first()
            try:
                self._commit(write, power)
            except _FAULTS as error:
                if diagnose(error) is not Trouble.OURS:
                    raise
                self.waiting.lost += write.events  # it can never be written: counted, not in the way of the others
                faults.report(error, "writing an event that waited")
            self.waiting.done()
        lost = self.waiting.lost
        if lost:
            self._commit(_Loss(lost), power=True)
            self.waiting.lost -= lost
        self._behind = False
        self._file.set_patience(True)
        logger.warning(
            "agentops_local: %s can be written again; %d waiting writes are stored, %d events were lost",
            self.path,
            waited,
            lost,
        )

    # Reading, closing ---------------------------------------------------------------------------------------------

    def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Runs a short query on the connection of this process; it must fetch all it wants before it returns.

        Raises:
            sqlite3.Error, OSError, DatabaseUnusable, StoreFault: the database cannot be read.
        """
        if self._pid != os.getpid():
            self._enter_child()
        with self._mutex:
            self._reading += 1
            try:
                while True:
                    forks = self._forks
                    try:
                        return query(self._connected())
                    except (sqlite3.Error, OSError):
                        if forks == self._forks:
                            raise
                    except BaseException:
                        if not self._busy:
                            self._file.lock.release()
                        raise
            finally:
                self._reading -= 1

    def _connected(self) -> sqlite3.Connection:
        try:
            if not self._busy:  # else this thread has the lock already, or is about to take it
                self._file.take_turn()
            return self._file.ready()
        finally:
            if not self._busy:
                self._file.lock.release()

    def close(self) -> None:
        """Writes what waits, if it can be written now, and closes the connection. The next write opens it again."""
        if self._pid != os.getpid():
            self._enter_child()
        with self._mutex:
            if self._busy:
                return
            self._busy = True
            try:
                if self._behind:
                    self._file.set_patience(True)  # the last chance
                    self._drain()
                self._catch_up()  # a handler may have recorded in the meantime
            except _FAULTS as error:
                logger.error("agentops_local: %d events could not be stored in %s: %s", self.unstored, self.path, error)
            finally:
                self._busy = False
            self._release_file()

    def _release_file(self, for_fork: bool = False) -> None:
        lock = self._file.lock
        try:
            if self._file.is_open:
                with suppress(OSError, StoreFault):
                    lock.acquire()
                self._file.close(for_fork)
        finally:
            try:
                lock.release()
            finally:
                lock.close()

    # Forks --------------------------------------------------------------------------------------------------------

    def before_fork(self) -> None:
        """Waits for the write under way and closes the connection, so that no child inherits it."""
        self._mutex.acquire()
        if self._busy or self._reading:  # this thread is in the midst of it: a signal handler forks
            self._forks += 1
            self._file.close_cursors()
        self._release_file(for_fork=True)

    def after_fork_in_parent(self) -> None:
        """Lets the other threads go on."""
        self._mutex.release()

    def after_fork_in_child(self) -> None:
        """Makes the child a writer of its own: a new lock, and nothing of what the parent still has to write."""
        self._mutex = threading.RLock()
        self._pid = os.getpid()
        self._reading = 0
        self._busy = False  # a handler that forked in the midst of a write may write at once: that is undone here
        self._put_off.clear()
        self.waiting.clear()
        self._behind = False
        self._file.set_patience(True)
        self._file.epoch += 1

    def _enter_child(self) -> None:
        """The same in a child that was made without Python's hooks, with the parent's connection in its hands. That is
        closed first: SQLite keeps per process what it has locked, and would take the parent's locks for its own. The
        writers' lock is closed, not released: it is shared with the parent, who may be holding it."""
        self._file.close_cursors()
        self._file.close()
        self._file.lock.close()
        self.after_fork_in_child()


class _Loss:
    """The count of events that are lost, on its way into the table `losses`."""

    single_in = 0
    size = 0
    events = 0

    def __init__(self, events: int) -> None:
        self._row = (clock.now_us(), os.getpid(), events, "the database could not be written and the memory was full")

    def run(self, connection: sqlite3.Connection, epoch: int) -> None:  # noqa: ARG002 - it needs no other row
        connection.execute("INSERT INTO losses (at_us, pid, events, reason) VALUES (?, ?, ?, ?)", self._row)

    def keep(self) -> _Loss:
        return self
