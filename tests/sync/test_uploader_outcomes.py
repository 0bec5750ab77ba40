"""The table of what follows from each answer to a request with events, row by row."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from agentops_sync.client import Outcome, Request, Verdict
from tests.fakes.agentops_api import AgentOpsAPI
from tests.sync.conftest import Machines
from tests.sync.driving import NO_CONNECTION, NOTHING_HEARD, Machine, error, ids_there, once, posts, tool


def sent(machine: Machine, *events: Any) -> Any:
    """A session whose events have been sent once, whatever came back."""
    session = machine.session()
    for event in events or (tool(),):
        session.record(event)
    machine.steps(3)  # created, its agent, its events
    return session


@pytest.mark.parametrize("kind", ["tools", "errors"])
def test_success(machine: Machine, api: AgentOpsAPI, kind: str) -> None:
    """200 and the word "Success": the events are done, the batch is ok, nothing is left to tell."""
    session = sent(machine, error() if kind == "errors" else tool())
    assert machine.states() == {"done": 1}
    assert machine.batches() == [(kind, "ok", 1)]
    assert machine.rows("SELECT * FROM attempts") == []
    assert machine.value("SELECT accepted FROM targets") == 1
    assert len(ids_there(api, session, kind)) == 1


@pytest.mark.parametrize("body", ['"success"', "true", "null", "{}", '["Success"]', '{"message": "Success"}'])
def test_success_is_one_word(machine: Machine, body: str) -> None:
    """200 with any other JSON is no success: the events stay in flight until they are looked for."""
    machine.hooks.append(once("create_events", Outcome(Verdict.OK, 200, json.loads(body))))
    sent(machine)
    assert machine.states() == {"flying": 1}
    assert machine.batches() == [("tools", "sent", 1)]


def test_not_sent(machine: Machine) -> None:
    """No connection: the batch is void, the events pending, and the whole server waits."""
    machine.hooks.append(once("create_events", NO_CONNECTION))
    sent(machine)
    assert machine.states() == {"pending": 1}
    assert machine.batches() == [("tools", "void", 1)]
    assert machine.rows("SELECT * FROM attempts") == []
    assert machine.uploader.host.failures == 1
    assert machine.row("SELECT failures, last_error FROM targets") == {
        "failures": 1,
        "last_error": "not sent: no connection",
    }


def test_expired(machine: Machine, api: AgentOpsAPI) -> None:
    """401 "Expired Token": void, a new token, and the events again, at once."""
    session = machine.session()
    session.record(tool())
    machine.steps(2)
    machine.clock.sleep(60)
    api.expire_tokens()
    machine.drain()
    assert machine.batches() == [("tools", "void", 1), ("tools", "ok", 1)]
    assert machine.paths()[2:5] == ["create_events", "reauthorize_jwt", "create_events"]
    assert len({at for at, *_ in machine.sent[2:5]}) == 1
    assert len(ids_there(api, session, "tools")) == 1


def test_too_large(machine: Machine, api: AgentOpsAPI) -> None:
    """413: void, and the halves are sent, and theirs, at once; the order is kept."""
    api.fault("413", path="create_events", above=2500, times=None)
    session = machine.session()
    events = [tool(number) for number in range(25)]
    for event in events:
        session.record(event)
    machine.drain()
    assert machine.states() == {"done": 25}
    assert ids_there(api, session, "tools") == [str(event.id) for event in events]
    assert {state for _, state, _ in machine.batches()} == {"void", "ok"}
    assert machine.clock.passed < 1
    assert machine.rows("SELECT * FROM attempts") == []


def test_too_large_alone(machine: Machine, api: AgentOpsAPI) -> None:
    """413 for a single event: it is given up with the server's words, and the others are done."""
    api.fault("413", path="create_events", above=5000, times=None)
    session = machine.session()
    large = tool("large", returns="x" * 6000)
    for event in (tool(1), large, tool(2)):
        session.record(event)
    machine.drain()
    assert machine.states() == {"done": 2, "dead": 1}
    dead = machine.row("SELECT hex(e.id) AS id, reason, words FROM dead_letters d JOIN events e ON e.seq = d.event")
    assert dead["id"] == large.id.hex.upper()
    assert dead["reason"] == "too large for the server"
    assert "413" in dead["words"]
    assert machine.delivery()["work"] == 0


@pytest.mark.parametrize(("header", "seconds"), [("90", 90), ("3600", 3600), ("1e9", None), ("999999", 3600)])
def test_slow_down(machine: Machine, api: AgentOpsAPI, header: str, seconds: int | None) -> None:
    """429: void, and nobody is asked anything for as long as the server says, one hour at most."""
    other = machine.session()
    other.record(tool())
    session = machine.session()
    session.record(tool())
    api.fault("429", path="create_events", retry_after=header)
    machine.drain()
    assert machine.states() == {"done": 2}
    assert sorted(machine.batches()) == [("tools", "ok", 1)] * 2 + [("tools", "void", 1)]
    times = [at for at, *_ in machine.sent]
    pause = max(after - before for before, after in itertools.pairwise(times))
    assert pause == pytest.approx(seconds, abs=1) if seconds else pause <= 1


