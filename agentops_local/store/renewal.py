"""Writing a WAL anew after a sync of it has failed.

A sync that fails is not tried again by the one that succeeds: Linux takes the pages that it could not write for
written, and says nothing of them any more. In the WAL these are commits that SQLite knows as done, of other processes
too. The next commit would be promised with a gap before it, at which the recovery after a power cut ends; and a
checkpoint would overwrite the database out of a WAL that is not on the disk, which such a cut leaves corrupt. So every
page is given to the system once more, as it is, before anything else is promised.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress

_PIECE = 1 << 20  # bytes


def is_doubtful(error: BaseException | None) -> bool:
    """Whether an error may be that of a sync. Python 3.10 gives no code, so every I/O error counts."""
    return isinstance(error, sqlite3.Error) and "disk I/O" in str(error)


def renew(connection: sqlite3.Connection, wal_file: str) -> None:
    """Writes the WAL over itself, byte for byte, and syncs it.

    In a transaction: nobody, whoever he is, appends to it or empties it meanwhile. That the file is opened here is
    harmless, as it would not be with the database: SQLite holds its locks on that and on the index.

    Raises:
        sqlite3.Error, OSError: it is as doubtful as before.
    """
    if os.name != "posix" or connection.in_transaction:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        descriptor = os.open(wal_file, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            place = 0
            while piece := os.pread(descriptor, _PIECE, place):
                # Asked of each piece: a fork in a signal handler closes the connection, others write, and an old piece
                # over what they wrote left the database damaged.
                if not connection.in_transaction:  # of a closed one already the question is an error
                    raise sqlite3.ProgrammingError("a closed database")
                place += os.pwrite(descriptor, piece, place)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    finally:
        connection.execute("ROLLBACK")


def checkpoint(connection: sqlite3.Connection, wal_file: str, mode: str, doubtful: bool) -> None:
    """A checkpoint before a connection is closed; where its sync fails, the WAL is written anew.

    The last one to close checkpoints by itself, but says nothing of a sync that fails there: the next program found a
    WAL with a gap, and what it promised was lost with a power cut. So it is done where the error is heard.

    Args:
        doubtful: a sync has failed earlier, and the WAL could not be renewed.
    """
    if connection.in_transaction:  # which the closing rolls back; a script would commit it
        return
    try:
        # As a script: a statement that has begun and is not done is in the way of a handler that records just then.
        connection.executescript(f"PRAGMA wal_checkpoint({mode})")
    except sqlite3.Error as error:
        if doubtful or is_doubtful(error):
            with suppress(sqlite3.Error, OSError):
                renew(connection, wal_file)
