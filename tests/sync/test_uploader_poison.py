"""Events that the server does not take, one by one or as a kind."""

from __future__ import annotations

from typing import Any

import pytest

from agentops_local.session import Session
from agentops_sync.client import Outcome, Request, Verdict
from agentops_sync.requeue import requeue
from tests.fakes.agentops_api import AgentOpsAPI
from tests.sync.conftest import Machines
from tests.sync.driving import DAY, HOUR, MAKERS, Machine, action, error, ids_there, llm, posts, tool


def chatter(machine: Machine, every: float, times: int) -> Session:
    """A session that records something now and then."""
    session = machine.session()
    for number in range(times):
        machine.clock.after(every * (number + 1), lambda: session.record(tool("chatter")))
    return session


def dead(machine: Machine) -> list[dict[str, Any]]:
    """The dead letters, with the ids of their events."""
    return machine.rows(
        "SELECT lower(hex(e.id)) AS id, d.reason, d.words, d.at_us FROM dead_letters d JOIN events e ON e.seq = d.event"
    )


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize(("status", "code"), [(500, ""), (400, "22P02"), (400, "23514")])
def test_one_in_a_batch(machines: Machines, api: AgentOpsAPI, kind: str, status: int, code: str) -> None:
    """Of a batch with one poisoned event every other event is done, once; that one ends dead, with the server's
    words."""
    machine = machines(poll=30)
    api.poison(f"{kind} poison", status, code)
    session = machine.session()
    events = [MAKERS[kind](f"{kind} poison" if number == 11 else number) for number in range(25)]
    for event in events:
        session.record(event)
    chatter(machine, 1800, 10)
    machine.run(6 * HOUR)
    assert machine.states(kind)["dead"] == 1
    assert machine.states() == {"done": 34, "dead": 1}
    there = ids_there(api, session, kind)
    wanted = [event.details if kind == "errors" else str(event.id) for event in events if event is not events[11]]
    assert sorted(there) == sorted(wanted)
    (letter,) = dead(machine)
    assert letter["id"] == events[11].id.hex
    assert str(status) in letter["words"]
    assert code in letter["reason"]
    assert machine.rows("SELECT * FROM attempts") == []


@pytest.mark.parametrize("code", ["22P02", "22003", "22P05", "23502", "23514"])
def test_what_the_store_refuses_alone_dies_at_once(machine: Machine, api: AgentOpsAPI, code: str) -> None:
    """A single event that is refused with an SQLSTATE of class 22 or 23 is dead at once."""
    api.poison("poison", 400, code)
    machine.session().record(tool("poison"))
    machine.steps(9)
    assert machine.states() == {"dead": 1}
    assert len(posts(api, "create_events")) == 1
    assert machine.clock.passed == 0
    assert code in dead(machine)[0]["reason"]
    assert "poison" in dead(machine)[0]["words"]


@pytest.mark.parametrize("words", ["{'code': '42501'}", "PGRST116", "out of memory", "40001"])
def test_other_refusals_do_not_kill(machines: Machines, words: str) -> None:
    """A refusal with any other code, or with none, is no reason to give an event up."""
    machine = machines(poll=60)
    machine.hooks.append(
        lambda request: Outcome(Verdict.ANSWERED, 400, {}, words) if request.path == "/v2/create_events" else None
    )
    machine.session().record(tool())
    machine.drain()
    assert machine.states() == {"pending": 1}
    machine.hooks.clear()
    machine.drain(4 * DAY)
    assert machine.states() == {"done": 1}


def test_an_agent_that_is_not_there(machine: Machine, api: AgentOpsAPI) -> None:
    """A refusal because the agent is not there (23503) has the agent made again, and the event is done."""
    session = machine.session()
    session.record(tool(1))
    machine.drain()
    api.api.store.agents.clear()
    session.record(tool(2))
    session.record(tool(3))
    machine.drain()
    assert machine.states() == {"done": 3}
    assert len(ids_there(api, session, "tools")) == 3
    assert len(posts(api, "create_agent")) == 2
    assert dead(machine) == []


