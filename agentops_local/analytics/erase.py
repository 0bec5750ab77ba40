"""Erasing sessions: out of the tables, out of the file, out of the WAL.

What is done, and why in this order:

- The session's events go in batches, each a transaction of some tens of milliseconds under the writers' lock, and
  writers get their turn in between. With the last batch go its agents, owners and its own row. Foreign keys hold after
  every commit, so whatever interrupts this leaves a sound database, and the session there until it is gone; while it
  is only partly there, it says so.
- Foreign keys are not enforced on this connection: for each message deleted SQLite would search all events.
- What no other session needs of messages and blobs goes next (see `sweep`), then unused environments.
- Deleted text is overwritten (secure_delete). The overwriting lies in the WAL until a checkpoint moves it into the
  file, and the WAL holds what it overwrites, so it is emptied.
- Overwriting is not all: where SQLite moved rows from one page to another, copies stay in the gaps of pages, for no
  secure_delete reaches those. Only a rewritten file (VACUUM) has none, and only rewriting gives the space back. The
  writers wait for it, about a second for 100 MB; so it is done if nobody records, or if it is over in a moment.
- What is not done yet stands in `about`: 'erasing' until all is deleted and the WAL empty, 'rewrite_due' until the
  file is rewritten. So an erasure that was cut short is noticed, and finished by the next.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from agentops_local import clock
from agentops_local.analytics.index import forget
from agentops_local.analytics.numbers import keep, tops
from agentops_local.analytics.owners import Status, judge, open_owners, owners_of
from agentops_local.analytics.sweep import Marks
from agentops_local.errors import AgentOpsLocalError, DatabaseUnusable, StoreFault
from agentops_local.process import Liveness
from agentops_local.store import changes
from agentops_local.store.connection import BUSY_TIMEOUT
from agentops_local.store.file import DatabaseFile

_BATCH = 0.03  # seconds of deleting in one transaction; with its commit it stays well below 0.1
_PAUSE = 0.005  # seconds between two: those who wait for the lock look for it every 2 ms at most
_ROWS = 500
_WAL_SIZE = 4 << 20  # bytes; a larger WAL is moved into the file between two batches, a few at a time
_WAL_PATIENCE = 5.0  # seconds that readers are given to let go of the WAL
_QUICK = 8 << 20  # bytes; a file of that size is rewritten in less than a tenth of a second, whoever records
_LONG = 1 << 30  # bytes; a larger one is rewritten only if that is asked for: who begins to record would wait too long

_EVENTS = "SELECT seq FROM events WHERE session = ? LIMIT ?"
# What belongs to an event, and to a session: of it, its agents and its uploads nothing stays.
EVENT_ROWS = [
    f"DELETE FROM {table} WHERE target IN (SELECT id FROM targets) AND event = ?"  # noqa: S608 - our names
    for table in ("uploads", "attempts", "dead_letters")
]
_SESSION_ROWS = [
    *(f"DELETE FROM {table} WHERE session = ?" for table in ("scores", "agents", "owners", "batches")),  # noqa: S608 - our names
    *(
        f"DELETE FROM {table} WHERE target IN (SELECT id FROM targets) AND session = ?"  # noqa: S608 - our names
        for table in ("agent_deliveries", "deliveries")
    ),
]
_NOTE = "INSERT OR REPLACE INTO about (key, value) VALUES (?, ?)"
_NOTES = "SELECT key FROM about WHERE key IN ('erasing', 'scrubbing', 'rewrite_due')"
_COUNT = "SELECT count(*) FROM events WHERE session = (SELECT seq FROM sessions WHERE id = ?)"
_PARTLY = """
UPDATE sessions SET end_state_reason = 'partly erased', revision = (SELECT max(revision) + 1 FROM sessions)
WHERE seq = ? AND end_state_reason IS NOT 'partly erased'
"""
_ENVIRONMENTS = """
DELETE FROM environments WHERE id NOT IN (SELECT environment FROM sessions WHERE environment IS NOT NULL)
"""
# The name of a model is a text like any other. The row with the highest number is emptied, so that this means no other.
_PRICES = (
    """
    DELETE FROM prices WHERE id < (SELECT max(id) FROM prices) AND id NOT IN (SELECT price FROM events WHERE price)
    AND model NOT IN (SELECT model FROM events WHERE model IS NOT NULL)
    """,
    """
    UPDATE prices SET provider = '', model = '', source = '', rates = NULL, ended_us = looked_us
    WHERE id = (SELECT max(id) FROM prices) AND id NOT IN (SELECT price FROM events WHERE price)
    AND model NOT IN (SELECT model FROM events WHERE model IS NOT NULL)
    """,
)

Progress = Callable[[int], None]


class StillRunning(AgentOpsLocalError):
    """A session that runs, or may run, is not erased."""


@dataclass
class Erased:
    """What was erased.

    Attributes:
        bytes_before, bytes_after: the size of the database file.
        wal_emptied: False if a reader that stays open kept the WAL, and with it what was erased.
        rewritten: whether the file was rewritten, so that no trace is left and the space is given back.
    """

    sessions: int = 0
    events: int = 0
    messages: int = 0
    blobs: int = 0
    environments: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    wal_emptied: bool = False
    rewritten: bool = False

    def and_then(self, later: Erased) -> Erased:
        """This and what was erased after it, together."""
        return Erased(
            self.sessions + later.sessions, self.events + later.events, self.messages + later.messages,
            self.blobs + later.blobs, self.environments + later.environments,
            self.bytes_before or later.bytes_before, later.bytes_after, later.wal_emptied, later.rewritten,
        )  # fmt: skip


class Eraser:
    """Erases sessions from a database. Afterwards, `close` it.

    Args:
        path: the database.
        erasable: in which of these states a session may be. A program that goes on recording to one that is erased
            begins it anew, under the same id.
        progress: told after each step how much of `work` is done.
        rewrite: whether the file is rewritten however long the writers wait for it.
    """

    def __init__(
        self, path: Path, erasable: frozenset[Status], progress: Progress = lambda _: None, rewrite: bool = False
    ) -> None:
        self._path = path
        self._rewrite_anyway = rewrite
        self._erasable = erasable
        self._wal_limit = _WAL_SIZE
        self._progress = progress
        self._file = DatabaseFile(path)
        self._wal = self._file.path.with_name(f"{self._file.path.name}-wal")
        self.done = Erased(bytes_before=_size(path))

    def erase(self, session: str) -> None:
        """Erases a session, by its whole id; one that is gone already is passed over.

        Raises:
            StillRunning: it is in none of the states in which it may be erased.
        """
        while self._erase_some(session):
            pass

    def finish(self) -> Erased:
        """Erases what is left of the sessions erased, and of those that an earlier run had no time to finish with."""
        if "erasing" in unfinished(self._connection()):
            self._sweep()
        forget(self._path)  # its words are in the index, too, and sums of what is gone
        self._rewrite()
        self.done.wal_emptied = self._empty_wal()
        if self.done.wal_emptied:
            with self._turn() as connection:
                connection.execute("DELETE FROM about WHERE key = 'erasing'")
            self._empty_wal()
        self.done.bytes_after = _size(self._path)
        return self.done

    def close(self) -> None:
        """Closes the database."""
        lock = self._file.lock
        try:
            with suppress(OSError, StoreFault):  # a folder that is gone is not made anew for this
                lock.acquire()
            self._file.close()
        finally:
            lock.release()
            lock.close()

    # Sessions -----------------------------------------------------------------------------------------------------

    def _erase_some(self, session: str) -> bool:
        """Erases a batch of a session; whether there is more."""
        with self._turn() as connection:
            row = connection.execute("SELECT seq, end_us FROM sessions WHERE id = ?", (session,)).fetchone()
            if row is None or not session:
                return False
            number, end_us = row
            refuse(session, judge(end_us, owners_of(connection, number)), self._erasable)
            connection.execute(_NOTE, ("erasing", clock.now_us()))
            before = tops(connection)
            deadline = time.monotonic() + _BATCH
            deleted, more = _delete_events(connection, number, deadline)
            changes.note(connection, [number])
            if more:
                connection.execute(_PARTLY, (number,))
            else:
                for sql in _SESSION_ROWS:
                    connection.execute(sql, (number,))
                connection.execute("DELETE FROM sessions WHERE seq = ?", (number,))
            keep(connection, before)
        self.done.events += deleted
        self.done.sessions += not more
        self._progress(deleted)
        return more

    # What nothing needs any more -----------------------------------------------------------------------------------

    def _sweep(self) -> None:
        marks = Marks(self._connection())
        for steps in marks.mark_events():
            self._progress(steps)
        self.done.messages += self._sweep_table("messages", marks, marks.messages)
        self.done.blobs += self._sweep_table("blobs", marks, marks.blobs)
        with self._turn() as connection:
            self.done.environments += connection.execute(_ENVIRONMENTS).rowcount
            for statement in _PRICES:
                connection.execute(statement)
            connection.execute(_NOTE, ("rewrite_due", clock.now_us()))

    def _sweep_table(self, table: str, marks: Marks, unmarked: Callable[[int | None], list[int]]) -> int:
        gone = 0
        below: int | None = None
        while numbers := unmarked(below):
            with self._turn() as connection:
                marks.catch_up()
                before = tops(connection)
                deleted, stopped = marks.delete(table, numbers, time.monotonic() + _BATCH)
                keep(connection, before)
            gone += deleted
            below = numbers[-1] if stopped is None else stopped
        return gone

    # The file -----------------------------------------------------------------------------------------------------

    @contextmanager
    def _turn(self) -> Iterator[sqlite3.Connection]:
        """A transaction under the writers' lock, and after it a pause for those who wait."""
        file = self._file
        try:
            connection = self._locked()
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
        except BaseException as error:
            file.roll_back(error)
            raise
        finally:
            file.lock.release()
        time.sleep(_PAUSE)
        size = _size(self._wal)
        if size > self._wal_limit:
            # In a turn of its own. Where a reader forbids it, not with every batch: each try keeps the writers waiting.
            self._wal_limit = _WAL_SIZE if self._checkpoint() else 2 * size
            time.sleep(_PAUSE)

    def _locked(self) -> sqlite3.Connection:
        """Takes the writers' lock; the connection, set to erase."""
        if not self._path.is_file():
            raise DatabaseUnusable(f"there is no database at {self._path}")
        self._file.take_turn()
        connection = self._file.ready()
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT * 1000:.0f}")
        return connection

    def _connection(self) -> sqlite3.Connection:
        """The connection, for reading without the lock."""
        try:
            return self._locked()
        finally:
            self._file.lock.release()

    def _rewrite(self) -> None:
        try:
            connection = self._locked()
            if "rewrite_due" in unfinished(connection) or self._rewrite_anyway:
                size = _size(self._path)
                longest = _QUICK if _anybody_records(connection) else _LONG
                if size <= longest or self._rewrite_anyway:
                    connection.execute("VACUUM")
                    connection.execute("DELETE FROM about WHERE key = 'rewrite_due'")
                    self.done.rewritten = True
        except sqlite3.OperationalError:
            pass  # no room for a second copy, or a program that knows no lock: it stays due
        finally:
            self._file.lock.release()

    def _empty_wal(self) -> bool:
        """Moves the WAL into the file and empties it; False if a reader does not let go of it in time."""
        deadline = time.monotonic() + _WAL_PATIENCE
        while True:
            if self._checkpoint():
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(10 * _PAUSE)

    def _checkpoint(self) -> bool:
        """Moves the WAL into the file and empties it; False if a reader forbids it now."""
        try:
            connection = self._locked()
            connection.execute("PRAGMA busy_timeout = 50")  # milliseconds; the writers wait as long
            return not connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        except sqlite3.OperationalError:
            return False
        finally:
            self._file.lock.release()


