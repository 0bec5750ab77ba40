"""agentops-sync in a process of its own: started, waited for, stopped, and its database looked at from outside."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

from tests.fakes.agentops_api import AgentOpsAPI

PATIENCE = 60.0  # seconds until what does not come counts as never
# As in life, only shorter.
TIMING = "settle=0.3,settle_errors=0.4,backoff=0.05,longest=0.2,poison=0.2,poll=0.05,running=0.5,connect=2,read=5"
COMMAND = (sys.executable, "-m", "agentops_sync")

_RECORD = """
import sys, agentops_local
from agentops_local import ToolEvent
session = agentops_local.init(db=sys.argv[1], auto_start_session=False) or agentops_local.start_session()
for number in range(int(sys.argv[2])):
    session.record(ToolEvent(name=sys.argv[3], params={"number": number}))
session.end_session("Success")
print(session.session_id)
"""


def environment(db: Path, api_key: str | None = None, **more: str) -> dict[str, str]:
    """For a command: none of the user's settings, the short periods, a file of keys of its own."""
    mine = {"AGENTOPS_SYNC_TIMING": TIMING, "AGENTOPS_LOCAL_CREDENTIALS": str(db.with_name("credentials"))}
    if api_key is not None:
        mine["AGENTOPS_API_KEY"] = api_key
    return {name: value for name, value in os.environ.items() if not name.startswith("AGENTOPS_")} | mine | more


def recorded(db: Path, count: int = 1, name: str = "search") -> str:
    """Has another process record a session with so many tool calls; returns its id."""
    done = subprocess.run(
        [sys.executable, "-c", _RECORD, str(db), str(count), name],
        env=environment(db), capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def query(db: Path, sql: str, *values: object) -> list[tuple]:
    """The rows of a query."""
    with closing(sqlite3.connect(db, timeout=30)) as connection:
        return connection.execute(sql, values).fetchall()


def states(db: Path) -> dict[str, int]:
    """How many events are in which state, as the ledger says."""
    return dict(query(db, "SELECT state, count(*) FROM uploads GROUP BY state"))


def names(server: AgentOpsAPI, session: str) -> list[str]:
    """The names of the tool calls that the server holds of a session."""
    return [str(row["name"]) for row in server.events(session, "tools")]


def posted(server: AgentOpsAPI, name: str = "create_events") -> int:
    """How many requests of a name have come."""
    return sum(request.path.endswith(name) for request in list(server.requests))


class Running:
    """`agentops-sync run`, or another command; killed at the end of its `with` block at the latest.

    Args:
        arguments: of the command.
        env: its whole environment.
        log: where its output goes.
    """

    def __init__(self, *arguments: str, env: Mapping[str, str], log: Path) -> None:
        self._log = log
        self._begin = log.stat().st_size if log.exists() else 0
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [*COMMAND, *arguments], env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )

    @classmethod
    def on(cls, db: Path, server: AgentOpsAPI, *arguments: str, timing: str = TIMING) -> Running:
        """`agentops-sync run` for a database and a server; its log lies beside the database."""
        env = environment(db, server.api_key, AGENTOPS_SYNC_TIMING=timing)
        words = ("run", "--db", str(db), "--endpoint", server.url, *arguments)
        return cls(*words, env=env, log=db.with_name("agentops-sync.log"))

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def log(self) -> str:
        """What it has said so far."""
        return self._log.read_bytes()[self._begin :].decode(errors="replace")

    def until(self, done: Callable[[], object], seconds: float = PATIENCE) -> None:
        """Waits until something is true."""
        assert self.becomes(done, seconds), f"not in {seconds:g} s: {self.log[-2000:]}"

    def becomes(self, done: Callable[[], object], seconds: float) -> bool:
        """Waits some seconds at most for something to be true; whether it is. The process must not end meanwhile."""
        end = time.monotonic() + seconds
        while not done():
            assert self._process.poll() is None, f"it has ended by itself: {self.log[-2000:]}"
            if time.monotonic() > end:
                return False
            time.sleep(0.01)
        return True

    def send(self, number: int) -> None:
        """Sends a signal."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Waits for its end; returns the exit code. A traceback is a failure of the test."""
        code = self._process.wait(PATIENCE)
        assert "Traceback" not in self.log, self.log[-3000:]
        return code

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Asks it to end; returns the exit code."""
        self.send(number)
        return self.wait()

    def kill(self) -> None:
        """SIGKILL, if it has not ended."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
