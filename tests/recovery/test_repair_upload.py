"""What a salvaged database uploads: what the server lacks, and nothing twice."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing

import pytest

from agentops_local.recovery.repair import Repair
from agentops_sync import outbox
from tests.fakes.agentops_api import AgentOpsAPI
from tests.recovery.test_repair import header, leaves, spoil
from tests.sync.driving import MAKERS, Machine, error, ids_there

_NOTES = (leaves("uploads"), leaves("targets"), leaves("deliveries"), leaves("agent_deliveries"))
LOSSES = {
    "nothing but the header": (),
    "the notes about events": (leaves("uploads"),),
    "all notes but the requests": _NOTES,
    "the requests": (leaves("batches"),),
    "all notes": (*_NOTES, leaves("batches")),
    "the sessions": (leaves("sessions"), leaves("uploads")),
}  # fmt: skip


@pytest.mark.parametrize("lost", LOSSES)
def test_nothing_is_sent_twice(machine: Machine, api: AgentOpsAPI, lost: str) -> None:
    """Whatever part of the ledger is lost with a damaged file, each event is on the server once after the repair:
    those that were sent before, those that were waiting, and those of a request of which nothing was heard."""
    session = machine.session()
    for number in range(15):
        for make in MAKERS.values():
            session.record(make(f"sent {number}"))
    machine.drain()
    for number in range(3):
        session.record(error(f"unheard {number}"))
    api.fault("lost_answer", path="create_events")
    machine.steps(3)
    assert machine.states() == {"done": 15 * 4, "flying": 3}  # the server has them
    for number in range(10):
        for make in MAKERS.values():
            session.record(make(f"waiting {number}"))
    machine.stop()
    machine.recorder.close()
    spoil(machine.file, *LOSSES[lost]) if LOSSES[lost] else header(machine.file)
    assert not Repair(machine.file).run().failed
    for number in range(5):
        session.record(error(f"later {number}"))
    session.end_session("Success")
    machine.drain()
    errors = Counter(ids_there(api, session, "errors"))
    assert set(errors.values()) == {1}
    assert len(errors) == 15 + 3 + 10 + 5
    for kind in ("llms", "tools", "actions"):
        there = ids_there(api, session, kind)
        assert len(set(there)) == len(there) == 25
    assert machine.states() == {"done": 25 * 3 + 33}


@pytest.mark.parametrize("goes_on", [False, True])
def test_some_of_the_requests_are_lost(machine: Machine, api: AgentOpsAPI, goes_on: bool) -> None:
    """Where the state of a session is lost, and with it some of its requests and not all, the server is asked; also
    where the session went on in the new database, and was uploaded from there, before the repair."""
    session = machine.session()
    for number in range(15):
        for make in MAKERS.values():
            session.record(make(number))
    machine.drain()
    machine.stop()
    machine.recorder.close()
    with closing(sqlite3.connect(machine.file)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("DELETE FROM batches WHERE kind = 'errors'")  # as if the page they stood on were gone
    spoil(machine.file, leaves("uploads"), leaves("deliveries"))
    if goes_on:
        session.record(error("in the new one"))
        machine.drain()
        machine.stop()
    assert not Repair(machine.file).run().failed
    session.record(error("later"))
    machine.drain()
    errors = Counter(ids_there(api, session, "errors"))
    assert (set(errors.values()), len(errors)) == ({1}, 16 + goes_on)
    assert machine.states() == {"done": 15 * 4 + 1 + goes_on}


def test_the_ledger_is_lost_and_the_daemon_goes_on(
    machine: Machine, api: AgentOpsAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that went on in the new database, and was uploaded from there before the repair: what the server has
    got from the damaged one, whose ledger is lost altogether, is not sent again, in however many pieces it is noted."""
    monkeypatch.setattr(outbox, "_PIECE", 5)
    session = machine.session()
    for number in range(15):
        for make in MAKERS.values():
            session.record(make(number))
    machine.drain()
    machine.stop()
    machine.recorder.close()
    spoil(machine.file, *_NOTES, leaves("batches"), leaves("sqlite_autoindex_targets_1"))
    session.record(error("in the new one"))
    machine.drain()
    machine.stop()
    assert not Repair(machine.file).run().failed
    session.record(error("later"))
    machine.drain()
    errors = Counter(ids_there(api, session, "errors"))
    assert (set(errors.values()), len(errors)) == ({1}, 17)
    assert machine.states() == {"done": 15 * 4 + 2}