def test_alone_and_refused_is_not_enough(machines: Machines, api: AgentOpsAPI) -> None:
    """However often an event is refused with 500, it is not given up while the server accepts nothing else."""
    machine = machines(poll=60)
    api.poison("poison")
    machine.session().record(tool("poison"))
    machine.run(5 * DAY)
    assert len(posts(api, "create_events")) > 5
    assert machine.states() == {"pending": 1}
    chatter(machine, HOUR, 1)
    machine.run(2 * DAY)
    assert machine.states() == {"done": 1, "dead": 1}


def test_five_times_over_an_hour(machines: Machines, api: AgentOpsAPI) -> None:
    """An event is given up after five refusals alone, in the same way, over an hour at least."""
    machine = machines(poll=10)
    api.poison("poison")
    machine.session().record(tool("poison"))
    chatter(machine, 600, 30)
    machine.run(5 * HOUR)
    assert machine.states("tools")["dead"] == 1
    (letter,) = dead(machine)
    refused = [at for at, request, _ in machine.sent if b"poison" in (request.body or b"")]
    assert len(refused) == 5
    assert refused[-1] - refused[0] >= HOUR
    assert "5 times" in letter["reason"]


def test_a_fault_that_passes_kills_nothing(machines: Machines, api: AgentOpsAPI) -> None:
    """An event that is refused for half an hour, and then accepted, is done like any other."""
    machine = machines(poll=10)
    api.poison("poison")
    session = machine.session()
    session.record(tool("poison"))
    chatter(machine, 60, 60)
    machine.clock.after(1800, api.api.poisons.clear)
    machine.drain(DAY)
    assert dead(machine) == []
    assert len(ids_there(api, session, "tools")) == 1


def test_another_manner_counts_anew(machines: Machines, api: AgentOpsAPI) -> None:
    """Refusals in different ways are not alike: the count begins anew."""
    machine = machines(poll=60)
    answers = iter([Outcome(Verdict.ANSWERED, status, {}, "no") for status in (500, 500, 500, 500, 400, 500, 400)])

    def refuse(request: Request) -> Outcome | None:
        return next(answers, None) if b"poison" in (request.body or b"") else None

    machine.hooks.append(refuse)
    machine.session().record(tool("poison"))
    chatter(machine, HOUR, 96)
    machine.run(4 * DAY)
    assert dead(machine) == []
    assert machine.states().keys() == {"done"}


def test_an_id_of_another_session(machine: Machine, api: AgentOpsAPI) -> None:
    """An id that the server knows from another session proves nothing: the event is dead for that reason, never
    done."""
    first, second = machine.session(), machine.session()
    event = tool("same")
    first.record(event)
    machine.drain()
    twin = tool("same", id=event.id)
    second.record(twin)
    for number in range(4):
        second.record(tool(number))
    machine.drain()
    assert machine.states() == {"done": 5, "dead": 1}
    (letter,) = dead(machine)
    assert letter["id"] == event.id.hex
    assert "another session" in letter["reason"]
    assert len(ids_there(api, first, "tools")) == 1
    assert len(ids_there(api, second, "tools")) == 4


def test_a_dead_letter_can_be_revived(machine: Machine, api: AgentOpsAPI) -> None:
    """A dead letter is sent again when somebody says so, with a clean slate."""
    api.poison("poison", 400, "22P02")
    session = machine.session()
    session.record(tool("poison"))
    machine.drain()
    assert machine.states() == {"dead": 1}
    api.api.poisons.clear()
    machine.drain()
    assert machine.states() == {"dead": 1}
    assert requeue(machine.uploader.ledger).dead == 1
    assert dead(machine) == []
    machine.drain()
    assert machine.states() == {"done": 1}
    assert len(ids_there(api, session, "tools")) == 1


