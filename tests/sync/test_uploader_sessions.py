"""Sessions: how they get there, their tokens, and how their end is told."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest

from agentops_local.session import Session
from agentops_sync.client import Outcome, Request, Verdict
from tests.fakes.agentops_api import AgentOpsAPI
from tests.sync.conftest import Machines
from tests.sync.driving import DAY, HOUR, Machine, error, once, posts, tool


def row(api: AgentOpsAPI, session: Session) -> dict[str, Any]:
    """A session as the server has it."""
    return api.session(str(session.session_id)) or {}


def change(machine: Machine, sql: str) -> None:
    """Writes what no program would."""
    with closing(sqlite3.connect(machine.file)) as connection, connection:
        connection.execute(sql)


# Creation -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["lost_answer", "reset_after", "502_after", "cut_body", "html_200", "502_before"])
def test_an_unclear_creation(machine: Machine, api: AgentOpsAPI, fault: str) -> None:
    """After an unclear creation the server is asked whether the session is there, and what it holds of it; if it is
    not, it is asked once more after the settle time, and then it is created again."""
    api.fault(fault, path="create_session")
    session = machine.session()
    session.record(tool())
    machine.drain()
    assert machine.states() == {"done": 1}
    there = fault not in ("html_200", "502_before")
    again = ["export"] if there else ["reauthorize_jwt", "create_session"]
    update = ["update_session"] if there else []  # its row may be that of another machine
    wanted = ["create_session", "reauthorize_jwt", *again, "create_agent", "create_events", *update]
    assert machine.paths() == wanted
    assert machine.clock.passed == pytest.approx(0 if there else 60, abs=3)
    assert machine.delivery()["created"] == (0 if there else 1)


def test_a_creation_that_was_refused_though_done(machine: Machine, api: AgentOpsAPI) -> None:
    """500 with the session created is found out at once."""

    def refuse(request: Request) -> Outcome | None:
        if request.path != "/v2/create_session":
            return None
        machine._http.send(request)
        return Outcome(Verdict.ANSWERED, 500, {"error": "Internal Server Error"}, "Internal Server Error")

    machine.hooks.append(refuse)
    machine.session().record(tool())
    machine.drain()
    assert machine.states() == {"done": 1}
    assert machine.paths()[:2] == ["create_session", "reauthorize_jwt"]
    assert machine.clock.passed == 0


# Tokens ---------------------------------------------------------------------------------------------------------------


def test_a_token_is_renewed_before_it_ends(machine: Machine, api: AgentOpsAPI) -> None:
    """At 80 % of its life a token is renewed before it is used, so no request meets an expired one."""
    session = machine.session()
    for number in range(6):
        session.record(tool(number))
        machine.drain()
        machine.clock.sleep(0.3 * DAY)
    assert machine.states() == {"done": 6}
    assert Verdict.EXPIRED not in [outcome.verdict for *_, outcome in machine.sent]
    assert machine.paths().count("reauthorize_jwt") == 1


# The end --------------------------------------------------------------------------------------------------------------


def test_the_end_comes_after_the_events(machine: Machine, api: AgentOpsAPI) -> None:
    """The end of a session is told when its events are there, even if it is known when the session is created."""
    session = machine.session()
    for number in range(30):
        session.record(tool(number))
    session.end_session("Success", "all is well")
    api.fault("lost_answer", path="create_events")
    machine.run(30)
    assert row(api, session)["end_timestamp"] is None
    machine.drain()
    assert machine.paths()[-1] == "update_session"
    assert (row(api, session)["end_state"], row(api, session)["end_state_reason"]) == ("Success", "all is well")
    assert machine.delivery()["ended_sent"] == 1


def test_the_end_waits_ten_minutes_at_most(machine: Machine, api: AgentOpsAPI) -> None:
    """Ten minutes after a session has ended its end is told, whatever has become of its events."""
    session = machine.session()
    session.record(error())
    session.end_session("Success")
    api.fault("lost_answer", path="create_events")
    machine.run(590)
    assert row(api, session)["end_timestamp"] is None
    machine.run(20)
    assert row(api, session)["end_state"] == "Success"
    assert machine.states() == {"flying": 1}
    machine.drain()
    assert machine.states() == {"done": 1}


def test_what_changes_after_the_end(machine: Machine, api: AgentOpsAPI) -> None:
    """Tags that are changed after the end, by another process, are sent, and the end stays."""
    session = machine.session(tags=["first"])
    session.end_session("Fail")
    machine.drain()
    session.is_running = True
    session.set_tags(["second"])
    machine.drain()
    assert row(api, session)["tags"] in ('["second"]', ["second"])
    assert row(api, session)["end_state"] == "Fail"
    assert machine.paths().count("update_session") == 2


def test_a_session_that_died(machines: Machines, api: AgentOpsAPI) -> None:
    """A session whose processes have all died is told as ended where its last event was, and indeterminate; events
    that were left are sent first."""
    machine = machines(running=60.0)
    session = machine.session()
    session.record(tool())
    machine.run(10)
    assert row(api, session)["end_timestamp"] is None
    change(machine, "UPDATE owners SET started = 'another process with this pid'")
    machine.run(70)
    assert row(api, session)["end_state"] == "Indeterminate"
    assert "without a word" in row(api, session)["end_state_reason"]
    assert row(api, session)["end_timestamp"] is not None
    before = len(machine.sent)
    machine.run(HOUR)
    assert len(machine.sent) == before


def test_a_session_that_died_and_was_joined_again(machines: Machines, api: AgentOpsAPI) -> None:
    """A session that a process joins after its end was found runs again, there as well; when that process has died too,
    its end is told anew."""
    machine = machines(running=60.0)
    session = machine.session()
    change(machine, "UPDATE owners SET started = 'another process with this pid'")
    machine.run(70)
    assert row(api, session)["end_timestamp"] is not None
    machine.recorder.close()
    machine.session(id=session.session_id).add_tags(["again"])
    change(machine, "UPDATE sessions SET joined = 0")  # it was begun on this machine
    machine.run(70)
    assert row(api, session)["end_timestamp"] is None
    change(machine, "UPDATE owners SET started = 'another process with this pid'")
    machine.run(70)
    assert row(api, session)["end_timestamp"] is not None
    assert "without a word" in row(api, session)["end_state_reason"]


def test_a_session_that_runs_is_not_ended(machines: Machines, api: AgentOpsAPI) -> None:
    """As long as its process lives nobody tells an end."""
    machine = machines(running=60.0, poll=10)
    session = machine.session()
    session.record(tool())
    machine.run(5 * HOUR)
    assert row(api, session)["end_timestamp"] is None
    assert "update_session" not in machine.paths()


def test_an_update_that_is_not_heard_is_repeated(machine: Machine, api: AgentOpsAPI) -> None:
    """What was not heard of an update is sent again until it is."""
    session = machine.session()
    session.end_session("Success")
    for fault in ("lost_answer", "502_before", "html_200"):
        api.fault(fault, path="update_session")
    machine.drain()
    assert row(api, session)["end_state"] == "Success"
    assert len(posts(api, "update_session")) == 4
    assert machine.delivery()["failures"] == 0


def test_agents_of_one_id_are_not_stolen(machine: Machine, api: AgentOpsAPI) -> None:
    """Two sessions with an agent of one id keep an agent each on the server."""
    first, second = machine.session(), machine.session()
    id = "00000000-0000-4000-8000-000000000001"
    for session in (first, second):
        session.create_agent("worker", id)
        session.record(tool(agent_id=id))
    machine.drain()
    assert machine.states() == {"done": 2}
    agents = {agent["id"]: agent for agent in api.store()["agents"] if agent["name"] == "worker"}
    assert {agent["session_id"] for agent in agents.values()} == {str(first.session_id), str(second.session_id)}
    for session in (first, second):
        (event,) = api.events(str(session.session_id), "tools")
        assert agents[event["agent_id"]]["session_id"] == str(session.session_id)
    assert id in agents


def test_an_agent_that_comes_alone(machine: Machine, api: AgentOpsAPI) -> None:
    """An agent, and another name for it, are sent though nothing else of the session is new."""
    session = machine.session()
    machine.drain()
    id = session.create_agent("worker")
    machine.drain()
    assert {agent["id"]: agent["name"] for agent in api.store()["agents"]}[id] == "worker"
    session.create_agent("boss", id)
    machine.drain()
    assert {agent["id"]: agent["name"] for agent in api.store()["agents"]}[id] == "boss"


def test_an_agent_that_fails_is_sent_again(machine: Machine, api: AgentOpsAPI) -> None:
    """An agent of which nothing was heard is sent again, and the events wait for it."""
    machine.hooks.append(once("create_agent", Outcome(Verdict.UNKNOWN), times=3))
    session = machine.session()
    session.record(tool())
    machine.drain()
    assert machine.states() == {"done": 1}
    assert machine.paths() == ["create_session", *["create_agent"] * 4, "create_events"]
