"""The store of a collector on databases of ours: one for what is local, and one for each registered project."""

from __future__ import annotations

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from agentops_local.exporting import v2
from agentops_local.exporting.v2 import SessionRows
from agentops_local.server import registry, sqlite_idle, sqlite_sessions
from agentops_local.server.sqlite_events import EventsWrite, change
from agentops_local.server.sqlite_totals import totals
from agentops_local.server.sqlite_writer import SqliteWriter
from agentops_local.server.store import (
    LOCAL,
    Access,
    EventFields,
    SessionFields,
    SessionTotals,
    SilentSession,
    StoreUnavailable,
)

FOLDER = "projects"
_MOST_OPEN = 32  # databases of projects that are kept open: each takes some file descriptors


class SqliteStore:
    """The databases of a collector (see `store.Store`).

    Args:
        path: the local database, which also holds the registry; made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        self.local = SqliteWriter(path)
        self._projects: OrderedDict[str, SqliteWriter] = OrderedDict()
        self._lock = threading.Lock()

    def access(self, key_hash: bytes | None) -> Access:
        """What a key opens."""
        with self.local.reading() as connection:
            required, project, generation = registry.look_up(connection, key_hash)
        if project is None or key_hash is None:
            return Access(required)
        return Access(required, LOCAL if project == generation else project, registry.tag_of(key_hash))

    def is_revoked(self, tag: str) -> bool:
        """Whether the key that a token was issued for may no longer be used."""
        with self.local.reading() as connection:
            return registry.is_revoked(connection, tag)

    def check(self) -> None:
        """Reads a row."""
        self.access(None)

    def has_session(self, project: str, session_id: str) -> bool:
        """Whether the project has this session."""
        with self._database(project).reading() as connection:
            return connection.execute("SELECT 1 FROM sessions WHERE id = ?", (session_id,)).fetchone() is not None

    def create_session(self, project: str, session_id: str, fields: SessionFields) -> None:
        """Stores a session, or fills in what the one that is there lacks."""
        self._database(project).write(sqlite_sessions.create(session_id, fields))

    def update_session(self, project: str, session_id: str, fields: SessionFields) -> SessionTotals:
        """Replaces what is said of a session."""
        database = self._database(project)
        database.write(sqlite_sessions.update(session_id, fields))
        with database.reading() as connection:
            found = totals(connection, session_id)
        return found or SessionTotals(session_id, 0, 0, 0, 0, None)  # erased in between

    def name_agent(self, project: str, session_id: str, agent_id: str, name: str | None) -> None:
        """Makes an agent known, under a name."""
        self._database(project).write(sqlite_sessions.name_agent(session_id, agent_id, name))

    def add_events(self, project: str, session_id: str, events: Sequence[EventFields]) -> None:
        """Stores events."""
        if events:
            self._database(project).write(EventsWrite(session_id, events).run)

    def change_events(self, project: str, session_id: str, changes: Sequence[EventFields]) -> None:
        """Replaces what is said of events that are there."""

        def run(connection: sqlite3.Connection, epoch: int) -> None:
            change(connection, epoch, session_id, changes)

        if changes:
            self._database(project).write(run)

    def totals(self, project: str, session_id: str) -> SessionTotals | None:
        """What a session amounts to."""
        with self._database(project).reading() as connection:
            return totals(connection, session_id)

    def export(self, project: str, session_id: str, ours: bool = False) -> SessionRows | None:
        """A session with all its rows."""
        with self._database(project).reading() as connection:
            return v2.whole(connection, session_id, None if project == LOCAL else project, ours)

    def projects(self) -> list[str]:
        """Every project, `LOCAL` first."""
        with self.local.reading() as connection:
            return [LOCAL, *registry.project_ids(connection)]

    def silent_sessions(self, project: str, before_us: int, is_silent: Callable[[str], bool]) -> list[SilentSession]:
        """Sessions of which nothing may come any more."""
        with self._visiting(project) as database:
            if not database.path.exists():  # a project with a key that nobody has used yet
                return []
            with database.reading() as connection:
                return sqlite_idle.silent(connection, before_us, is_silent)

    def end_silent(self, project: str, sessions: Sequence[SilentSession], reason: str) -> int:
        """Ends sessions by themselves."""
        if not sessions:
            return 0
        with self._visiting(project) as database:
            return database.write(sqlite_idle.end(sessions, reason))

    def close(self) -> None:
        """Closes the databases."""
        with self._lock:
            for database in (self.local, *self._projects.values()):
                database.close()

    @contextmanager
    def _visiting(self, project: str) -> Iterator[SqliteWriter]:
        """A database that is closed again, if it was not open: whoever looks at all of them in turn should not push out
        those that are in use."""
        database = self._database(project)
        was_open = database.is_open
        try:
            yield database
        finally:
            if not was_open:
                with self._lock:
                    if project in self._projects:
                        self._projects.move_to_end(project, last=False)
                database.close(wait=False)

    def _database(self, project: str) -> SqliteWriter:
        if project == LOCAL:
            return self.local
        try:
            name = str(UUID(project))  # it becomes the name of a file
        except ValueError as error:
            raise StoreUnavailable(f"{project!r} is no project") from error
        with self._lock:
            found = self._projects.get(name)
            if found is None:
                found = self._projects[name] = SqliteWriter(self.local.path.parent / FOLDER / f"{name}.db")
            self._projects.move_to_end(name)
            for idle in list(self._projects.values())[:-_MOST_OPEN]:
                idle.close(wait=False)
            return found
