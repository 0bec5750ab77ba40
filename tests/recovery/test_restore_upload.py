"""What a restored database uploads: what the server lacks, and nothing twice."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing

import pytest

from agentops_local.recovery.backup import make
from agentops_local.recovery.restore import restore
from agentops_local.session import Session
from agentops_sync import outbox
from tests.fakes.agentops_api import AgentOpsAPI
from tests.sync.conftest import Machines
from tests.sync.driving import MAKERS, NOTHING_HEARD, Machine, error, ids_there, llm, once, tool


def details(api: AgentOpsAPI, session: Session) -> Counter[str]:
    """The details of the errors that the server holds, how often each."""
    return Counter(ids_there(api, session, "errors"))


def put_back(machine: Machine, backup: str) -> None:
    """Restores a backup while the program goes on and the daemon is stopped."""
    machine.stop()
    restore(machine.file, machine.file.with_name(backup))


def keep(machine: Machine, name: str) -> None:
    """Makes a backup."""
    make(machine.file, machine.file.with_name(name))


def test_nothing_is_doubled_or_lost(machine: Machine, api: AgentOpsAPI) -> None:
    """What was recorded before a backup, what of it was uploaded before and after, and what is recorded after the
    restoring: each is on the server once, errors too; and the ledger says done of all that is here."""
    session = machine.session()
    for number in range(30):
        for make_one in MAKERS.values():
            session.record(make_one(f"uploaded {number}"))
    machine.drain()
    for number in range(30):
        for make_one in MAKERS.values():
            session.record(make_one(f"waiting {number}"))
    keep(machine, "saved.db")
    second = machine.session()
    for number in range(30):
        for make_one in MAKERS.values():
            session.record(make_one(f"after {number}"))
            second.record(make_one(f"of the second {number}"))
    machine.drain()
    put_back(machine, "saved.db")
    for number in range(10):
        session.record(error(f"at last {number}"))
        second.record(error(f"of the second at last {number}"))
    session.end_session("Success")
    machine.drain()
    assert set(details(api, session).values()) == {1}
    assert len(details(api, session)) == 30 + 30 + 30 + 10
    assert set(details(api, second).values()) == {1}
    assert len(details(api, second)) == 30 + 10
    for kind in ("llms", "tools", "actions"):
        assert len(set(ids_there(api, session, kind))) == len(ids_there(api, session, kind)) == 90
    assert set(machine.states()) == {"done"}
    assert sum(machine.states().values()) == 60 * 4 + 20


@pytest.mark.parametrize("uploaded_before", [False, True], ids=["target unknown to the backup", "target known"])
def test_a_session_first_uploaded_after_the_backup(machine: Machine, api: AgentOpsAPI, uploaded_before: bool) -> None:
    """A session that the backup holds, and its ledger does not, is found on the server; nothing is sent again."""
    if uploaded_before:
        machine.session().record(tool())
        machine.drain()
    session = machine.session()
    for number in range(40):
        session.record(error(number))
    keep(machine, "saved.db")
    machine.drain()
    put_back(machine, "saved.db")
    machine.drain()
    assert set(details(api, session).values()) == {1}
    assert len(details(api, session)) == 40


def test_a_session_noted_in_pieces(machine: Machine, api: AgentOpsAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the server holds of a session is looked at once the whole session is noted, however many pieces that takes:
    errors that come in a later piece are not sent again."""
    monkeypatch.setattr(outbox, "_PIECE", 5)
    session = machine.session()
    for number in range(12):
        session.record(tool(number))
    for number in range(8):
        session.record(error(number))
    keep(machine, "saved.db")
    machine.drain()
    put_back(machine, "saved.db")
    session.record(error("at last"))
    machine.drain()
    assert (set(details(api, session).values()), len(details(api, session))) == ({1}, 9)
    assert machine.states() == {"done": 21}


def test_a_request_on_its_way(machine: Machine, api: AgentOpsAPI) -> None:
    """A request that the backup holds as sent and unanswered is settled by what the server holds now."""
    session = machine.session()
    session.record(llm())
    machine.drain()
    for number in range(10):
        session.record(error(number))
    machine.hooks.append(once("create_events", NOTHING_HEARD))
    machine.steps()
    assert machine.states("errors") == {"flying": 10}
    keep(machine, "saved.db")
    machine.drain()
    put_back(machine, "saved.db")
    machine.drain()
    assert set(details(api, session).values()) == {1}
    assert len(details(api, session)) == 10
    assert machine.states() == {"done": 11}


def test_more_errors_than_the_server_shows(machine: Machine, api: AgentOpsAPI) -> None:
    """Where the server shows only its first thousand errors, those of the backup that it does not show are uncertain,
    and not sent again; those recorded since are sent."""
    session = machine.session()
    for number in range(1100):
        session.record(error(number))
    keep(machine, "saved.db")
    machine.drain()
    put_back(machine, "saved.db")
    session.record(error("at last"))
    machine.drain()
    assert set(details(api, session).values()) == {1}
    assert len(details(api, session)) == 1101
    assert machine.states() == {"done": 1001, "uncertain": 100}


def test_an_end_is_not_taken_back(machines: Machines, api: AgentOpsAPI) -> None:
    """A session that was over on the server stays so, and as it ended there, though the backup is from before its end
    and its process is gone."""
    machine = machines(running=1.0)
    session = machine.session()
    session.record(tool())
    machine.drain()
    keep(machine, "saved.db")
    session.end_session("Success", "well done")
    machine.drain()
    before = api.session(str(session.session_id))
    assert before is not None
    assert before["end_state"] == "Success"
    put_back(machine, "saved.db")
    with closing(sqlite3.connect(machine.file)) as other, other:
        other.execute("UPDATE owners SET started = 'ticks:1'")  # another process had the number
    machine.drain()
    machine.run(10)
    assert api.session(str(session.session_id)) == before
