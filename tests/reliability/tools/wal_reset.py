"""SQLite's WAL-reset race, again and again, with its checkpoints or with ours.

The race, in SQLite 3.7.0 to 3.51.2 (mended in 3.51.3, 3.50.7 and 3.44.6): a checkpoint reads the header of the WAL's
index, then how much of the WAL was moved into the database already. It takes only the lock of checkpoints, not that of
writers. Between the two reads a writer may begin the WAL anew, if all of it had been moved:

1. a first checkpoint moves all N frames of the WAL into the database;
2. a second one reads the header: N frames;
3. a writer commits. As nothing in the WAL is needed any more it begins at frame 1 again, and says that 0 are moved;
4. the second checkpoint reads that 0 frames are moved, "moves" N frames, and says so: "N frames are moved", of a WAL
   in which these are other frames by now, or not there yet;
5. the WAL grows beyond N frames, and a third checkpoint moves those after N only;
6. a writer begins the WAL anew: what was committed in the first N frames is gone.

With memory mapping the second checkpoint gives its mapping back to the system between 2 and 4, which takes the longer
the more of the file is in it. That makes the window wide enough for a whole commit.

A round is these six steps by three processes, where 2 and 3 are told to begin at the same moment. With `--way passive`
the checkpoints are SQLite's own, PASSIVE, as its automatic ones are; with `--way ours` commits and checkpoints are
those of our store, with its lock, only that memory mapping is forced on.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple, Protocol

from agentops_local.store.file import DatabaseFile

MAPPED = 1 << 30  # bytes; more than the file has
ROW = 3000  # bytes; a row a page
FIRST, SECOND, THIRD, FOURTH = 10, 1, 16, 1  # rows that are committed in a round, one after the other


class Side(Protocol):
    """A process's hold on the database."""

    def commit(self, first: int, rows: int, delay: float) -> None:
        """Commits rows, numbered from `first`, after some seconds."""

    def checkpoint(self) -> None:
        """Moves the WAL into the database."""

    def touch(self) -> None:
        """Reads the whole file, so that it is in the mapping."""


class Passive:
    """SQLite as it comes, but for the mapping."""

    def __init__(self, path: str) -> None:
        self._connection = sqlite3.connect(path, timeout=5, isolation_level=None)
        self._connection.execute("PRAGMA wal_autocheckpoint = 0")
        _prepare(self._connection)

    def commit(self, first: int, rows: int, delay: float) -> None:
        """A transaction that waits for nobody but SQLite's locks."""
        _pass(delay)
        self._connection.execute("BEGIN IMMEDIATE")
        _insert(self._connection, first, rows)
        self._connection.execute("COMMIT")

    def checkpoint(self) -> None:
        """A checkpoint that waits for nobody."""
        self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def touch(self) -> None:
        """All pages of the ballast."""
        _touch(self._connection)


class Ours:
    """The store of the library, with memory mapping forced on."""

    def __init__(self, path: str) -> None:
        self._file = DatabaseFile(Path(path))
        with self._turn() as connection:
            _prepare(connection)

    @contextmanager
    def _turn(self) -> Iterator[sqlite3.Connection]:
        try:
            self._file.take_turn()
            yield self._file.ready()
        finally:
            self._file.lock.release()

    def commit(self, first: int, rows: int, delay: float) -> None:
        """A transaction of the store."""
        _pass(delay)
        with self._turn() as connection:
            connection.execute("BEGIN IMMEDIATE")
            _insert(connection, first, rows)
            connection.execute("COMMIT")

    def checkpoint(self) -> None:
        """The checkpoint of a writer that finds the WAL too large."""
        with self._turn():
            self._file.tidy(at_once=True)

    def touch(self) -> None:
        """All pages of the ballast."""
        with self._turn() as connection:
            _touch(connection)


WAYS: dict[str, Callable[[str], Side]] = {"passive": Passive, "ours": Ours}


class Outcome(NamedTuple):
    """What became of the rows."""

    rounds: int
    committed: int
    missing: int
    broken: str  # what SQLite says of the file; empty if it is sound


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA synchronous = OFF")  # it is memory that is raced for, not the disk
    if connection.execute(f"PRAGMA mmap_size = {MAPPED}").fetchone() != (MAPPED,):
        raise SystemExit("this SQLite was built without memory mapping")


