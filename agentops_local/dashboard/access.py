"""Who may see what. On the machine itself, as long as no API key is registered, whoever reaches the server sees the
database that it serves; else a viewer signs in with the key of a project, and sees that project alone."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request

from agentops_local.server.sqlite_store import SqliteStore


@dataclass(frozen=True)
class Viewer:
    """Somebody who may see a database.

    Attributes:
        db: which.
        may_change: whether he may change anything there.
        project: its name, where he has signed in.
    """

    db: Path
    may_change: bool
    project: str | None = None


class Access:
    """The border of the dashboard.

    Args:
        store: of the server.
        is_open: whether only this machine can reach the server.
    """

    def __init__(self, store: SqliteStore, is_open: bool) -> None:
        self._store = store
        self._is_open = is_open
        self.token = secrets.token_urlsafe(32)  # only our own pages know it: what brings it was sent by one of them

    def viewer(self, http: Request) -> Viewer | None:
        """Who asks; None if he must sign in first."""
        del http
        if self._is_open and not self._store.access(None).required:
            return Viewer(self._store.local.path, True)
        return None
