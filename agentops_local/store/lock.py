"""The writers' lock: a file beside the database that every writer of every process holds while it writes.

SQLite's own waiting is unfair (with 16 writers one was served 10,724 times and another once, and some failed), so
writers take turns here first. It is never a lock on the database file itself: closing a second descriptor of that file
would cancel SQLite's own locks (50 acknowledged commits were lost that way). The lock belongs to the open file, so it
is gone when its process is.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agentops_local.errors import StoreFault

_FIRST_PAUSE = 50e-6  # seconds; a transaction takes about as long
_LONGEST_PAUSE = 2e-3

if sys.platform == "win32":
    import msvcrt

    def _try(fd: int) -> bool:
        os.lseek(fd, 0, os.SEEK_SET)
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _release(fd: int) -> None:
        os.lseek(fd, 0, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    _NOW = fcntl.LOCK_EX | fcntl.LOCK_NB

    def _try(fd: int) -> bool:
        try:
            fcntl.flock(fd, _NOW)
        except BlockingIOError:
            return False
        return True

    def _release(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_UN)


class WritersLock:
    """An exclusive lock between processes on one file; its holder is a process, not a thread.

    Attributes:
        path: the lock file.
        timeout: seconds to wait before `StoreFault`. A holder needs microseconds; only one that was stopped in the
            midst of it keeps others waiting, and they must go on.
    """

    def __init__(self, path: Path, timeout: float = 30.0) -> None:
        self.path = path
        self.timeout = timeout
        self._fd = -1

    def acquire(self) -> None:
        """Takes the lock.

        Polling with random pauses was measured against a blocking flock with 8 busy processes: the same fairness
        (1.5 : 1), a higher rate, and it can give up, which a blocking flock cannot.

        Raises:
            StoreFault: if another process held it for the whole `timeout`.
        """
        fd = self._fd
        if fd < 0:
            fd = self._open()
        if not _try(fd):
            self._wait(fd)

    def _wait(self, fd: int) -> None:
        deadline = time.monotonic() + self.timeout
        pause = _FIRST_PAUSE
        while not _try(fd):
            if time.monotonic() > deadline:
                raise StoreFault(
                    f"another process has held {self.path} for {self.timeout:g} s; is a writer stopped or hung?"
                )
            time.sleep(pause * random.random())  # noqa: S311 - spreads the waiters, no secret
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    def release(self) -> None:
        """Gives the lock back; does nothing when it is not held, so it may stand in a `finally`."""
        fd = self._fd  # once: a fork in a signal handler closes it
        if fd >= 0:
            try:
                _release(fd)
            except OSError:  # that fork; and Windows refuses to unlock what is not locked
                pass

    def close(self) -> None:
        """Closes the file; `acquire` opens it again.

        In a forked child this leaves the parent's lock alone: it belongs to the open file, which both share, and only
        an explicit unlock or the last close gives it back.
        """
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
        self._fd = os.open(self.path, flags, 0o600)
        return self._fd


@contextmanager
def writers_turn(database: Path) -> Iterator[None]:
    """Within the block no one else writes to a database.

    Raises:
        StoreFault, OSError: the lock cannot be had.
    """
    real = Path(os.path.realpath(database))
    lock = WritersLock(real.with_name(f"{real.name}.lock"))
    try:
        lock.acquire()
        yield
    finally:
        lock.release()
        lock.close()