def _pass(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def _insert(connection: sqlite3.Connection, first: int, rows: int) -> None:
    connection.executemany("INSERT INTO raced VALUES (?, zeroblob(?))", [(first + row, ROW) for row in range(rows)])


def _touch(connection: sqlite3.Connection) -> None:
    connection.execute("SELECT count(*), max(length(filling)) FROM ballast").fetchall()


# The processes ------------------------------------------------------------------------------------------------------


def _serve(pipe: Connection, way: str, path: str) -> None:
    side = WAYS[way](path)
    while order := pipe.recv():
        name, *given = order
        try:
            getattr(side, name)(*given)
        except sqlite3.DatabaseError as error:  # a file that is broken already
            pipe.send(str(error))
        else:
            pipe.send("")


class Crew:
    """Two that checkpoint, and one that writes; each a process."""

    def __init__(self, way: str, path: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes = []
        for _ in range(3):
            ours, theirs = context.Pipe()
            self._pipes.append(ours)
            self._processes.append(context.Process(target=_serve, args=(theirs, way, str(path)), daemon=True))
            self._processes[-1].start()
        self._trouble = ""

    def do(self, *orders: tuple[object, ...]) -> None:
        """Has processes do something at the same time. Each order is the number of the process, what, and with what."""
        for number, *order in orders:
            assert isinstance(number, int)
            self._pipes[number].send(order)
        for number, *_ in orders:
            assert isinstance(number, int)
            self._trouble = self._pipes[number].recv() or self._trouble

    @property
    def trouble(self) -> str:
        """What SQLite has complained of."""
        return self._trouble

    def end(self) -> None:
        """Ends the processes as if they were killed: nobody makes a last checkpoint."""
        for process, pipe in zip(self._processes, self._pipes, strict=True):
            process.kill()
            process.join()
            process.close()
            pipe.close()


def make(path: Path, way: str, ballast: int) -> None:
    """A database with so many megabytes to be mapped."""
    if way == "ours":
        path.parent.mkdir(parents=True, exist_ok=True)
        file = DatabaseFile(path)
        file.take_turn()
        file.ready()
        file.close()
        file.lock.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("CREATE TABLE raced (n INTEGER PRIMARY KEY, filling BLOB)")
        connection.execute("CREATE TABLE ballast (filling BLOB)")
        connection.execute(
            "INSERT INTO ballast WITH RECURSIVE up (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up WHERE n < ?) "
            "SELECT zeroblob(?) FROM up",
            (ballast * 256, ROW),
        )
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def look(path: Path, rounds: int, committed: int) -> Outcome:
    """What is in the file."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        try:
            found = connection.execute("SELECT count(*) FROM raced WHERE length(filling) = ?", (ROW,))
            stored = found.fetchone()[0]
            lines = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(3)")]
        except sqlite3.DatabaseError as error:
            return Outcome(rounds, committed, 0, str(error))
    return Outcome(rounds, committed, committed - stored, "" if lines == ["ok"] else "; ".join(lines))


def race(path: Path, way: str, rounds: int, dice: random.Random, ballast: int = 48, every: int = 10) -> Outcome:
    """Goes through the race until something is lost.

    Args:
        path: the database, which is made.
        way: 'passive' or 'ours'.
        rounds: how often at most.
        dice: when the writer begins.
        ballast: megabytes that are mapped besides what is written.
        every: after so many rounds it is looked whether anything is lost.
    """
    make(path, way, ballast)
    crew = Crew(way, path)
    one, two, writer = range(3)
    committed = 0
    try:
        for number in range(1, rounds + 1):
            crew.do((two, "touch"))
            crew.do((writer, "commit", committed, FIRST, 0.0))
            crew.do((one, "checkpoint"))
            delay = dice.random() * ballast * 20e-6  # giving back a megabyte takes some 20 µs
            crew.do((two, "checkpoint"), (writer, "commit", committed + FIRST, SECOND, delay))
            crew.do((writer, "commit", committed + FIRST + SECOND, THIRD, 0.0))
            crew.do((one, "checkpoint"))
            crew.do((writer, "commit", committed + FIRST + SECOND + THIRD, FOURTH, 0.0))
            committed += FIRST + SECOND + THIRD + FOURTH
            if number % every == 0 or number == rounds or crew.trouble:
                outcome = look(path, number, committed)
                if outcome.missing or outcome.broken:
                    return outcome
        return look(path, rounds, committed)
    finally:
        crew.end()


def main() -> None:
    """Runs the race once and says what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("database", type=Path, help="a file that is not there yet")
    parser.add_argument("--way", choices=WAYS, default="passive")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--ballast", type=int, default=48, metavar="MB")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    outcome = race(given.database, given.way, given.rounds, random.Random(given.seed), given.ballast)
    print(f"SQLite {sqlite3.sqlite_version}, {given.way}: {outcome}")
    sys.exit(1 if outcome.missing or outcome.broken else 0)


if __name__ == "__main__":
    main()
