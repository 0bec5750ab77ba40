"""The floor: what SQLite takes without us.

A bare `sqlite3` connection with the pragmas of ours that inserts one row in a transaction of its own. It lies on the
same disk, is measured in the same run and in turns with ours, a few events each, so that a noisy machine disturbs both
alike.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from time import time_ns

from agentops_local import clock
from benchmarks.common import Row


def compact(value: object) -> str:
    """JSON as ours is stored."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


_COLUMNS = {
    "id": "TEXT NOT NULL UNIQUE", "session": "INTEGER", "owner": "INTEGER", "agent": "INTEGER", "kind": "TEXT",
    "init_us": "INTEGER", "end_us": "INTEGER", "name": "TEXT", "params": "TEXT", "returns": "TEXT",
    "model": "TEXT", "prompt": "TEXT", "completion": "TEXT", "prompt_tokens": "INTEGER", "completion_tokens": "INTEGER",
    "cost_pusd": "INTEGER",
}  # fmt: skip
TOOL = ("id", "session", "owner", "agent", "kind", "init_us", "end_us", "name", "params", "returns")
LLM = (
    "id", "session", "owner", "agent", "kind", "init_us", "end_us", "model", "prompt", "completion", "prompt_tokens",
    "completion_tokens",
)  # fmt: skip


class Floor:
    """A bare database with one table of events: integer key, unique uuid text, typed columns, JSON text.

    Args:
        path: its file.
        power: `synchronous=FULL` instead of NORMAL.
    """

    def __init__(self, path: Path, power: bool = False) -> None:
        self.path = path
        self.connection = connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA page_size = 4096")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if power else 'NORMAL'}")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("PRAGMA mmap_size = 0")
        columns = ", ".join(f"{name} {kind}" for name, kind in _COLUMNS.items())
        connection.execute(f"CREATE TABLE IF NOT EXISTS events (seq INTEGER PRIMARY KEY, {columns})")

    def insert(self, columns: Sequence[str]) -> Callable[[Row], object]:
        """What stores one row."""
        marks = ", ".join("?" * len(columns))
        # A partial is called without a Python frame: nothing is added to the floor.
        return partial(self.connection.execute, f"INSERT INTO events ({', '.join(columns)}) VALUES ({marks})")

    def program(self, columns: Sequence[str], whole: bool = False) -> Callable[[Row], object]:
        """What a bare program does: it encodes, by the standard library, and stores one row.

        Args:
            whole: whether it makes the id and the times as well.
        """
        insert = self.insert(columns)
        encoded = [columns.index(name) for name in ("params", "returns", "prompt") if name in columns]

        def store(row: Row) -> object:
            values = list(row)
            for index in encoded:
                if values[index] is not None:  # NULL, as ours
                    values[index] = json.dumps(values[index])
            if whole:
                values[0] = str(uuid.uuid4())
                values[5] = time_ns() // 1000  # whole microseconds, as the other sides store
                values[6] = time_ns() // 1000
            return insert(tuple(values))

        return store

    def close(self) -> None:
        """Closes the file."""
        self.connection.close()


def as_it_is(value: object) -> object:
    """The value, to be encoded later."""
    return value


def tool_row(
    params: object, returns: object, name: str = "search_flights", encode: Callable[[object], object] = compact
) -> Row:
    """A tool call as a row of the floor. JSON and ids are made here, outside the timers."""
    now = clock.now_us()
    out = None if returns is None else encode(returns)
    return (str(clock.new_id()), 1, 1, 1, "tools", now, now, name, encode(params), out)


def llm_row(prompt: object, completion: str, encode: Callable[[object], object] = compact) -> Row:
    """An LLM call as a row of the floor, its prompt whole."""
    now = clock.now_us()
    return (str(clock.new_id()), 1, 1, 1, "llms", now, now, "gpt-4o", encode(prompt), completion, 1200, 150)


def checkpoint(*paths: Path) -> None:
    """Moves each WAL into its database and empties it, outside the timers."""
    for path in paths:
        with closing(sqlite3.connect(path)) as connection:
            blocked, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            assert not blocked


def count(path: Path, table: str = "events") -> int:
    """The rows of a table."""
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