def unfinished(connection: sqlite3.Connection) -> set[str]:
    """What earlier erasures have left to be done: 'erasing', 'scrubbing', 'rewrite_due'."""
    return {str(row[0]) for row in connection.execute(_NOTES).fetchall()}


def work(connection: sqlite3.Connection, sessions: Sequence[str]) -> int:
    """How many steps it will take to erase some sessions: their events, and all events to be looked through."""
    top = int(connection.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()[0])
    return top + sum(int(connection.execute(_COUNT, (session,)).fetchone()[0]) for session in sessions)


def refuse(session: str, status: Status, erasable: frozenset[Status]) -> None:
    """Raises StillRunning for a session that is in none of these states."""
    if status in erasable:
        return
    if status is Status.RUNNING:
        raise StillRunning(f"session {session} is still running: end it first, or use --force")
    raise StillRunning(
        f"nobody ended session {session}, and whether its processes live cannot be told from here: use --force if you "
        "know that they do not"
    )


def _delete_events(connection: sqlite3.Connection, session: int, deadline: float) -> tuple[int, bool]:
    """Deletes events of a session until a moment has come; how many, and whether there are more."""
    deleted = 0
    while numbers := connection.execute(_EVENTS, (session, _ROWS)).fetchall():
        for (number,) in numbers:
            connection.execute("DELETE FROM events WHERE seq = ?", (number,))
            for sql in EVENT_ROWS:
                connection.execute(sql, (number,))
            deleted += 1
            if time.monotonic() > deadline:
                return deleted, True
    return deleted, False


def _anybody_records(connection: sqlite3.Connection) -> bool:
    """Whether a process lives that may want to write: it would wait for as long as rewriting takes."""
    lives = [(owner.life(), ended) for owner, _, ended in open_owners(connection)]
    return any(life is Liveness.ALIVE or (life is Liveness.UNKNOWN and not ended) for life, ended in lives)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
