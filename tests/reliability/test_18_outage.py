"""A server that is away, or partly broken: what it costs, and whom."""

from __future__ import annotations

import base64
import json
from collections import Counter
from typing import Any
from uuid import uuid4

import pytest

from agentops_local.credentials import save_key
from agentops_local.session import Session
from tests.fakes.agentops_api import AgentOpsAPI
from tests.sync.conftest import Machines
from tests.sync.driving import (
    DAY,
    HOUR,
    MAKERS,
    NO_CONNECTION,
    NOTHING_HEARD,
    Machine,
    action,
    ids_there,
    llm,
    once,
    posts,
    tool,
)


def test_a_day_without_a_server(machines: Machines, api: AgentOpsAPI) -> None:
    """While the server is away for a day, at most 400 connections are tried, whatever is recorded; then all of it is
    uploaded, with no more requests than without the outage."""
    machine = machines(poll=30)
    sessions = [machine.session() for _ in range(10)]
    for number in range(50):
        for session in sessions:
            for maker in MAKERS.values():
                session.record(maker(number))
    api.refuse()
    machine.run(DAY)
    assert len(machine.sent) <= 400
    assert api.requests == []
    assert machine.states() == {"pending": 2000}
    assert machine.batches() == []
    api.listen()
    machine.run(HOUR / 4)
    assert machine.states() == {"done": 2000}
    assert len(api.requests) == 10 * (1 + 1 + 4 * 2)
    for session in sessions:
        for kind in MAKERS:
            assert len(set(ids_there(api, session, kind))) == 50


def test_an_outage_that_begins_in_the_midst(machines: Machines, api: AgentOpsAPI) -> None:
    """An outage that begins while requests are under way costs one unclear request at most, and no event."""
    machine = machines(poll=10)
    session = machine.session()
    for number in range(100):
        session.record(tool(number))
    api.fault("refuse", path="create_events", nth=2, seconds=1e6)
    machine.clock.after(2 * HOUR, api.listen)
    machine.run(3 * HOUR)
    assert machine.states() == {"done": 100}
    assert len(set(ids_there(api, session, "tools"))) == len(ids_there(api, session, "tools")) == 100


def test_an_outage_survives_a_restart(machines: Machines, api: AgentOpsAPI) -> None:
    """How long the server has been away is remembered by the next uploader."""
    machine = machines(poll=30)
    machine.session().record(tool())
    machine.hooks.append(once("create_session", NO_CONNECTION, times=10**6))
    machine.run(HOUR)
    failures = machine.uploader.host.failures
    assert failures > 5
    machine.stop()
    assert machine.uploader.host.failures == failures
    machine.hooks.clear()
    machine.run(HOUR)
    assert machine.states() == {"done": 1}


def test_idle_costs_nothing(machines: Machines) -> None:
    """While nothing is new, there is no request and no transaction."""
    machine = machines(poll=5, running=60.0)
    session = machine.session()
    session.record(tool())
    machine.session().end_session("Success")
    transactions: list[int] = []
    seen: list[object] = []
    ledger = machine.uploader.ledger
    original = ledger.transaction

    def counted() -> Any:
        transactions.append(1)
        return original()

    def look() -> None:
        seen.append((len(machine.sent), ledger.changed(), len(transactions)))

    ledger.transaction = counted  # type: ignore[method-assign]  # it is watched
    machine.clock.after(120, look)
    machine.clock.after(6 * HOUR, look)
    machine.clock.after(6 * HOUR, lambda: session.record(tool()))
    machine.run(6 * HOUR + 10)
    assert seen[0] == seen[1]
    assert machine.states() == {"done": 2}


def test_a_new_event_does_not_wait(machine: Machine) -> None:
    """What is recorded is on its way within a second or two, whatever else waits."""
    session = machine.session()
    session.record(tool())
    machine.drain()
    machine.clock.after(1000, lambda: session.record(tool()))
    machine.run(1003)
    assert machine.states() == {"done": 2}
    assert machine.sent[-1][0] - machine.clock.passed == pytest.approx(-2, abs=1.1)


