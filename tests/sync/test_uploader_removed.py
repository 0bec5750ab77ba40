"""Rows that are removed from the database while they wait, or are on their way."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing

import pytest

from agentops_local.session import Session
from tests.fakes.agentops_api import AgentOpsAPI
from tests.sync.driving import MAKERS, Machine, ids_there, tool


def remove(machine: Machine, numbers: Sequence[int], with_ledger: bool = False) -> None:
    """Takes events out of the database, with what the ledger says of them or without."""
    with closing(sqlite3.connect(machine.file)) as connection, connection:
        for number in numbers:
            connection.execute("DELETE FROM events WHERE seq = ?", (number,))
            if with_ledger:
                for table in ("uploads", "attempts", "dead_letters"):
                    connection.execute(f"DELETE FROM {table} WHERE event = ?", (number,))


def remove_session(machine: Machine, session: Session, with_ledger: bool) -> None:
    """Takes a session out of the database."""
    number = machine.value("SELECT seq FROM sessions WHERE id = ?", str(session.session_id))
    with closing(sqlite3.connect(machine.file)) as connection, connection:
        if with_ledger:
            for table in ("uploads", "batches", "deliveries", "agent_deliveries"):
                connection.execute(f"DELETE FROM {table} WHERE session = ?", (number,))
        for table in ("events", "agents", "owners"):
            connection.execute(f"DELETE FROM {table} WHERE session = ?", (number,))
        connection.execute("DELETE FROM sessions WHERE seq = ?", (number,))


@pytest.mark.parametrize("with_ledger", [False, True])
@pytest.mark.parametrize("count", [3, 30])
def test_events_that_wait(machine: Machine, api: AgentOpsAPI, with_ledger: bool, count: int) -> None:
    """Events that are removed before they are sent are never sent, and the rest is."""
    session = machine.session()
    for number in range(30):
        session.record(tool(number))
    machine.steps(2)
    assert machine.states() == {"pending": 30}
    remove(machine, range(1, count + 1), with_ledger)
    machine.drain()
    assert len(ids_there(api, session, "tools")) == 30 - count
    assert machine.states() == ({"done": 30 - count} if count < 30 else {})
    assert machine.delivery()["work"] == 0


@pytest.mark.parametrize("with_ledger", [False, True])
@pytest.mark.parametrize("fault", ["lost_answer", "502_before"])
@pytest.mark.parametrize("kind", MAKERS)
def test_events_on_their_way(machine: Machine, api: AgentOpsAPI, kind: str, fault: str, with_ledger: bool) -> None:
    """Events that are removed while it is not known whether they have arrived disturb nothing: the others are settled,
    and none is doubled."""
    session = machine.session()
    for number in range(10):
        session.record(MAKERS[kind](number))
    api.fault(fault, path="create_events")
    machine.steps(3)
    assert machine.states() == {"flying": 10}
    remove(machine, [2, 5, 9], with_ledger)
    machine.drain()
    there = ids_there(api, session, kind)
    assert len(there) == len(set(there)) == (10 if fault == "lost_answer" else 7)
    assert "flying" not in machine.states()
    assert "pending" not in machine.states()
    assert machine.states()["done"] >= 7
    assert machine.delivery()["work"] == 0


@pytest.mark.parametrize("with_ledger", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_session_that_is_removed(machine: Machine, api: AgentOpsAPI, steps: int, with_ledger: bool) -> None:
    """A session that is removed at any moment is never spoken of again, and the others go on."""
    session = machine.session()
    session.record(tool(1))
    api.fault("lost_answer", path="create_events")
    machine.steps(steps)
    other = machine.session()
    other.record(tool(2))
    remove_session(machine, session, with_ledger)
    before = len(machine.sent)
    machine.drain()
    assert str(session.session_id) not in "".join(
        f"{request.path} {request.body!r}" for _, request, _ in machine.sent[before:]
    )
    assert machine.value("SELECT state FROM uploads ORDER BY event DESC LIMIT 1") == "done"
    assert len(ids_there(api, other, "tools")) == 1
