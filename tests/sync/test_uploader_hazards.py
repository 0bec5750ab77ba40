"""Policies that are being saved, exports that are cut or lack something, and servers that are ill."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from agentops_sync.client import Outcome, Request, Verdict
from agentops_sync.deliveries import Delivery
from agentops_sync.verify import KINDS, Unanswered, Verifier
from tests.fakes.agentops_api import AgentOpsAPI
from tests.sync.conftest import Machines
from tests.sync.driving import (
    DAY,
    HOUR,
    MAKERS,
    Hook,
    Machine,
    action,
    error,
    ids_there,
    llm,
    once,
    tool,
)

NEVER = '[[upload.rule]]\ntag = "private"\npolicy = "never"\n'
FAILED = Outcome(Verdict.ANSWERED, 500, {"error": "Internal Server Error"}, "Internal Server Error")
REFUSED = Outcome(Verdict.ANSWERED, 400, {"message": "nonsense"}, "Error posting event: nonsense")
TOO_LARGE = Outcome(Verdict.TOO_LARGE, 413)
EXPIRED = Outcome(Verdict.EXPIRED, 401, {"message": "Expired Token"}, "Expired Token")


def policy_of(machine: Machine) -> Path:
    """The file with the policy of a machine."""
    machine.file.parent.mkdir(mode=0o700, exist_ok=True)
    return machine.file.with_name("sync.toml")


def no_more_than(requests: int) -> Hook:
    """Ends a test that would go on for ever."""
    left = iter(range(requests))

    def hook(request: Request) -> None:
        if next(left, None) is None:
            pytest.fail(f"more than {requests} requests, the last one {request.path}")

    return hook


# Policies ------------------------------------------------------------------------------------------------------------


def empty(file: Path) -> None:
    """What an editor does that writes a file anew."""
    file.write_text("")


def put_away(file: Path) -> None:
    """What an editor does that keeps the file as it was."""
    file.rename(f"{file}~")


@pytest.mark.parametrize(("first", "seconds"), [(empty, 1.5), (put_away, 1.5), (put_away, 50.0)])
def test_a_policy_that_is_being_saved(machine: Machine, first: Callable[[Path], None], seconds: float) -> None:
    """While the file with the policies is emptied, or renamed away, and written anew nothing leaves that it keeps."""
    policy_of(machine).write_text(NEVER)
    session = machine.session(tags=["private"])
    session.record(llm(1))
    machine.drain()
    machine.clock.after(10, lambda: first(policy_of(machine)))
    machine.clock.after(10, lambda: session.record(llm(2)))
    machine.clock.after(10 + seconds, lambda: policy_of(machine).write_text(NEVER + "# saved\n"))
    machine.run(10 * 60)
    assert machine.sent == []
    assert machine.states() == {"pending": 2}


def test_a_policy_that_is_gone_for_good(machine: Machine) -> None:
    """That there is no policy any more counts after a minute, and not before."""
    policy_of(machine).write_text(NEVER)
    machine.session(tags=["private"]).record(llm())
    machine.drain()
    policy_of(machine).unlink()
    machine.run(59)
    assert machine.sent == []
    machine.run(10)
    assert machine.states() == {"done": 1}


def test_a_policy_that_comes_while_a_token_is_fetched(machine: Machine, api: AgentOpsAPI) -> None:
    """A stricter policy that is loaded while a token is on its way holds for the events that it was fetched for."""
    session = machine.session(tags=["private"])
    session.record(tool())
    machine.drain()
    machine.stop()
    session.record(llm("secret"))

    def edit(request: Request) -> None:
        if request.path.endswith("reauthorize_jwt") and not policy_of(machine).exists():
            policy_of(machine).write_text(NEVER)
            for _ in range(2):  # another thread's looks
                machine.uploader.refresh()
                machine.clock.sleep(5)

    machine.hooks.append(edit)
    machine.run(60)
    assert policy_of(machine).exists()
    assert machine.states() == {"done": 1, "pending": 1}
    assert ids_there(api, session, "llms") == []


def test_a_policy_that_is_loosened_while_it_is_applied(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session with new work since it was found to be withheld is looked at again."""
    policy_of(machine).write_text(NEVER)
    machine.session(tags=["private"]).record(llm())
    uploader = machine.uploader
    withhold = uploader.deliveries.withhold

    def loosened(delivery: Delivery, reason: str) -> None:
        policy_of(machine).write_text('[upload]\npolicy = "full"\n')
        for _ in range(2):  # another thread's looks
            uploader.refresh()
            machine.clock.sleep(5)
        withhold(delivery, reason)

    with monkeypatch.context() as patch:
        patch.setattr(uploader.deliveries, "withhold", loosened)
        machine.steps()
    machine.run(60)
    assert machine.states() == {"done": 1}


