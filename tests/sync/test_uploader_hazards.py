"""What may happen at the worst of moments: files that are being saved, clocks that are set, answers that make no sense,
bugs of our own."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import filelock
import pytest

from agentops_local.analytics.uploading import lock_file
from agentops_local.recorder.recorder import Recorder
from agentops_sync.client import Outcome, Request, Verdict
from agentops_sync.daemon import Daemon, Lane
from agentops_sync.deliveries import Delivery
from agentops_sync.instance import AnotherRuns, Settings, serving
from agentops_sync.timing import SystemClock
from agentops_sync.verify import KINDS, Unanswered, Verifier
from tests.fakes.agentops_api import AgentOpsAPI
from tests.sync.conftest import Machines
from tests.sync.driving import (
    DAY,
    HOUR,
    MAKERS,
    NO_CONNECTION,
    Hook,
    Machine,
    VirtualClock,
    action,
    error,
    ids_there,
    llm,
    once,
    tool,
)

T = TypeVar("T")

NEVER = '[[upload.rule]]\ntag = "private"\npolicy = "never"\n'
YEARS = 10 * 365 * DAY
FAILED = Outcome(Verdict.ANSWERED, 500, {"error": "Internal Server Error"}, "Internal Server Error")
REFUSED = Outcome(Verdict.ANSWERED, 400, {"message": "nonsense"}, "Error posting event: nonsense")
TOO_LARGE = Outcome(Verdict.TOO_LARGE, 413)
EXPIRED = Outcome(Verdict.EXPIRED, 401, {"message": "Expired Token"}, "Expired Token")


def policy_of(machine: Machine) -> Path:
    """The file with the policy of a machine."""
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
    uploader = machine.uploader
    verifier = Verifier(uploader.ledger, Meanwhile(machine), uploader.authorities, machine.timing)
    found = verifier.verify(1)
    assert found.missing == []
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
    lists: dict[str, Any] = dict.fromkeys(KINDS, [])
    machine.hooks.append(once("export", Outcome(Verdict.OK, 200, {**lists, kind: instead})))
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
    machine = machines(poll=60.0)
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
    assert all(later - earlier > 0.99 * DAY for earlier, later in zip(canaries, canaries[1:], strict=False))
    assert machine.states("actions") == {"pending": 8}
    machine.hooks.clear()
    api.actions_work = True
    machine.run(1.1 * DAY)
    assert set(machine.states()) == {"done"}


@pytest.mark.parametrize("others", [True, False])
def test_a_server_that_is_ill_is_no_conflict(machines: Machines, others: bool) -> None:
    """A session is not in conflict because its creation is refused for minutes, nor for hours in which nothing else was
    accepted either."""
    machine = machines(longest=60.0)
    other, session = machine.session(), machine.session()
    other.record(tool())
    machine.steps(3) if others else other.end_session()
    session.record(tool())
    machine.hooks.append(once("create_session", FAILED, 10**6))
    lasts = 20 * 60.0 if others else 5 * HOUR
    for minute in range(1, 20 * others):
        machine.clock.after(60.0 * minute, lambda: other.record(tool("chatter")))
    machine.run(lasts)
    assert machine.delivery(session)["rounds"] > 3
    assert machine.delivery(session)["state"] == "absent"
    machine.hooks.clear()
    machine.run(HOUR)
    assert set(machine.states()) == {"done"}


@pytest.mark.parametrize("refusal", [FAILED, REFUSED, TOO_LARGE], ids=["500", "400", "413"])
def test_an_agent_that_is_refused(machines: Machines, refusal: Outcome) -> None:
    """An agent that the server refuses holds back what needs it, and nothing else; and that no longer than it must."""
    machine = machines(poll=10.0)
    session = machine.session()
    for make in MAKERS.values():
        session.record(make(0))
    machine.hooks += [no_more_than(1000), once("create_agent", refusal, 10**6)]
    machine.run(2 * DAY)
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


@pytest.mark.parametrize("token", ["secret\ntoken", "secret€", "secret\x85\n"])
def test_a_token_that_cannot_be_shown(
    machine: Machine, api: AgentOpsAPI, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A token that cannot stand in a header touches the session that it was given to; nothing quotes it."""
    given = Outcome(Verdict.OK, 200, {"jwt": token, "session_url": "http://localhost"})
    session, other = machine.session(), machine.session()

    def give(request: Request) -> Outcome | None:
        asks = request.path.endswith(("create_session", "reauthorize_jwt"))
        return given if asks and str(session.session_id).encode() in (request.body or b"") else None

    machine.hooks += [no_more_than(100), give]
    session.record(tool())
    other.record(tool())
    machine.run(300)
    assert machine.states() == {"done": 1, "pending": 1}
    assert len(ids_there(api, other, "tools")) == 1
    assert machine.uploader.host.failures == 0
    assert machine.delivery(session)["failures"] > 0
    assert b"secret" not in machine.text()
    assert "secret" not in caplog.text


# Clocks --------------------------------------------------------------------------------------------------------------


def no_host(machine: Machine) -> None:
    """The server cannot be reached."""
    machine.hooks.append(once("create_session", NO_CONNECTION))


def no_key(machine: Machine) -> None:
    """The server does not know the key for a while."""
    machine.server.revoke(machine.server.api_key)
    machine.clock.after(25, lambda: machine.server.restore(machine.server.api_key))


def no_event(machine: Machine) -> None:
    """The server refuses an event."""
    machine.hooks.append(once("create_events", FAILED))