def test_slow_down_by_a_date(machine: Machine) -> None:
    """429 with a date, which the client has made seconds of, is waited for as well; a fraction is kept."""
    machine.hooks.append(once("create_events", Outcome(Verdict.SLOW_DOWN, 429, retry_after=12.5)))
    sent(machine)
    machine.drain()
    assert machine.sent[3][0] - machine.sent[2][0] == pytest.approx(12.5, abs=1.01)


def test_the_token_was_missing(machine: Machine) -> None:
    """400 "Bearer Token is Missing" is a fault of ours: the session is parked and its events stay pending."""
    words = "Error posting event: Bearer Token is Missing"
    machine.hooks.append(once("create_events", Outcome(Verdict.ANSWERED, 400, {"message": words}, words)))
    sent(machine)
    machine.drain()
    assert machine.states() == {"pending": 1}
    assert machine.batches() == [("tools", "void", 1)]
    assert machine.delivery()["state"] == "parked"
    assert "report" in machine.delivery()["reason"]


@pytest.mark.parametrize("status", [400, 500])
@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("kind", ["tools", "errors"])
def test_refused(machine: Machine, api: AgentOpsAPI, status: int, there: bool, kind: str) -> None:
    """400 and 500 in the server's own words say nothing: it is looked at once, and what is not there goes again."""

    def refuse(request: Request) -> Outcome | None:
        if request.path != "/v2/create_events" or any("create_events" in one.path for one in api.requests):
            return None
        if there:
            assert machine._http.send(request).verdict is Verdict.OK
        machine.hooks.clear()
        return Outcome(Verdict.ANSWERED, status, {}, "what it says")

    machine.hooks.append(refuse)
    session = machine.session()
    for number in range(3):
        session.record(error(number) if kind == "errors" else tool(number))
    machine.steps(3)
    assert machine.states() == {"flying": 3}
    assert machine.row("SELECT state, manner, outcome FROM batches") == {
        "state": "sent",
        "manner": str(status),
        "outcome": f"refused ({status}): what it says",
    }
    machine.drain()
    assert machine.clock.passed < 1
    assert machine.states() == {"done": 3}
    assert machine.batches() == [(kind, "settled", 3)] + [(kind, "ok", 3)] * (not there)
    assert len(ids_there(api, session, kind)) == 3
    assert machine.paths()[3] == "export"


@pytest.mark.parametrize(
    "fault",
    [
        "reset_before", "reset_after", "lost_answer", "hang", "502_before", "502_after", "html_200", "cut_body",
        {"fault": "502_after", "status": 503}, {"fault": "502_before", "status": 504},
        {"fault": "redirect", "location": "http://127.0.0.1:9/"},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("kind", ["tools", "errors"])
def test_unclear(machine: Machine, api: AgentOpsAPI, fault: Any, kind: str) -> None:
    """Anything else is unclear: the events fly until the server has had its time, then they are looked for."""
    api.faults({**({"fault": fault} if isinstance(fault, str) else fault), "path": "create_events"})
    events = [error(number) if kind == "errors" else tool(number) for number in range(3)]
    session = sent(machine, *events)
    there = len(ids_there(api, session, kind))
    assert there in (0, 3)
    assert machine.states() == {"flying": 3}
    assert machine.batches() == [(kind, "sent", 3)]
    assert machine.value("SELECT manner FROM batches") is None
    machine.drain()
    assert machine.states() == {"done": 3}
    assert machine.batches() == [(kind, "settled", 3)] + [(kind, "ok", 3)] * (there == 0)
    assert len(ids_there(api, session, kind)) == 3
    export = next(at for at, request, _ in machine.sent if request.path.endswith("export"))
    assert export == pytest.approx(900 if kind == "errors" else 60, abs=1.1)


def test_one_after_the_other(machine: Machine, api: AgentOpsAPI) -> None:
    """Any number of unclear answers in a row loses nothing and doubles nothing."""
    for fault in ("lost_answer", "502_before", "html_200", "cut_body", "reset_before", "reset_after"):
        api.fault(fault, path="create_events")
    session = machine.session()
    for number in range(60):
        session.record(tool(number))
        session.record(error(number))
    machine.drain()
    assert machine.states() == {"done": 120}
    for kind in ("tools", "errors"):
        assert len(ids_there(api, session, kind)) == len(set(ids_there(api, session, kind))) == 60


def test_the_host_is_reached_again(machines: Machines, api: AgentOpsAPI) -> None:
    """The first answer after failures, whatever it says, ends the pause of the whole server."""
    machine = machines()
    machine.hooks.append(once("create_session", NO_CONNECTION, times=5))
    machine.session().record(tool())
    machine.run(120)
    assert machine.uploader.host.failures == 0
    assert machine.row("SELECT failures, retry_us, last_error FROM targets") == {
        "failures": 0,
        "retry_us": 0,
        "last_error": None,
    }
    assert machine.states() == {"done": 1}
    assert len(posts(api, "create_session")) == 1


def test_a_failure_of_reading_is_no_answer(machine: Machine, api: AgentOpsAPI) -> None:
    """While the export does not come the events stay in flight; when it comes they are settled."""
    api.fault("lost_answer", path="create_events")
    machine.hooks.append(once("export", NOTHING_HEARD, times=4))
    session = sent(machine)
    machine.drain()
    assert machine.states() == {"done": 1}
    assert machine.paths().count("export") == 5
    assert len(ids_there(api, session, "tools")) == 1
    assert len(posts(api, "create_events")) == 1