# Exports -------------------------------------------------------------------------------------------------------------


class Meanwhile:
    """A transport of a verifier, beside which a machine goes on when an export is taken."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def send(self, request: Request) -> Outcome:
        """Carries a request."""
        outcome = self._machine.send(request)
        if request.path.endswith("export"):
            self._machine.drain()
        return outcome


def test_what_is_sent_after_the_export_is_not_missing(machine: Machine, api: AgentOpsAPI) -> None:
    """Events that are sent while a session is compared are not missing: none is doubled by a repair."""
    session = machine.session()
    session.record(tool())
    machine.drain()
    for number in range(3):
        session.record(error(number))
        session.record(tool(number))
    uploader = machine.uploader
    verifier = Verifier(uploader.ledger, Meanwhile(machine), uploader.authorities, machine.timing)
    found = verifier.verify(1)
    assert (found.missing, found.unseen) == ([], [])
    assert verifier.repair(1, found) == 0
    machine.drain()
    assert len(ids_there(api, session, "errors")) == 3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("instead", [{}, None, "none"])
def test_an_export_without_a_list_proves_nothing(machine: Machine, kind: str, instead: object) -> None:
    """An export that lacks the list of a kind does not tell that its events are missing: there is no comparison."""
    session = machine.session()
    for make in MAKERS.values():
        session.record(make(0))
    machine.drain()
    lists: dict[str, Any] = {one: [] for one in KINDS}
    lists[kind] = instead
    machine.hooks.append(once("export", Outcome(Verdict.OK, 200, lists)))
    uploader = machine.uploader
    with pytest.raises(Unanswered, match=kind):
        Verifier(uploader.ledger, machine, uploader.authorities, machine.timing).verify(1)


@pytest.mark.parametrize(("errors", "lost"), [(120, 2), (120, 5), (130, 5), (400, 3), (400, 9)])
def test_an_export_that_is_cut(machine: Machine, api: AgentOpsAPI, errors: int, lost: int) -> None:
    """An export that is cut, at whatever number, doubles no error of which the answer was lost, and leaves none out."""
    api.settings.export_limit = 100
    session = machine.session()
    for number in range(errors):
        session.record(error(number))
    api.fault("lost_answer", path="create_events", nth=lost)
    machine.drain()
    there = ids_there(api, session, "errors")
    assert len(there) == len(set(there)) == errors
    assert set(machine.states()) <= {"done", "uncertain"}


# What the server refuses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refusal", [FAILED, REFUSED], ids=["500", "400"])
def test_canaries_kill_nothing(machines: Machines, api: AgentOpsAPI, refusal: Outcome) -> None:
    """Of a kind that is parked one event a day is tried, over all sessions and however it is refused; none dies of it,
    and all go when the kind is taken."""
    machine = machines(poll=900.0)
    api.actions_work = False
    sessions = [machine.session() for _ in range(4)]
    for session in sessions:
        session.record(action(0))
        session.record(action(1))
        session.record(tool())
    machine.run(HOUR)
    assert machine.column("SELECT name FROM parked") == ["actions"]

    def refuse(request: Request) -> Outcome | None:
        return refusal if b'"actions"' in (request.body or b"") else None

    machine.hooks += [no_more_than(500), refuse]
    for number in range(40):
        machine.clock.after(number * DAY / 4, lambda: sessions[0].record(tool("chatter")))
    begun = machine.clock.passed
    machine.run(10 * DAY)
    canaries = [at - begun for at, request, _ in machine.sent if refuse(request) and at > begun]
    assert 8 <= len(canaries) <= 11
    assert all(later - earlier > 0.99 * DAY for earlier, later in pairwise(canaries))
    assert machine.states("actions") == {"pending": 8}
    machine.hooks.clear()
    api.actions_work = True
    machine.run(1.1 * DAY)
    assert set(machine.states()) == {"done"}


@pytest.mark.parametrize(("others", "lasts"), [(True, 20 * 60.0), (False, 3 * HOUR)])
def test_a_server_that_is_ill_is_no_conflict(machines: Machines, others: bool, lasts: float) -> None:
    """A session is not in conflict because its creation is refused for minutes, nor for hours in which nothing else was
    accepted either."""
    machine = machines(poll=30.0)
    other = machine.session()
    if others:
        other.record(tool())
        machine.run(1)
    else:
        machine.hooks.append(once("create_session", FAILED, 10**6))
    session = machine.session()
    refuses = str(session.session_id).encode()
    machine.hooks.append(
        lambda request: FAILED if request.path.endswith("session") and refuses in (request.body or b"") else None
    )
    session.record(tool())
    for minute in range(1, 20 * others):
        machine.clock.after(60.0 * minute, lambda: other.record(tool("chatter")))
    machine.run(lasts)
    assert machine.delivery(session)["rounds"] > 3
    assert machine.delivery(session)["state"] != "conflict"
    machine.hooks.clear()
    machine.run(HOUR)
    assert set(machine.states()) == {"done"}


@pytest.mark.parametrize("refusal", [FAILED, REFUSED, TOO_LARGE], ids=["500", "400", "413"])
def test_an_agent_that_is_refused(machines: Machines, refusal: Outcome) -> None:
    """An agent that the server refuses holds back what needs it, and nothing else; and that no longer than it must."""
    machine = machines(poll=60.0)
    session = machine.session()
    for make in MAKERS.values():
        session.record(make(0))
    machine.hooks += [no_more_than(1000), once("create_agent", refusal, 10**6)]
    machine.run(6 * HOUR)
    assert machine.states("llms") == machine.states("errors") == {"done": 1}
    assert machine.states("tools") == machine.states("actions") == {"pending": 1}
    machine.hooks.clear()
    machine.run(HOUR)
    assert machine.states() == {"done": 4}


@pytest.mark.parametrize("path", ["reauthorize_jwt", "export"])
def test_expired_token_where_there_is_none(machine: Machine, api: AgentOpsAPI, path: str) -> None:
    """A server that calls a token expired where none was shown to it is asked again after pauses."""
    session = machine.session()
    session.record(tool())
    machine.drain()
    machine.stop()
    session.record(tool())
    machine.hooks += [once(path, EXPIRED, 10**6), once("create_events", FAILED), no_more_than(50)]
    machine.run(60)
    machine.hooks.clear()
    machine.drain(DAY)
    assert machine.states() == {"done": 2}


@pytest.mark.parametrize("token", ["leaked\ntoken", "leaked€", "leaked\x85\n"])
def test_a_token_that_cannot_be_shown(
    machine: Machine, api: AgentOpsAPI, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A token that cannot stand in a header touches the session that it was given to; nothing quotes it."""
    given = Outcome(Verdict.OK, 200, {"jwt": token, "session_url": "http://localhost"})
    session, other = machine.session(), machine.session()

    def give(request: Request) -> Outcome | None:
        asks = request.path.endswith(("create_session", "reauthorize_jwt"))
        return given if asks and str(session.session_id).encode() in (request.body or b"") else None

    session.record(llm())
    machine.drain()
    machine.stop()
    machine.hooks += [no_more_than(100), give]
    session.record(llm())
    other.record(tool())
    machine.run(300)
    assert machine.states() == {"done": 2, "pending": 1}
    assert {state for _, state, _ in machine.batches()} == {"ok", "void"}
    assert len(ids_there(api, other, "tools")) == 1
    assert machine.uploader.host.failures == 0
    assert machine.delivery(session)["failures"] > 0
    assert b"leaked" not in machine.text()
    assert "leaked" not in caplog.text
