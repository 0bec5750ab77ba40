"""The daemon between uploads, and with a database that cannot be written or goes away."""

from __future__ import annotations

from typing import Any

import pytest

from agentops_local.session import Session
from tests.fakes.agentops_api import AgentOpsAPI
from tests.sync.conftest import Machines
from tests.sync.driving import HOUR, Machine, ids_there, posts, tool


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
