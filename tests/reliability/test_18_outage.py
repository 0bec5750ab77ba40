"""A server that is away: what that costs, and what comes of what is recorded meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator

from agentops_local.session import Session
from tests.fakes.agentops_api import AgentOpsAPI
from tests.reliability.scorecard import Score
from tests.reliability.tools.crash import scaled
from tests.sync.conftest import Machines
from tests.sync.driving import DAY, HOUR, MAKERS, NO_CONNECTION, ids_there, once, tool

SESSIONS = 10
EVENTS = scaled(10_000)
REQUESTS = 400
RATE = 100  # events a second, at least, once the server is there again


def compare(api: AgentOpsAPI, sessions: list[Session], score: Score, wanted: int) -> None:
    """Each event is there, once."""
    there = [row for session in sessions for kind in MAKERS for row in ids_there(api, session, kind)]
    lost, doubled = wanted - len(set(there)), len(there) - len(set(there))
    score.add(wanted, lost=lost, doubled=doubled)
    assert (lost, doubled) == (0, 0)


def test_a_day_without_a_server(machines: Machines, api: AgentOpsAPI, score: Score) -> None:
    """While the server is away for a day, at most 400 connections are tried, whatever is recorded; then all of it is
    uploaded, with no more requests than without the outage, and at 100 events a second or more of real time."""
    machine = machines(poll=30)
    sessions = [machine.session() for _ in range(SESSIONS)]
    each = EVENTS // SESSIONS // len(MAKERS)
    names = iter(range(EVENTS))  # errors have no id there: each says another thing
    api.refuse()
    for hour in range(10):
        machine.clock.after(hour * DAY / 10, lambda: record(sessions, each // 10, names))
    machine.run(DAY)
    assert len(machine.sent) <= REQUESTS
    assert api.requests == []
    events = each // 10 * 10 * SESSIONS * len(MAKERS)
    assert machine.states() == {"pending": events}
    assert machine.batches() == []
    api.listen()
    begun = time.monotonic()
    machine.run(HOUR / 2)
    seconds = time.monotonic() - begun
    print(
        f"{len(machine.sent) - len(api.requests)} connections tried; {events / seconds:.0f} events a second afterwards"
    )
    compare(api, sessions, score, events)
    assert machine.states() == {"done": events}
    batches = -(-each // 25)
    assert len(api.requests) == SESSIONS * (1 + 1 + len(MAKERS) * batches)
    assert events / seconds >= RATE


def record(sessions: list[Session], count: int, names: Iterator[int]) -> None:
    """So many events of each kind, of each session."""
    for _ in range(count):
        for session in sessions:
            for maker in MAKERS.values():
                session.record(maker(next(names)))


def test_an_outage_that_begins_in_the_midst(machines: Machines, api: AgentOpsAPI, score: Score) -> None:
    """An outage that begins while requests are under way costs one unclear request at most, and no event."""
    machine = machines(poll=10)
    session = machine.session()
    for number in range(100):
        session.record(tool(number))
    api.fault("refuse", path="create_events", nth=2, seconds=1e6)
    machine.clock.after(2 * HOUR, api.listen)
    machine.run(3 * HOUR)
    assert machine.states() == {"done": 100}
    compare(api, [session], score, 100)


def test_an_outage_survives_a_restart(machines: Machines, api: AgentOpsAPI, score: Score) -> None:
    """How long the server has been away is remembered by the next uploader."""
    machine = machines(poll=30)
    session = machine.session()
    session.record(tool())
    machine.hooks.append(once("create_session", NO_CONNECTION, times=10**6))
    machine.run(HOUR)
    failures = machine.uploader.host.failures
    assert failures > 5
    machine.stop()
    assert machine.uploader.host.failures == failures
    machine.hooks.clear()
    machine.run(HOUR)
    assert machine.states() == {"done": 1}
    compare(api, [session], score, 1)
