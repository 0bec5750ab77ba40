"""A place of its own for what was read from a damaged file, before any of it gets into the database.

It is a database with our schema, in which rows have the numbers they had and foreign keys are not looked at: what was
found is sorted here, and what it refers to and is lost gets a stand-in (see `standins`), while programs go on recording
undisturbed. It holds prompts, so it lies in the database's own folder, readable by its owner only; it is deleted when
it has been used, and by the next repair if this one is killed.
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from agentops_local.recovery.layout import EVENT_IDS, SESSION_IDS, URLS, Tree, tables, trees
from agentops_local.recovery.mending import Mender
from agentops_local.recovery.record import Cut, Value
from agentops_local.recovery.rows import Rows
from agentops_local.store.schema import schema_text, statements

_ROWS = 500
_MARK = ".salvaging-"

# What the indexes tell of rows that are lost.
_KNOWN = """
CREATE TABLE known_sessions (seq INTEGER PRIMARY KEY, id TEXT);
CREATE TABLE known_targets (id INTEGER PRIMARY KEY, url TEXT);
CREATE TABLE known_events (seq INTEGER PRIMARY KEY, session INTEGER, id BLOB)
"""


class Stage:
    """A database in a file beside another. Afterwards, `close` it.

    Attributes:
        path: its file.
        connection: to it.
        counts: how many rows of each table are in it.
        twice: how many were found a second time, or contradict one that was found before.
        unusable: how many could be read, but lack what a row must have.
        cut, altered: see `Mender`.
    """

    def __init__(self, beside: Path) -> None:
        remove_left(beside)
        self.path = beside.with_name(f"{beside.name}{_MARK}{os.getpid()}")
        os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        self.connection = sqlite3.connect(self.path, isolation_level=None)
        self.counts: Counter[str] = Counter()
        self.twice: Counter[str] = Counter()
        self.unusable: Counter[str] = Counter()
        self.cut: Counter[str] = Counter()
        self.altered: Counter[str] = Counter()
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "mmap_size = 0"):
            self.connection.execute(f"PRAGMA {pragma}")
        self.connection.execute("BEGIN")
        for statement in (*statements(schema_text()), *_KNOWN.split(";")):
            self.connection.execute(statement)

    def fill(self, rows: Rows) -> Iterator[int]:
        """Takes what can be read; yields how many pages have been gone through."""
        for tree in tables():
            for batch in _batches(rows.of(tree)):
                self._add(tree, batch)
                yield rows.pages
        self._add_known(rows)

    def ready(self) -> None:
        """Ends the filling: it can be attached to another connection from now on."""
        self.connection.execute("COMMIT")
        self.connection.close()

    def close(self) -> None:
        """Deletes it."""
        self.connection.close()
        _unlink(self.path)

    def _add(self, tree: Tree, rows: Iterable[list[Value]]) -> None:
        mender = Mender(tree)
        sql = f"INSERT OR IGNORE INTO {tree.name} ({', '.join(tree.columns)}) VALUES ({_marks(tree.columns)})"  # noqa: S608 - our names
        for row in rows:
            mended = mender.mend(row)
            if mended is None:
                self.unusable[tree.name] += 1
            elif self.connection.execute(sql, mended).rowcount:
                self.counts[tree.name] += 1
            else:
                self.twice[tree.name] += 1
        self.cut[tree.name] += mender.cut
        self.altered[tree.name] += mender.altered

    def _add_known(self, rows: Rows) -> None:
        for index, table in ((SESSION_IDS, "known_sessions"), (URLS, "known_targets")):
            self._note(table, ((number, name) for name, number in _whole(rows, trees()[index])))
        self._note(
            "known_events", ((number, session, name) for session, name, number in _whole(rows, trees()[EVENT_IDS]))
        )
        self.connection.execute("DELETE FROM known_events WHERE seq IN (SELECT seq FROM events)")

    def _note(self, table: str, rows: Iterable[Sequence[Value]]) -> None:
        columns = 3 if table == "known_events" else 2
        marks = ", ".join("?" * columns)
        self.connection.executemany(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", rows)  # noqa: S608 - our names


def remove_left(beside: Path) -> None:
    """Removes what repairs that were killed have left."""
    for left in beside.parent.glob(f"{beside.name}{_MARK}*"):
        _unlink(left)


def _unlink(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def _marks(columns: Sequence[str]) -> str:
    return ", ".join("?" * len(columns))


def _whole(rows: Rows, tree: Tree) -> Iterator[list[Value]]:
    return (row for row in rows.of(tree) if not any(type(value) is Cut for value in row))


def _batches(rows: Iterable[list[Value]]) -> Iterator[list[list[Value]]]:
    batch: list[list[Value]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _ROWS:
            yield batch
            batch = []
    yield batch