def twenty(machine: Machine, trouble: str) -> list[Session]:
    """Twenty sessions, the first of which has what makes the trouble."""
    key = str(uuid4()) if trouble == "key" else None
    if key:
        save_key(key)
    sessions = [machine.session(key=key if number == 0 else None) for number in range(20)]
    for number in range(30):
        for session in sessions:
            poisoned = trouble == "poison" and session is sessions[0] and number == 7
            session.record(tool("poison" if poisoned else number))
            session.record(llm(number))
            if trouble == "kind" and number < 5:
                session.record(action(number))
    return sessions


def make(trouble: str, machine: Machine, api: AgentOpsAPI, bad: Session) -> None:
    """Makes the trouble that is made elsewhere."""
    if trouble == "poison":
        api.poison("poison")
    elif trouble == "kind":
        api.actions_work = False
    elif trouble == "lost":
        machine.hooks.append(once("create_events", NOTHING_HEARD))
    elif trouble == "gone":
        machine.steps(1)
        api.delete_session(str(bad.session_id))


@pytest.mark.parametrize("trouble", ["poison", "kind", "key", "lost", "gone"])
def test_trouble_stays_where_it_is(machines: Machines, api: AgentOpsAPI, trouble: str) -> None:
    """Of twenty sessions one is in trouble: the others take not one request more than without it, and none of their
    events waits for it."""
    machine = machines(poll=1)
    bad, *good = twenty(machine, trouble)
    make(trouble, machine, api, bad)
    machine.run(20)
    by_session = requests_of(machine)
    for session in good:
        for kind in ("tools", "llms"):
            assert len(ids_there(api, session, kind)) == 30
        if trouble != "kind":  # created, its agent, two of tools, two of calls
            assert by_session[str(session.session_id)] == 6
    # Where the server cannot take a kind at all, that is found out by a few tries of each session at most.
    assert max(by_session.values()) <= 30
    assert sum(by_session.values()) <= (6 + 8) * 20
    assert not machine.rows("SELECT * FROM dead_letters")
    if trouble == "kind":
        assert machine.states("tools") == machine.states("llms") == {"done": 600}
        assert machine.states("actions").get("done") is None
        assert len(machine.rows("SELECT * FROM parked")) == 1


def requests_of(machine: Machine) -> Counter[str]:
    """How many requests each session took."""
    found: Counter[str] = Counter()
    for _, request, _ in machine.sent:
        if request.token:
            claims = request.token.split(".")[1]
            found[json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["session_id"]] += 1
        elif request.body:
            body = json.loads(request.body)
            found[body.get("session_id") or body["session"]["session_id"]] += 1
        else:
            found[request.path.split("/")[3]] += 1
    return found


def test_a_database_that_cannot_be_written(machine: Machine, api: AgentOpsAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the ledger cannot be written nothing is sent; when it can, everything goes on and nothing is doubled."""
    session = machine.session()
    for number in range(30):
        session.record(tool(number))
    machine.steps(2)
    original = machine.uploader.ledger.transaction
    before = len(machine.sent)

    def full() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(machine.uploader.ledger, "transaction", full)
    machine.run(600)
    assert "create_events" not in machine.paths(before)
    monkeypatch.setattr(machine.uploader.ledger, "transaction", original)
    machine.run(120)
    assert machine.states() == {"done": 30}
    assert len(posts(api, "create_events")) == 2


def test_a_database_that_goes_away(machine: Machine, api: AgentOpsAPI) -> None:
    """A database that is removed while it is served stops nothing, and is not made anew."""
    session = machine.session()
    session.record(tool())
    machine.run(5)
    machine.recorder.close()
    away = machine.file.parent.with_name("away")
    machine.clock.after(5, lambda: machine.file.parent.rename(away))
    machine.run(300)
    assert not machine.file.exists()
    machine.clock.after(5, lambda: away.rename(machine.file.parent) if away.exists() else None)
    machine.run(120)
    assert machine.states() == {"done": 1}
    assert unchanged(session, api)


def unchanged(session: Session, api: AgentOpsAPI) -> bool:
    """Whether a session has its one event."""
    return len(ids_there(api, session, "tools")) == 1
