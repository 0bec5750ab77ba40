"""The descriptors of what runs for months: the daemon that uploads, and the collector that is uploaded to."""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

from tests.fakes.agentops_api import AgentOpsAPI
from tests.reliability.conftest import Spawn
from tests.reliability.scorecard import Score
from tests.reliability.tools.crash import DB, query, scaled
from tests.server.running import BEGAN, in_a_process, tool
from tests.sync.running import Running, states

RECORD = """
import sys
import agentops_local as agentops
agentops.init(auto_start_session=False)
for number in range(int(sys.argv[1])):
    session = agentops.start_session()
    session.record(agentops.ToolEvent(name="step", params={"number": number}))
    session.record(agentops.ErrorEvent(error_type="Broken", details=f"{number} broke"))
    session.end_session("Success")
"""
OPEN = "SELECT count(*) FROM deliveries WHERE NOT ended_sent"
FAULTS = ["reset_before", "reset_after", "lost_answer", "cut_body", "502_before", "429"]


def _settled(pid: int) -> int:
    """How many descriptors a process holds once that number stays the same for half a second."""
    seen = [psutil.Process(pid).num_fds()]
    while len(seen) < 10 or len(set(seen[-10:])) > 1:
        assert len(seen) < 600
        time.sleep(0.05)
        seen.append(psutil.Process(pid).num_fds())
    return seen[-1]


def _at_rest(pid: int, wanted: int) -> int:
    """How many descriptors a process holds once it holds no more than wanted; after some seconds, how many it holds."""
    end = time.monotonic() + 15
    while (held := psutil.Process(pid).num_fds()) > wanted and time.monotonic() < end:
        time.sleep(0.05)  # it closes what broke when it next looks at it
    return held


def test_the_daemon_leaves_nothing_open(project: Path, spawn: Spawn, score: Score, api: AgentOpsAPI) -> None:
    """A daemon that has uploaded two hundred sessions, through connections that broke, holds no descriptor more than
    after the first ten."""
    count = scaled(200)
    spawn(RECORD, 10, begin="").finish()
    db = project / DB
    with Running.on(db, api) as daemon:
        daemon.until(lambda: states(db) == {"done": 20} and query(db, OPEN) == [(0,)])
        before = _settled(daemon.pid)
        api.chaos(0.1, seed=1, faults=FAULTS)
        spawn(RECORD, count, begin="").finish()
        daemon.until(lambda: states(db).get("done", 0) >= 20 + count)
        api.chaos(0, seed=1, faults=FAULTS)
        daemon.until(lambda: states(db) == {"done": 20 + 2 * count} and query(db, OPEN) == [(0,)])
        after = _at_rest(daemon.pid, before)
        print(f"{count} sessions, {len(api.requests)} requests: {before} descriptors before, {after} after")
        score.add(20 + 2 * count)
        assert daemon.stop() == 0
    assert after <= before


class Guest:
    """A client of the collector by plain sockets, that behaves well or badly.

    Attributes:
        stored: how many events the collector has taken.
    """

    def __init__(self, url: str) -> None:
        host, _, port = url.removeprefix("http://").rpartition(":")
        self._address = (host, int(port))
        self.stored = 0
        session = {"session_id": str(uuid4()), "init_timestamp": BEGAN}
        with closing(HTTPConnection(*self._address, timeout=30)) as line:
            answer = _ask(line, "create_session", {"session": session}, {"X-Agentops-Api-Key": str(uuid4())})
        self._token = {"Authorization": f"Bearer {json.loads(answer)['jwt']}"}

    def well(self) -> None:
        """Sends some events by one connection, and closes it."""
        with closing(HTTPConnection(*self._address, timeout=30)) as line:
            for _ in range(3):
                _ask(line, "create_events", {"events": [tool()]}, self._token)
                self.stored += 1

    def silent(self) -> None:
        """Says nothing."""
        self._connected().close()

    def cut(self) -> None:
        """Is cut off in the midst of a request."""
        with self._connected() as line:
            line.sendall(b"POST /v2/create_events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{")
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def nonsense(self) -> None:
        """Speaks no HTTP."""
        with self._connected() as line:
            line.sendall(b"\x16\x03\x01 hello\r\n\r\n")
            line.recv(1000)

    def _connected(self) -> socket.socket:
        return socket.create_connection(self._address, timeout=30)


def _ask(line: HTTPConnection, path: str, body: object, headers: dict[str, str]) -> bytes:
    """The answer to a request, which must be success."""
    line.request("POST", f"/v2/{path}", json.dumps(body), {"Content-Type": "application/json", **headers})
    answer = line.getresponse()
    said = answer.read()
    assert answer.status == 200, said
    return said


def test_the_collector_leaves_nothing_open(project: Path, score: Score) -> None:
    """A collector that has had a thousand connections, well and badly closed ones, holds no descriptor more than after
    the first forty."""
    pytest.importorskip("uvicorn", reason="the extra `server` is not installed")
    count = scaled(1000)
    path = project / "collector.db"
    with in_a_process(path) as collector:
        guest = Guest(collector.url)
        ways: list[Callable[[], None]] = [guest.well, guest.silent, guest.cut, guest.nonsense]
        for number in range(40):
            ways[number % 4]()
        pid = collector.process.pid
        before = _settled(pid)
        for number in range(count):
            ways[number % 4]()
        after = _at_rest(pid, before)
        print(f"{count} connections, {guest.stored} events: {before} descriptors before, {after} after")
        assert collector.stop() == 0
    stored = query(path, "SELECT count(*) FROM events")[0][0]
    score.add(guest.stored, lost=guest.stored - stored)
    assert stored == guest.stored
    assert after <= before
