"""A collector whose time passes when it is told to, so that no test waits for silence.

house = House(path)
session = house.create()
house.later(25)
house.sweep()
assert session.row == (...)
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio

from agentops_local import clock
from agentops_local.server.app import build_app
from agentops_local.server.collector import Collector, Request
from agentops_local.server.idle import Idle
from agentops_local.server.sqlite_store import SqliteStore
from agentops_local.server.tokens import Tokens
from tests.server.running import BEGAN

HOUR = 3600.0
LATER = "2026-02-03T00:00:00.000000+00:00"
REASON = "nothing has come for 24 h"
ROW = "SELECT end_us, end_state, end_state_reason, auto_ended FROM sessions WHERE id = ?"
OPEN: tuple[Any, ...] = (None, "Indeterminate", None, 0)


def us(stamp: str) -> int:
    """Microseconds of a time."""
    found = clock.parse_us(stamp)
    assert found is not None
    return found


class House:
    """A collector whose time passes when it is told to; it begins when the sessions of the tests do."""

    def __init__(self, path: Path, hours: float = 24) -> None:
        self.path = path
        self.awake = 0.0
        self.asleep = 0.0
        self.store = SqliteStore(path)
        self.idle = Idle(hours, lambda: us(BEGAN) / 1e6 + self.awake + self.asleep, lambda: self.awake)
        self.collector = Collector(self.store, Tokens(b"s" * 32), idle=self.idle)

    def later(self, hours: float) -> None:
        """Time passes."""
        self.awake += hours * HOUR

    def sweep(self) -> None:
        """Looks at every project once."""
        for project in self.store.projects():
            deed = self.collector.sweep(project)
            if deed is not None:
                deed.do()

    def create(self, key: str | None = None, session_id: str | None = None, **fields: Any) -> Sent:
        """A new session."""
        session_id = session_id or str(uuid4())
        said = {"session": {"session_id": session_id, "init_timestamp": BEGAN, **fields}}
        request = Request(key=key or str(uuid4()), body=json.dumps(said).encode())
        answer = self.collector.create_session(request).do()
        assert isinstance(answer, dict)
        return Sent(self, session_id, answer["jwt"])

    def row(self, session_id: str, path: Path | None = None) -> tuple[Any, ...]:
        """How a session ended."""
        with closing(sqlite3.connect(path or self.path)) as connection:
            found = connection.execute(ROW, (session_id,)).fetchone()
        assert found is not None
        return tuple(found)


class Sent:
    """A session that a client has sent."""

    def __init__(self, house: House, session_id: str, token: str) -> None:
        self.house = house
        self.id = session_id
        self.token = token

    def _request(self, body: Any) -> Request:
        return Request(authorization=f"Bearer {self.token}", body=json.dumps(body).encode())

    def events(self, *events: Any) -> None:
        """Sends events."""
        self.house.collector.create_events(self._request({"events": list(events)})).do()

    def update(self, **fields: Any) -> None:
        """Changes the session."""
        self.house.collector.update_session(self._request({"session": fields})).do()

    @property
    def row(self) -> tuple[Any, ...]:
        """How it ended."""
        return self.house.row(self.id)


async def live(house: House, pause: Any, sweeps: int) -> list[Any]:
    """Lets the app live, without a request, until it has paused for so many sweeps."""
    done = anyio.Event()
    left = sweeps + 1
    said: list[Any] = []

    async def counted(seconds: float) -> None:
        nonlocal left
        await pause(seconds)
        left -= 1
        if left == 0:
            done.set()
            await anyio.sleep_forever()

    async def receive() -> dict[str, str]:
        if not said:
            return {"type": "lifespan.startup"}
        if sweeps:
            with anyio.fail_after(30):
                await done.wait()
        return {"type": "lifespan.shutdown"}

    async def send(message: Any) -> None:
        said.append(message["type"])

    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    await build_app(house.collector, pause=counted)(scope, receive, send)
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    return said