@pytest.mark.parametrize("restarts", [False, True], ids=["one process", "restart"])
@pytest.mark.parametrize(("trouble", "period"), [(no_host, HOUR), (no_key, HOUR), (no_event, DAY)])
def test_a_clock_that_ran_ahead(
    machines: Machines, trouble: Callable[[Machine], None], period: float, restarts: bool
) -> None:
    """What waits since the wall clock was ten years ahead waits no longer, once that is right, than it ever would."""
    machine = machines(backoff=3600.0, longest=3600.0)
    machine.session().record(tool())
    machine.clock.set_wall(YEARS)
    trouble(machine)
    if restarts:
        machine.run(30)
        machine.stop()
        machine.clock.set_wall(-YEARS)
        machine.clock.boot = "second boot"
    else:
        machine.clock.after(30, lambda: machine.clock.set_wall(-YEARS))
    machine.clock.after(29.5, lambda: waiting.append(machine.states()))
    waiting: list[dict[str, int]] = []
    machine.run(60 + 1.05 * period)
    assert restarts or waiting == [{"pending": 1}]
    assert machine.states() == {"done": 1}


# Threads, processes, files -------------------------------------------------------------------------------------------


def test_a_bug_in_one_session(machine: Machine) -> None:
    """A session that meets a bug of ours stops, and is not tried for ever; the others are drained."""
    sessions = [machine.session() for _ in range(10)]
    for session in sessions:
        session.record(tool())
    met: list[UUID] = []
    daemon = Daemon([machine.uploader], SystemClock(), machine.timing)

    def bug(request: Request) -> None:
        if str(sessions[0].session_id).encode() in (request.body or b""):
            met.append(sessions[0].session_id)
            if len(met) > 20:
                daemon.stop()
            raise RecursionError("a bug")

    machine.hooks.append(bug)
    daemon.run(until_idle=True)
    assert len(met) == 1
    assert machine.states() == {"done": 9, "pending": 1}


class Ending(set[int]):
    """Sessions that are served, all of which end when somebody asks which they are."""

    def __init__(self, lane: Lane, sessions: set[int]) -> None:
        super().__init__(sessions)
        self._lane = lane

    def __contains__(self, session: object) -> bool:
        found = super().__contains__(session)
        self._end()
        return found

    def __len__(self) -> int:
        self._end()
        return super().__len__()

    def _end(self) -> None:
        self.clear()
        self._lane.next_us = 0


def test_a_worker_that_ends_while_is_looked(machine: Machine) -> None:
    """A session whose worker ends while it is looked what is due is due with the next look."""
    machine.session().record(tool())
    uploader = machine.uploader
    while uploader.outbox.take():
        pass
    lane = Lane(uploader)
    lane.seen = uploader.ledger.changed()
    lane.running_us = 10**18
    lane.busy = Ending(lane, {1})
    first = lane.due(machine.clock.now())
    assert first or lane.due(machine.clock.now()) == [1]


def test_a_database_that_is_replaced_while_it_is_read(machine: Machine, api: AgentOpsAPI) -> None:
    """When another file takes the database's place after its marks were read, none of its events is passed over."""
    session = machine.session()
    session.record(tool())
    machine.drain()
    machine.stop()
    machine.recorder.close()
    old = machine.file.with_name("old.db")
    with closing(sqlite3.connect(machine.file)) as connection:
        connection.execute(f"VACUUM INTO '{old}'")
    machine.recorder = Recorder(machine.file)
    session = machine.session()
    for number in range(20):
        session.record(tool(number))
    machine.recorder.close()
    ledger = machine.uploader.ledger
    read = ledger.read

    def replaced(query: Callable[[sqlite3.Connection], T]) -> T:
        found = read(query)
        if isinstance(found, tuple) and len(found) == 2 and isinstance(found[0], tuple) and old.exists():
            for more in ("-wal", "-shm"):
                machine.file.with_name(machine.file.name + more).unlink(missing_ok=True)
            os.replace(old, machine.file)  # noqa: PTH105 - as a restore does it
        return found

    ledger.read = replaced  # type: ignore[method-assign]
    machine.run(10)
    assert not old.exists()
    machine.recorder = Recorder(machine.file)
    session = machine.session()
    for number in range(5):
        session.record(tool(f"new {number}"))
    machine.run(HOUR)
    assert len(ids_there(api, session, "tools")) == 5
    assert machine.states() == {"done": 6}


def test_whoever_looks_whether_it_is_served(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that starts while somebody looks whether one runs, and holds its lock for that moment, starts."""
    looks = filelock.FileLock(lock_file(machine.file))
    looks.acquire()
    monkeypatch.setattr(time, "sleep", lambda seconds: looks.release())
    environ = {"AGENTOPS_API_KEY": machine.server.api_key}
    settings = Settings((str(machine.file),), machine.server.url, environ=environ)
    with serving(settings, machine) as uploaders:
        assert len(uploaders) == 1
        with pytest.raises(AnotherRuns), serving(settings, machine):
            pass


def test_a_joined_session_whose_process_died(machines: Machines, api: AgentOpsAPI) -> None:
    """A session that was joined, and whose process here has died, is left alone: its end is not for this machine."""
    clock = VirtualClock(api)
    first, second = machines("first", clock=clock), machines("second", clock=clock, running=60.0)
    begun = first.session()
    begun.record(tool())
    first.drain()
    second.session(id=begun.session_id).record(tool())
    second.drain()
    second.recorder.close()
    with closing(sqlite3.connect(second.file)) as connection:
        connection.execute("UPDATE sessions SET end_us = NULL, auto_ended = 0")
        connection.execute("UPDATE owners SET end_us = NULL, pid = 999999, started = 'x'")
        connection.commit()
    second.stop()
    steps: list[int] = []
    step = second.uploader.step

    def counted(session: int) -> bool:
        steps.append(session)
        return step(session)

    second.uploader.step = counted  # type: ignore[method-assign]
    before = len(second.sent)
    second.run(2 * HOUR)
    assert len(steps) <= 1
    assert len(second.sent) == before
