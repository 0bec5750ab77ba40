"""The daemon, driven in one thread on a clock of its own.

A `Machine` is a database with what a program recorded, and an uploader for it. Time passes only while the daemon
sleeps, so a day takes as long as its requests do; the look-alike's clock goes along. Requests go over real HTTP, on
their way past the machine's `hooks`, which may look, answer in the server's place, or let them pass.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

from agentops_local.clock import new_id, now_us
from agentops_local.config import Configuration
from agentops_local.event import ActionEvent, ErrorEvent, LLMEvent, ToolEvent
from agentops_local.recorder.recorder import Recorder
from agentops_local.session import Session
from agentops_sync.authority import Authorities
from agentops_sync.client import Client, Outcome, Request, Verdict
from agentops_sync.daemon import Daemon
from agentops_sync.instance import uploader
from agentops_sync.ledger import Ledger
from agentops_sync.timing import SECOND, Moment, Timing
from agentops_sync.uploader import Uploader
from tests.fakes.agentops_api import AgentOpsAPI, Received
from tests.sdk.records import Records

Hook = Callable[[Request], "Outcome | None"]

HOUR, DAY = 3600.0, 86400.0
NOTHING_HEARD = Outcome(Verdict.UNKNOWN, words="nothing was heard")
NO_CONNECTION = Outcome(Verdict.NOT_SENT, words="no connection")


class VirtualClock:
    """A clock that stands still until somebody sleeps.

    Attributes:
        wall_us: what the wall clock says.
        mono_us: what the one says that is never set.
    """

    def __init__(self, server: AgentOpsAPI | None = None) -> None:
        self.wall_us = now_us() + SECOND
        self.mono_us = 1000 * SECOND
        self.boot = "first boot"
        self._server = server
        self._begun_us = self.mono_us
        self._alarms: list[tuple[int, int, Callable[[], object]]] = []
        self._count = itertools.count()

    def now(self) -> Moment:
        """This moment."""
        return Moment(self.wall_us, self.mono_us, self.boot)

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        """Lets time pass."""
        self.sleep(seconds)

    def sleep(self, seconds: float) -> None:
        """Lets time pass, with what is to happen meanwhile."""
        end_us = self.mono_us + max(1, round(seconds * SECOND))
        while self._alarms and self._alarms[0][0] <= end_us:
            at_us, _, alarm = heapq.heappop(self._alarms)
            self._advance(max(at_us, self.mono_us))
            alarm()
        self._advance(end_us)

    def after(self, seconds: float, alarm: Callable[[], object]) -> None:
        """Has something happen when so much time has passed."""
        heapq.heappush(self._alarms, (self.mono_us + round(seconds * SECOND), next(self._count), alarm))

    def set_wall(self, seconds: float) -> None:
        """Sets the wall clock forwards, or back."""
        self.wall_us += round(seconds * SECOND)

    @property
    def passed(self) -> float:
        """Seconds since it was made."""
        return (self.mono_us - self._begun_us) / SECOND

    def _advance(self, mono_us: int) -> None:
        self.wall_us += mono_us - self.mono_us
        self.mono_us = mono_us
        if self._server is not None:
            self._server.settings.clock_shift = self.passed


class Machine(Records):
    """A machine: its database, the recorder of its programs, and its uploader.

    Args:
        folder: where the database shall be.
        api_key: for sessions recorded without one.
        timing: changes of the periods.
    """

    def __init__(
        self,
        folder: Path,
        server: AgentOpsAPI,
        clock: VirtualClock | None = None,
        api_key: str | None = None,
        **timing: float,
    ) -> None:
        super().__init__(folder / "agentops.db")
        self.server = server
        self.clock = clock or VirtualClock(server)
        self.timing = replace(Timing(), **{"running": 1e12, **timing})
        self.api_key = server.api_key if api_key is None else api_key or None
        self.recorder = Recorder(self.file)
        self.hooks: list[Hook] = []
        self.sent: list[tuple[float, Request, Outcome]] = []
        self._http = Client(server.url)
        self._uploader: Uploader | None = None

    def close(self) -> None:
        """Ends both programs."""
        self.stop()
        self.recorder.close()
        self._http.close()

    # The program that is recorded -------------------------------------------------------------------------------------

    def session(self, key: str | None = None, tags: list[str] | None = None, id: UUID | None = None) -> Session:
        """A session of the program; with an id, one that another machine has begun, or will."""
        config = Configuration()
        config.api_key = key
        config.env_data_opt_out = True
        return Session(id or new_id(), config, tags, recorder=self.recorder, inherited=id is not None)

    # The daemon -------------------------------------------------------------------------------------------------------

    @property
    def uploader(self) -> Uploader:
        """The uploader; made with its first use."""
        if self._uploader is None:
            ledger = Ledger(self.file, self._http.url)
            authorities = Authorities(self.file, self.api_key)
            self._uploader = uploader(ledger, self, authorities, self.timing, self.clock)
        return self._uploader

    def stop(self) -> None:
        """Ends the uploader's process: what it had in memory is gone."""
        if self._uploader is not None:
            self._uploader.ledger.close()
            self._uploader = None

    def send(self, request: Request) -> Outcome:
        """Carries a request, as `client.Transport` says."""
        at = self.clock.passed
        outcome = next(filter(None, (hook(request) for hook in self.hooks)), None) or self._http.send(request)
        self.sent.append((at, request, outcome))
        return outcome

    def drain(self, patience: float = 2 * HOUR) -> None:
        """Runs until nothing is left to do, or nothing for so many seconds in a row."""
        self._daemon().run(until_idle=True, patience=patience)
        host = self.uploader.host
        while host.failures and host.retry_us - self.clock.wall_us <= patience * SECOND:  # the daemon waits 5 s for it
            self.clock.sleep((host.retry_us - self.clock.wall_us) / SECOND)
            self._daemon().run(until_idle=True, patience=patience)

    def run(self, seconds: float) -> None:
        """Runs for so long."""
        daemon = self._daemon()
        self.clock.after(seconds, daemon.stop)
        daemon.run()

    def steps(self, count: int = 1) -> None:
        """Takes what is new, and does so many steps of each session."""
        self.uploader.refresh()
        while self.uploader.outbox.take():
            pass
        for session in self.uploader.outbox.due(self.clock.wall_us).sessions:
            for _ in range(count):
                if not self.uploader.step(session):
                    break

    def _daemon(self) -> Daemon:
        return Daemon([self.uploader], self.clock, self.timing, parallel=0)

    # What has become of it --------------------------------------------------------------------------------------------

    def states(self, kind: str | None = None) -> dict[str, int]:
        """How many events are in which state."""
        found = self.rows(
            "SELECT state, count(*) AS number FROM uploads WHERE ? IN (kind, '') GROUP BY state", kind or ""
        )
        return {row["state"]: row["number"] for row in found}

    def delivery(self, session: Session | None = None) -> dict[str, Any]:
        """A session's row in the ledger; the only one's, if none is named."""
        id = "%" if session is None else str(session.session_id)
        return self.row("SELECT d.* FROM deliveries d JOIN sessions s ON s.seq = d.session WHERE s.id LIKE ?", id)

    def batches(self) -> list[tuple[str, str, int]]:
        """Of each request with events: its kind, its state and how many events."""
        found = self.rows("SELECT kind, state, json_array_length(events) AS number FROM batches ORDER BY id")
        return [(row["kind"], row["state"], row["number"]) for row in found]

    def paths(self, since: int = 0) -> list[str]:
        """The last part of the path of every request that went out, after some of them."""
        return [request.path.rsplit("/", 1)[-1] for _, request, _ in self.sent[since:]]


