"""The second half of the tour: what was recorded is uploaded to a collector, over a network that fails, by a daemon
that is killed, and then compared row by row."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from agentops_local.demo.relay import Relay
from agentops_local.store.connection import connect_readonly

if TYPE_CHECKING:
    from agentops_local.demo.tour import Tour

# A request without an answer is looked up on the server after a minute, with errors in it after fifteen: nobody wants
# to wait for that in a demo, and here no request is slow.
TIMING = "settle=1,settle_errors=1.5,backoff=0.2,longest=1,poll=0.1"


class Transfer(NamedTuple):
    """What was recorded, and what the collector holds of it."""

    recorded: int
    uploaded: int
    lost: int
    doubled: int


def missing_extra() -> str | None:
    """The package without which there is no collector; None if all are there."""
    return next((name for name in ("starlette", "uvicorn", "jwt") if find_spec(name) is None), None)


class Upload:
    """A collector, a network, and daemons.

    Args:
        tour: the tour whose database is uploaded.
    """

    def __init__(self, tour: Tour) -> None:
        self._tour = tour
        self._environ = tour.environ
        self._database = tour.folder / "collector" / "collector.db"
        key = self._run("agentops_local.cli", "--db", str(self._database), "keys", "add", "demo").stdout.strip()
        self._environ = {**tour.environ, "AGENTOPS_API_KEY": key, "AGENTOPS_SYNC_TIMING": TIMING}
        self._collector = self._start("agentops_local.cli", "--db", str(self._database), "serve", "--port", "0")
        url = (self._collector.stdout.readline() if self._collector.stdout else "").strip()
        self.collector_pid = self._collector.pid
        self._relay = Relay(urlsplit(url).port or 0)
        self.url = f"http://127.0.0.1:{self._relay.port}"

    def drop_and_kill(self) -> int:
        """Uploads while the network drops twice and the daemon is killed with a request under way; returns its pid."""
        say = self._tour.say
        daemon = self._start("agentops_sync", "run", "--endpoint", self.url)
        try:
            self._expect(self._relay.wait_for_refusals(2), "the daemon to find no network")
            say("no network: the daemon waits, and tries again")
            self._relay.connect()
            self._expect(self._relay.wait_for_requests(5), "five requests")
            self._relay.cut()
            say("the network is back, and after five requests it is cut again")
            self._expect(self._relay.wait_for_refusals(1), "the daemon to find no network again")
            self._relay.connect()
            self._relay.hold_answers()
            self._expect(self._relay.wait_for_requests(1), "a request whose answer is lost")
        finally:
            daemon.kill()
            daemon.wait()
            _close(daemon)
        say("it is back once more, and with a request under way the daemon is killed")
        say(f"(SIGKILL, pid {daemon.pid})")
        return daemon.pid

    def drain(self) -> None:
        """Another daemon sends the rest: what its predecessor left open it looks up on the server."""
        self._relay.connect()
        done = self._run("agentops_sync", "once", "--endpoint", self.url, "--quiet")
        if done.returncode:
            raise RuntimeError(
                f"agentops-sync once ended with exit code {done.returncode}: {done.stderr or done.stdout}"
            )

    def verify(self) -> Transfer:
        """Compares every session with what the collector holds of it."""
        with closing(connect_readonly(self._tour.database)) as connection:
            sessions = [row[0] for row in connection.execute("SELECT id FROM sessions WHERE id <> '' ORDER BY seq")]
            recorded = connection.execute("SELECT count(*) FROM events").fetchone()[0]
        uploaded = lost = doubled = 0
        for session in sessions:
            done = self._run("agentops_sync", "verify", session, "--endpoint", self.url, "--json")
            found = json.loads(done.stdout)
            there = sum(found["there"].values())
            uploaded += there
            lost += found["waiting"] + len(found["missing"]) + len(found["unseen"])
            doubled += len(found["doubled"]) + sum(found["foreign"].values())
            self._tour.say(
                f"verify {session[:13]}  {sum(found['local'].values()):>4} recorded {there:>4} on the collector"
            )
        return Transfer(int(recorded), uploaded, lost, doubled)

    def close(self) -> None:
        """Stops the collector."""
        self._relay.close()
        self._collector.terminate()
        try:
            self._collector.wait(10)
        except subprocess.TimeoutExpired:
            self._collector.kill()
            self._collector.wait()
        _close(self._collector)

    def _run(self, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-m", module, *arguments],
            cwd=self._tour.folder, env=self._environ, capture_output=True, text=True, encoding="utf-8", check=False,
        )  # fmt: skip

    def _start(self, module: str, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", module, *arguments],
            cwd=self._tour.folder, env=self._environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            encoding="utf-8",
        )  # fmt: skip

    def _expect(self, came: bool, what: str) -> None:
        if not came:
            raise RuntimeError(f"waited 30 seconds for {what}")


def _close(program: subprocess.Popen[str]) -> None:
    if program.stdout is not None:
        program.stdout.close()
