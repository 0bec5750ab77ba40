"""Whether the files of a database are still those that were opened: it, its WAL, and the index of that (`-shm`).

SQLite does not look: it goes on with what it has open, and what it commits then is lost with no error. Rows were
acknowledged into files that had been removed, and two processes with an index each, which know nothing of each other's
commits, overwrote them. So device and inode are compared before each use.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

Identity = tuple[int, int]  # device and inode

_UNKNOWN = (0, 0)
_GONE = (-1, -1)


class Watch:
    """The identities of a database's files since it was opened.

    Args:
        file: the path of the database, symbolic links resolved.

    Attributes:
        wal_size: the size of the WAL when it was last looked at.
    """

    def __init__(self, file: str) -> None:
        self._file = file
        self._wal = f"{file}-wal"
        self._index = f"{file}-shm"
        self._file_id = self._wal_id = self._index_id = _UNKNOWN
        self._lost_index = _GONE
        self.begun = False
        self.wal_size = 0

    def begin(self, wal: bool) -> None:
        """Takes the files that are there now for those of the connection, which has just read from them.

        Raises:
            OSError: one of them is gone already.
        """
        self._file_id = _identity(self._file)
        self._wal_id = _identity(self._wal) if wal else _UNKNOWN
        self._index_id = _identity(self._index) if wal else _UNKNOWN
        self.begun = True

    def pause(self) -> None:
        """While a connection is opened nothing is known but which database it was before."""
        self.begun = False

    def forget(self) -> None:
        """Whatever is at the path from now on is another database."""
        self._file_id = _UNKNOWN
        self.begun = False

    def all_there(self) -> bool:
        """Whether the files are the same as before. It is asked before each use: a stat costs 1 µs."""
        if not self.begun:
            return False
        try:
            found = os.stat(self._file)
            if (found.st_dev, found.st_ino) != self._file_id:
                return False
            if self._wal_id == _UNKNOWN:  # a rollback journal
                return True
            wal, index = os.stat(self._wal), os.stat(self._index)
        except FileNotFoundError:
            return False
        self.wal_size = wal.st_size
        return (wal.st_dev, wal.st_ino) == self._wal_id and (index.st_dev, index.st_ino) == self._index_id

    def is_moved(self) -> bool:
        """Whether the database is no longer at its path."""
        return _found(self._file) != self._file_id

    def is_parted(self) -> bool:
        """Whether the database and its WAL are no longer beside each other."""
        if not self.begun or self._wal_id == _UNKNOWN:
            return False
        return self.is_moved() or _found(self._wal) != self._wal_id

    def has_lost_index(self) -> bool:
        """Whether others may have an index other than ours, of the same WAL or another. Not where WAL and index are
        both gone: whoever had come since would have made both."""
        if not self.begun or self._index_id == _UNKNOWN or self.is_moved():
            return False
        wal, index = _found(self._wal), _found(self._index)
        lost = index != self._index_id and (wal, index) != (_GONE, _GONE)
        if lost:
            self._lost_index = self._index_id
        return lost

    def has_lost_wal(self) -> bool:
        """Whether others write to another WAL by the index that is ours, too: it no longer tells what is in ours. As
        long as they have written nothing it does."""
        if not self.begun or self._wal_id == _UNKNOWN or self.is_moved():
            return False
        try:
            wal = os.stat(self._wal)
        except OSError:
            return False
        return (wal.st_dev, wal.st_ino) != self._wal_id and wal.st_size > 0

    def keeps_lost_index(self) -> bool:
        """Whether this process still has an index that it has lost in its memory. All connections of a process to a
        database share one, each new one joins them, and the last one to be closed lets go of it.

        Not if it is the one that is there now: once the old one is let go of, a new one is given its inode.
        """
        lost = self._lost_index
        kept = lost != _GONE and _found(self._index) != lost and _is_mapped(*lost)
        if not kept:
            self._lost_index = _GONE
        return kept

    def remove_wal(self) -> None:
        """Removes the WAL and its index, if they are still those that were opened."""
        if self._wal_id != _UNKNOWN and _found(self._wal) == self._wal_id:
            remove(self._wal, self._index)

    def story(self) -> str:
        """What has happened to the files, for the log."""
        for name, file, known in (
            ("it", self._file, self._file_id),
            ("its WAL", self._wal, self._wal_id),
            ("the index of its WAL", self._index, self._index_id),
        ):
            found = _found(file)
            if found not in (known, _GONE):
                return f"{name} was replaced"
            if found == _GONE:
                return f"{name} was removed or renamed" if name == "it" else f"{name} was removed"
        return "its files were away for a moment"


def remove(*files: str) -> None:
    """Removes files that may be there."""
    for file in files:
        with suppress(OSError):
            os.unlink(file)


def _identity(file: str) -> Identity:
    found = os.stat(file)
    return found.st_dev, found.st_ino


def _found(file: str) -> Identity:
    try:
        return _identity(file)
    except OSError:
        return _GONE


def _is_mapped(device: int, inode: int) -> bool:
    """Whether a file is in this process's memory; False where the system does not tell."""
    if sys.platform != "linux":
        return False
    place = f" {os.major(device):02x}:{os.minor(device):02x} {inode} "
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
            return any(place in line for line in maps)
    except OSError:
        return False
