"""Who may see what. On the machine itself, as long as no API key is registered, whoever reaches the server sees the
database that it serves; else a viewer signs in with the key of a project, and sees that project alone.

A viewer who has signed in is known by a cookie. It is signed with a secret that lives as long as the server, so a
restart signs everybody out and what was signed out stays so; and it counts only as long as the key may be used.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jwt
from starlette.requests import Request

from agentops_local.server import registry
from agentops_local.server.refusal import Refusal
from agentops_local.server.sqlite_store import FOLDER, SqliteStore

LIFE = 12 * 3600  # seconds: a working day
_ALGORITHM = "HS256"


@dataclass(frozen=True)
class Viewer:
    """Somebody who may see a database.

    Attributes:
        db: which.
        may_change: whether he may change anything there.
        token: what a change must bring with it. Only our own pages, as he sees them, know it.
        project: its name, where he has signed in.
        author: what stands beside the scores and notes that he gives; None on the own machine.
    """

    db: Path
    may_change: bool
    token: str
    project: str | None = None
    author: str | None = None


class Access:
    """The border of the dashboard.

    Args:
        store: of the server.
        is_open: whether only this machine can reach the server.
        now: Unix time in seconds.
    """

    def __init__(self, store: SqliteStore, is_open: bool, now: Callable[[], float] = time.time) -> None:
        self._store = store
        self._is_open = is_open
        self._now = now
        self._secret = secrets.token_bytes(32)
        self._over: dict[str, float] = {}  # of cookies that were signed out, until their time is over anyway
        self._lock = threading.Lock()
        # Cookies know no ports: two servers of one machine must not sign each other's viewers out.
        self.cookie = f"agentops_{hashlib.sha256(str(store.local.path).encode()).hexdigest()[:8]}"

    def viewer(self, http: Request) -> Viewer | None:
        """Who asks; None if he must sign in first."""
        if self.is_free():
            return Viewer(self._store.local.path, True, self.token())
        said = self._read(http.cookies.get(self.cookie))
        if said is None:
            return None
        with self._store.local.reading() as connection:
            found = registry.opened_by(connection, said["key"])
        if found is None:
            return None
        path = self._store.local.path
        if not found.local:
            path = path.parent / FOLDER / f"{found.project_id}.db"
        return Viewer(path, True, self.token(said["jti"]), found.project, f"key {found.prefix}")

    @property
    def database(self) -> Path:
        """What the server serves."""
        return self._store.local.path

    def is_free(self) -> bool:
        """Whether nobody need sign in."""
        return self._is_open and not self._store.access(None).required

    def sign_in(self, text: str) -> str | None:
        """The value of a cookie for whoever has a key; None if it opens nothing."""
        key = registry.parse_key(text)
        access = None if key is None else self._store.access(registry.key_hash(key))
        if access is None or access.project is None:
            return None
        said = {"jti": secrets.token_urlsafe(16), "key": access.tag, "exp": int(self._now()) + LIFE}
        return jwt.encode(said, self._secret, algorithm=_ALGORITHM)

    def sign_out(self, http: Request) -> None:
        """Ends the cookie that a request has brought, wherever a copy of it is."""
        said = self._read(http.cookies.get(self.cookie))
        if said is not None:
            now = self._now()
            with self._lock:
                self._over = {known: until for known, until in self._over.items() if until > now}
                self._over[said["jti"]] = float(said["exp"])

    def token(self, of: str = "") -> str:
        """What a change must bring with it.

        Args:
            of: names the cookie of the viewer; "" for whoever has none.
        """
        return hmac.new(self._secret, f"token {of}".encode(), hashlib.sha256).hexdigest()

    def _read(self, cookie: str | None) -> dict[str, str] | None:
        """What a cookie says; None if it is none of ours, or its time is over."""
        if not cookie:
            return None
        options = {"require": ["exp", "jti", "key"], "verify_exp": False}
        try:
            said: dict[str, str] = jwt.decode(cookie, self._secret, algorithms=[_ALGORITHM], options=options)  # type: ignore[arg-type]
        except (jwt.InvalidTokenError, ValueError):
            return None
        with self._lock:
            is_over = said["jti"] in self._over or float(said["exp"]) <= self._now()
        return None if is_over else said


def check_origin(http: Request) -> None:
    """Refuses what a page of somebody else has sent. The gate has looked at `Origin` already; browsers say it once
    more in a header that no page can set.

    Raises:
        Refusal: it comes from elsewhere.
    """
    site = http.headers.get("sec-fetch-site", "same-origin")
    if site != "same-origin":
        raise Refusal(403, "this change was not sent by a page of this dashboard: open it there and try again")


def check_token(given: str | None, token: str) -> None:
    """Refuses a change without the token of its viewer.

    Raises:
        Refusal: it is another, or none.
    """
    if not hmac.compare_digest((given or "").encode("utf-8", "replace"), token.encode()):
        raise Refusal(403, "the page that this change was sent from is too old: open it again and try once more")
