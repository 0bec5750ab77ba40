"""What may happen at the worst of moments: clocks that are set, files that are replaced, workers that end, bugs of our
own."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from typing import TypeVar
from uuid import UUID

import filelock
import pytest

from agentops_local.analytics.uploading import lock_file
from agentops_local.recorder.recorder import Recorder
from agentops_sync.client import Outcome, Request, Verdict
from agentops_sync.daemon import Daemon, Lane
from agentops_sync.instance import Settings, serving
from agentops_sync.timing import SystemClock
from tests.fakes.agentops_api import AgentOpsAPI
from tests.sync.conftest import Machines
from tests.sync.driving import DAY, HOUR, NO_CONNECTION, Machine, VirtualClock, ids_there, once, tool

T = TypeVar("T")

YEARS = 10 * 365 * DAY
FAILED = Outcome(Verdict.ANSWERED, 500, {"error": "Internal Server Error"}, "Internal Server Error")


# Clocks --------------------------------------------------------------------------------------------------------------


def no_host(machine: Machine) -> None:
    """The server cannot be reached."""
    machine.hooks.append(once("create_session", NO_CONNECTION, 10**6))


def no_key(machine: Machine) -> None:
    """The server does not know the key."""
    machine.server.revoke(machine.server.api_key)


def no_event(machine: Machine) -> None:
    """The server refuses an event."""
    machine.hooks.append(once("create_events", FAILED, 10**6))


@pytest.mark.parametrize("restarts", [False, True], ids=["one process", "restart"])
@pytest.mark.parametrize(("trouble", "period"), [(no_host, HOUR), (no_key, HOUR), (no_event, DAY)])
def test_a_clock_that_ran_ahead(
    machines: Machines, trouble: Callable[[Machine], None], period: float, restarts: bool
) -> None:
    """What waits since the wall clock was ten years ahead waits no longer, once that is right, than it ever would."""
    machine = machines(poll=20.0)
    machine.session().record(tool())
    machine.clock.set_wall(YEARS)
    trouble(machine)

    def right() -> None:
        machine.hooks.clear()
        with suppress(KeyError):  # it was never revoked
            machine.server.restore(machine.server.api_key)
        machine.clock.set_wall(-YEARS)

    if restarts:
        machine.run(30)
        machine.stop()
        right()
        machine.clock.boot = "second boot"
    else:
        machine.clock.after(30, right)
    machine.run(120 + 1.02 * period)
    assert machine.states() == {"done": 1}


# Threads, processes, files -------------------------------------------------------------------------------------------


def test_a_bug_in_one_session(machine: Machine) -> None:
    """A session that meets a bug of ours stops, and is not tried for ever; the others are drained."""
    sessions = [machine.session() for _ in range(10)]
    for session in sessions:
        session.record(tool())
    met: list[UUID] = []
    daemon = Daemon([machine.uploader], SystemClock(), machine.timing)

    def bug(request: Request) -> None:
        if str(sessions[0].session_id).encode() in (request.body or b""):
            met.append(sessions[0].session_id)
            if len(met) > 20:
                daemon.stop()
            raise RecursionError("a bug")

    machine.hooks.append(bug)
    daemon.run(until_idle=True)
    assert len(met) == 1
    assert machine.states() == {"done": 9, "pending": 1}


class Ending(set[int]):
    """Sessions that are served, all of which end when somebody asks which they are."""

    def __init__(self, lane: Lane, sessions: set[int]) -> None:
        super().__init__(sessions)
        self._lane = lane

    def __contains__(self, session: object) -> bool:
        found = super().__contains__(session)
        self._end()
        return found

    def __len__(self) -> int:
        self._end()
        return super().__len__()

    def _end(self) -> None:
        if super().__len__():
            self.clear()
            self._lane.next_us = 0


def test_a_worker_that_ends_while_is_looked(machine: Machine) -> None:
    """A session whose worker ends while it is looked what is due is due with the next look."""
    machine.session().record(tool())
    uploader = machine.uploader
    while uploader.outbox.take():
        pass
    lane = Lane(uploader)
    lane.seen = uploader.ledger.changed()
    lane.running_us = 10**18
    lane.busy = Ending(lane, {1})
    first = lane.due(machine.clock.now())
    assert first or lane.due(machine.clock.now()) == [1]


def test_a_database_that_is_replaced_while_it_is_read(machine: Machine, api: AgentOpsAPI) -> None:
    """When another file takes the database's place after its marks were read, none of its events is passed over."""
    session = machine.session()
    session.record(tool())
    machine.drain()
    machine.stop()
    machine.recorder.close()
    old = machine.file.with_name("old.db")
    with closing(sqlite3.connect(machine.file)) as connection:
        connection.execute(f"VACUUM INTO '{old}'")
    machine.recorder = Recorder(machine.file)
    session = machine.session()
    for number in range(20):
        session.record(tool(number))
    machine.recorder.close()
    ledger = machine.uploader.ledger
    read = ledger.read

    def replaced(query: Callable[[sqlite3.Connection], T]) -> T:
        found = read(query)
        if isinstance(found, tuple) and len(found) == 2 and isinstance(found[0], tuple) and old.exists():
            for more in ("-wal", "-shm"):
                machine.file.with_name(machine.file.name + more).unlink(missing_ok=True)
            os.replace(old, machine.file)  # noqa: PTH105 - as a restore does it
        return found

    ledger.read = replaced  # type: ignore[method-assign]
    machine.run(10)
    assert not old.exists()
    machine.recorder = Recorder(machine.file)
    session = machine.session()
    for number in range(5):
        session.record(tool(f"new {number}"))
    machine.run(HOUR)
    assert len(ids_there(api, session, "tools")) == 5
    assert machine.states() == {"done": 6}


def test_whoever_looks_whether_it_is_served(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that starts while somebody looks whether one runs, and holds its lock for that moment, starts."""
    machine.session().record(tool())
    looks = filelock.FileLock(lock_file(machine.file))
    looks.acquire()
    monkeypatch.setattr(time, "sleep", lambda _: looks.release())
    environ = {"AGENTOPS_API_KEY": machine.server.api_key}
    settings = Settings((str(machine.file),), machine.server.url, environ=environ)
    with serving(settings, machine) as uploaders:
        assert len(uploaders) == 1


def test_a_joined_session_whose_process_died(machines: Machines, api: AgentOpsAPI) -> None:
    """A session that was joined, and whose process here has died, is left alone: its end is not for this machine."""
    clock = VirtualClock(api)
    first, second = machines("first", clock=clock), machines("second", clock=clock, running=60.0)
    begun = first.session()
    begun.record(tool())
    first.drain()
    second.session(id=begun.session_id).record(tool())
    second.drain()
    second.recorder.close()
    with closing(sqlite3.connect(second.file)) as connection:
        connection.execute("UPDATE sessions SET end_us = NULL, auto_ended = 0")
        connection.execute("UPDATE owners SET end_us = NULL, pid = 999999, started = 'x'")
        connection.commit()
    second.stop()
    steps: list[int] = []
    step = second.uploader.step

    def counted(session: int) -> bool:
        steps.append(session)
        return step(session)

    second.uploader.step = counted  # type: ignore[method-assign]
    before = len(second.sent)
    second.run(2 * HOUR)
    assert len(steps) <= 1
    assert len(second.sent) == before
