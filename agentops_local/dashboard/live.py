"""What is new, told to open pages as it comes: server-sent events, one look at the database for all who listen."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from pathlib import Path

import anyio
import orjson
from anyio import to_thread
from starlette.responses import Response, StreamingResponse

from agentops_local.analytics.reading import open_reader
from agentops_local.errors import AgentOpsLocalError

_EVERY = 0.5  # seconds between two looks; each costs some microseconds
_SILENCE = 15.0  # seconds after which something is said to a page that there is nothing to say to, so that it is there

_STATE = """
SELECT (SELECT coalesce(max(seq), 0) FROM events) AS seq,
       (SELECT coalesce(max(revision), 0) FROM sessions) AS revision,
       (SELECT count(*) FROM sessions WHERE end_us IS NULL AND id <> '') AS open,
       (SELECT coalesce(max(id), 0) FROM batches) AS batches,
       (SELECT coalesce(max(revision), 0) FROM changes) AS changes
"""


class Live:
    """Those who listen, by database."""

    def __init__(self) -> None:
        self._watchers: dict[Path, _Watcher] = {}

    def answer(self, db: Path, headers: Mapping[str, str], may: Callable[[], bool]) -> Response:
        """The stream for a page that shows this database.

        Args:
            may: whether its viewer may still see it; asked before anything is said.
        """
        watcher = self._watchers.setdefault(db, _Watcher(db))
        return StreamingResponse(_told(watcher, may), headers=dict(headers), media_type="text/event-stream")


class _Watcher:
    """One look at a database for all who listen."""

    def __init__(self, db: Path) -> None:
        self._db = db
        self._connection: sqlite3.Connection | None = None
        self._version: object = None
        self._looked = 0.0
        self._turn = anyio.Lock()
        self.state: dict[str, object] = {}
        self.number = 0
        self.listeners = 0

    async def look(self) -> None:
        """Looks whether anything is new, unless somebody has just done so."""
        async with self._turn:
            if anyio.current_time() - self._looked < _EVERY / 2:
                return
            await to_thread.run_sync(self._look)
            self._looked = anyio.current_time()

    def close(self) -> None:
        """Lets go of the database: an open file is one that cannot be replaced on Windows."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _look(self) -> None:
        try:
            if self._connection is None:
                self._connection = open_reader(self._db, any_thread=True)
                self._version = None
            version = self._connection.execute("PRAGMA data_version").fetchone()[0], self._db.stat().st_ino
            if version == self._version:
                return
            state = dict(self._connection.execute(_STATE).fetchone())
            if self._version is not None and version[1] != self._version[1]:  # type: ignore[index]  # another file is there now
                self.close()
            self._version = version
        except (sqlite3.Error, OSError, AgentOpsLocalError):
            self.close()
            state = {}
        if state != self.state:
            self.state = state
            self.number += 1


async def _told(watcher: _Watcher, may: Callable[[], bool]) -> AsyncIterator[bytes]:
    watcher.listeners += 1
    told = -1
    spoken = anyio.current_time()
    try:
        while True:
            with suppress(OSError):
                await watcher.look()
            is_due = watcher.number != told or anyio.current_time() - spoken > _SILENCE
            if is_due and not await to_thread.run_sync(may):
                return
            if watcher.number != told:
                told, spoken = watcher.number, anyio.current_time()
                yield b"event: changed\ndata: " + orjson.dumps(watcher.state) + b"\n\n"
            elif is_due:
                spoken = anyio.current_time()
                yield b": still here\n\n"
            await anyio.sleep(_EVERY)
    finally:
        watcher.listeners -= 1
        if not watcher.listeners:
            watcher.close()
