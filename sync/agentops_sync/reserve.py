"""Room on the disk for the ledger: a file beside the database that is given up, piece by piece, when the disk is full.

What is to be sent is written down first, so on a full disk nothing could be sent, and of all that was recorded nothing
would leave the machine just when it may matter most. The room is given up and used under the writers' lock, and what a
transaction has not used is taken back before the lock is free: the events that recorders keep in memory would fill it
within a millisecond. Beyond that it grows again only when there is plenty, so that those events come first.

The file is nothing but its size. It may be deleted, and is made anew when there is room.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EDQUOT, ENOSPC, ENOSYS, EOPNOTSUPP
from pathlib import Path

from agentops_local.analytics.uploading import RESERVE_HEAD, Reserved, open_reserve, reserve_file, reserved
from agentops_local.log import logger
from agentops_local.store.trouble import Trouble, diagnose

SIZE = 4 << 20  # bytes
PIECE = 64 << 10  # a transaction of the ledger writes about ten pages
_BLOCK = 4096  # the least that is allocated; the first says what the file is, and stays
_PART = 4  # of the room that there is, one part at most


class Reserve:
    """The room of one database. Everything here happens while the writers' lock is held.

    Args:
        path: the database.
        size: bytes, at most; 0: none is kept.
    """

    def __init__(self, path: Path, size: int = SIZE) -> None:
        self.size = size
        self._path = path
        self._file = reserve_file(path)
        self._given = 0  # since the last `take_back`
        self._told = False

    @property
    def room(self) -> int:
        """The bytes that can be given up."""
        return max(0, self._found().size - _BLOCK) if self.size else 0

    def explains(self, error: Exception) -> bool:
        """Whether it is for want of room that SQLite failed, or we. A quota, a page of the WAL's index and what the
        system had put off are I/O errors to SQLite, so the disk is asked as well."""
        if isinstance(error, OSError):
            return error.errno in (ENOSPC, EDQUOT) and self.room > 0
        if not self.room or not isinstance(error, sqlite3.OperationalError):
            return False
        if "is full" in str(error):
            return True
        kind = diagnose(error)
        return kind in (Trouble.FOR_NOW, Trouble.UNREACHABLE) and "locked" not in str(error) and self._is_disk_full()

    def give_up(self, size: int = PIECE) -> bool:
        """Gives up so many bytes, or what is left; whether there was anything."""
        room = self.room
        given = min(room, -(-size // _BLOCK) * _BLOCK)
        if given <= 0:
            return False
        with suppress(OSError):
            self._cut(_BLOCK + room - given)
            self._given += given
            if not self._told:
                self._told = True
                logger.warning("agentops-sync: the disk is full; the ledger of %s uses its reserve", self._path)
            return True
        return False

    def take_back(self) -> None:
        """Takes back what was given up and not used."""
        missing, self._given = self._given, 0
        piece = missing
        while piece >= _BLOCK:
            if self._grow(piece) is None:
                missing -= piece
                piece = min(piece, missing)
            else:
                piece = piece // 2 // _BLOCK * _BLOCK

    def keep(self) -> bool:
        """Grows by a piece if there is plenty of room; whether it may grow by another. Without a size it goes."""
        if not self.size:
            with suppress(OSError):
                self._file.unlink()
            return False
        size, whole = self._found()
        with suppress(OSError):
            most = min(self.size, (shutil.disk_usage(self._file.parent).free + size) // _PART)
            if size + PIECE <= most and self._grow(PIECE) is None:
                return True
            if size > whole:
                with self._opened() as descriptor:
                    _write(descriptor, 0, RESERVE_HEAD % size)
            if self._told and size >= whole:
                self._told = False
                logger.warning("agentops-sync: there is room again; the reserve of %s is whole", self._path)
        return False

    def _found(self) -> Reserved:
        return reserved(self._path) or Reserved(0, 0)

    def _is_disk_full(self) -> bool:
        size = self._found().size
        why = self._grow(_BLOCK)
        if why is None:
            self._cut(size)
        return why in (ENOSPC, EDQUOT)

    def _cut(self, size: int) -> None:
        with self._opened() as descriptor:
            os.ftruncate(descriptor, size)  # no fsync: others would be quicker than its end

    def _grow(self, size: int) -> int | None:
        """Allocates more; returns the number of the error that forbade it, and then nothing has changed."""
        try:
            with self._opened(os.O_CREAT) as descriptor:
                begin = os.fstat(descriptor).st_size
                try:
                    _allocate(descriptor, begin, size)
                    if begin == 0:
                        _write(descriptor, 0, RESERVE_HEAD % 0)
                except OSError:
                    os.ftruncate(descriptor, begin)
                    raise
        except OSError as error:
            return error.errno
        return None

    @contextmanager
    def _opened(self, flags: int = 0) -> Iterator[int]:
        descriptor = open_reserve(self._file, os.O_RDWR | flags)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def _allocate(descriptor: int, begin: int, size: int) -> None:
    """Makes a file longer by blocks that are really there: a hole would be no reserve."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, begin, size)
        except OSError as error:
            if error.errno not in (EOPNOTSUPP, ENOSYS):
                raise
        else:
            if os.fstat(descriptor).st_blocks * 512 >= begin + size:
                return
    # What no filesystem compresses or shares.
    for offset in range(begin, begin + size, PIECE):
        _write(descriptor, offset, os.urandom(min(PIECE, begin + size - offset)))


def _write(descriptor: int, offset: int, data: bytes) -> None:
    os.lseek(descriptor, offset, os.SEEK_SET)
    while data:
        data = data[os.write(descriptor, data) :]