# Kinds --------------------------------------------------------------------------------------------------------------


def test_a_kind_that_the_server_cannot_take(machines: Machines, api: AgentOpsAPI) -> None:
    """A kind of which single events fail while others succeed is parked as a whole: nothing dies, everything else is
    done, and one event a day finds out whether the server has been mended."""
    machine = machines(poll=60)
    api.actions_work = False
    sessions = [machine.session() for _ in range(3)]
    for number in range(40):
        for session in sessions:
            for make in (tool, action, error, llm):
                session.record(make(number))
    for session in sessions:
        session.end_session("Success")
    machine.run(DAY / 2)
    assert machine.states("actions") == {"pending": 120}
    assert machine.states() == {"done": 360, "pending": 120}
    (parked,) = machine.rows("SELECT what, name, reason FROM parked")
    assert (parked["what"], parked["name"]) == ("kind", "actions")
    assert "500" in parked["reason"]
    assert all((api.session(str(session.session_id)) or {})["end_state"] == "Success" for session in sessions)
    before = len(machine.sent)
    machine.run(3 * DAY)
    canaries = [at for at, request, _ in machine.sent[before:] if request.path == "/v2/create_events"]
    assert len(canaries) == 3
    assert canaries[1] - canaries[0] == pytest.approx(DAY, rel=0.01)
    assert machine.states("actions") == {"pending": 120}
    assert dead(machine) == []
    api.actions_work = True
    machine.run(1.1 * DAY)
    assert machine.states() == {"done": 480}
    assert machine.rows("SELECT * FROM parked") == []
    assert all(len(ids_there(api, session, "actions")) == 40 for session in sessions)


def test_a_kind_is_not_parked_while_nothing_succeeds(machines: Machines, api: AgentOpsAPI) -> None:
    """A server that takes nothing at all has no kind that is worse than the others."""
    machine = machines(poll=60)
    api.poison("")  # everything
    session = machine.session()
    for number in range(5):
        session.record(tool(number))
        session.record(llm(number))
    machine.run(2 * DAY)
    assert machine.rows("SELECT * FROM parked") == []
    assert machine.states() == {"pending": 10}
    api.api.poisons.clear()
    machine.drain(2 * DAY)
    assert machine.states() == {"done": 10}


def test_a_kind_that_succeeds_is_not_parked(machines: Machines, api: AgentOpsAPI) -> None:
    """Some poisoned events do not park a kind of which the server took others today."""
    machine = machines(poll=30)
    api.poison("poison")
    session = machine.session()
    for number in range(20):
        session.record(tool(f"poison {number}" if number % 4 == 0 else number))
        session.record(llm(number))
    chatter(machine, 600, 40)
    for number in range(8 * 60):
        machine.clock.after(60 * number, lambda: machine.rows("SELECT * FROM parked") and pytest.fail("parked"))
    machine.run(8 * HOUR)
    assert machine.states() == {"done": 75, "dead": 5}
    assert machine.states("llms") == {"done": 20}


def test_new_events_of_a_parked_kind_wait_too(machines: Machines, api: AgentOpsAPI) -> None:
    """Events that come while their kind is parked are not tried, and keep nothing else waiting."""
    machine = machines(poll=10)
    api.actions_work = False
    session = machine.session()
    for number in range(5):
        session.record(action(number))
        session.record(tool(number))
    machine.run(2 * HOUR)
    assert len(machine.rows("SELECT * FROM parked")) == 1
    before = len(machine.sent)
    session.record(action("new"))
    session.record(tool("new"))
    machine.run(HOUR)
    assert machine.paths(before) == ["create_events"]
    assert machine.states() == {"done": 6, "pending": 6}
    api.actions_work = True
    assert requeue(machine.uploader.ledger).parked == 1
    machine.drain()
    assert machine.states() == {"done": 12}