def once(path: str, outcome: Outcome, times: int = 1) -> Hook:
    """A hook that answers the first requests for a path in the server's place."""
    left = itertools.count(times, -1)

    def hook(request: Request) -> Outcome | None:
        return outcome if request.path.rsplit("/", 1)[-1] == path and next(left) > 0 else None

    return hook


def tool(number: object = 0, **more: Any) -> ToolEvent:
    """A tool call."""
    return ToolEvent(**{"name": f"tool {number}", "params": {"number": str(number)}, **more})


def llm(number: object = 0, **more: Any) -> LLMEvent:
    """An LLM call."""
    return LLMEvent(
        prompt=[{"role": "user", "content": f"prompt {number}"}],
        completion={"role": "assistant", "content": f"completion {number}"},
        model="gpt-4o", prompt_tokens=3, completion_tokens=4, cost=0.01, **more,
    )  # fmt: skip


def action(number: object = 0, **more: Any) -> ActionEvent:
    """An action."""
    return ActionEvent(action_type=f"action {number}", **more)


def error(number: object = 0, **more: Any) -> ErrorEvent:
    """An error."""
    return ErrorEvent(error_type="ValueError", details=f"error {number}", **more)


MAKERS: dict[str, Callable[[object], Any]] = {"llms": llm, "tools": tool, "actions": action, "errors": error}


def ids_there(server: AgentOpsAPI, session: Session, kind: str) -> list[str]:
    """The ids of a session's rows on the server; of errors their details."""
    name = "details" if kind == "errors" else "id"
    return [str(row[name]) for row in server.events(str(session.session_id), kind)]


def posts(server: AgentOpsAPI, name: str) -> list[Received]:
    """The requests for a path that the server received."""
    return [one for one in server.requests if one.path.rsplit("/", 1)[-1] == name]
