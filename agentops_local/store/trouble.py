"""What an SQLite error means to us, and what follows from it."""

from __future__ import annotations

import os
import sqlite3
from enum import Enum, auto
from errno import EBADF

from agentops_local.errors import DatabaseUnusable, StoreFault


class Trouble(Enum):
    """The kinds of failure that are treated differently."""

    LOST_GROUND = auto()  # a row we refer to is gone (pruned, or another file now): write it again, then retry
    DAMAGED = auto()  # the file is corrupt: put it aside, begin a new one, retry
    UNREACHABLE = auto()  # read-only, forbidden, of another program: use the fallback database
    FOR_NOW = auto()  # disk full, I/O error, locked: keep the event in memory and go on
    CLOSED = auto()  # the connection was closed under us (a fork from a signal handler): open and retry
    OURS = auto()  # anything else is a bug of ours


_BY_CODE = {
    5: Trouble.FOR_NOW,  # SQLITE_BUSY
    6: Trouble.FOR_NOW,  # SQLITE_LOCKED
    8: Trouble.UNREACHABLE,  # SQLITE_READONLY
    10: Trouble.FOR_NOW,  # SQLITE_IOERR
    11: Trouble.DAMAGED,  # SQLITE_CORRUPT
    13: Trouble.FOR_NOW,  # SQLITE_FULL
    14: Trouble.UNREACHABLE,  # SQLITE_CANTOPEN
    15: Trouble.FOR_NOW,  # SQLITE_PROTOCOL: lost the race for a lock too often
    23: Trouble.UNREACHABLE,  # SQLITE_AUTH
    26: Trouble.DAMAGED,  # SQLITE_NOTADB
}
# Python 3.10 gives no error codes, and some errors have none of their own: the words of sqlite3ErrStr, and of others.
_BY_WORDS = (
    ("FOREIGN KEY", Trouble.LOST_GROUND),
    ("closed database", Trouble.CLOSED),
    ("closed cursor", Trouble.CLOSED),
    ("locked", Trouble.FOR_NOW),
    ("readonly", Trouble.UNREACHABLE),
    ("disk I/O", Trouble.FOR_NOW),
    ("is full", Trouble.FOR_NOW),
    ("malformed", Trouble.DAMAGED),
    ("not a database", Trouble.DAMAGED),
    ("unsupported file format", Trouble.DAMAGED),
    ("Could not decode to UTF-8", Trouble.DAMAGED),  # we never write such a text
    ("unable to open", Trouble.UNREACHABLE),
)


def complaints(found: list[str]) -> list[str]:
    """What an integrity check complains of, one by one: SQLite gives many in one row, below a headline."""
    lines = [" ".join(line.split()) for row in found for line in row.splitlines()]
    return [line for line in lines if line and not line.startswith("***")] or found


def diagnose(error: BaseException) -> Trouble:
    """The kind of a failure."""
    if isinstance(error, DatabaseUnusable):
        return Trouble.UNREACHABLE
    if isinstance(error, StoreFault):
        return Trouble.FOR_NOW
    if isinstance(error, OSError):
        if error.errno == EBADF:  # the lock's file, closed by a fork in a handler that interrupted the waiting for it
            return Trouble.CLOSED
        # EACCES, EPERM, EROFS, ENOENT, ENOTDIR, ELOOP and such will not get better here; ENOSPC, EMFILE, EIO may.
        return Trouble.UNREACHABLE if error.errno in _HOPELESS else Trouble.FOR_NOW
    if isinstance(error, sqlite3.Error):
        trouble = _diagnose_sqlite(error)
        # SQLite says "unable to open" as well when the program has used up its file descriptors.
        return Trouble.FOR_NOW if trouble is Trouble.UNREACHABLE and _lacks_descriptors() else trouble
    return Trouble.OURS


def _diagnose_sqlite(error: sqlite3.Error) -> Trouble:
    words = str(error)
    code = getattr(error, "sqlite_errorcode", None)
    if isinstance(error, sqlite3.IntegrityError):
        return Trouble.LOST_GROUND if "FOREIGN KEY" in words else Trouble.OURS
    if code is not None and code & 0xFF in _BY_CODE:
        return _BY_CODE[code & 0xFF]
    for part, trouble in _BY_WORDS:
        if part in words:
            return trouble
    return Trouble.OURS


def _lacks_descriptors() -> bool:
    taken: list[int] = []
    try:
        while len(taken) < 5:  # the database, its WAL, the index of that, the folder, and one to spare
            taken.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return True
    finally:
        for descriptor in taken:
            os.close(descriptor)
    return False


def _errnos(*names: str) -> frozenset[int]:
    import errno

    return frozenset(getattr(errno, name) for name in names if hasattr(errno, name))


_HOPELESS = _errnos("EACCES", "EPERM", "EROFS", "ENOENT", "ENOTDIR", "ELOOP", "EISDIR", "EEXIST", "ENAMETOOLONG")
