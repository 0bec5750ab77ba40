"""Requests of which nothing clear was heard: how long they are left alone, and what settles them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agentops_local.session import Session
from agentops_sync.client import Outcome, Request, Verdict
from agentops_sync.requeue import requeue
from tests.fakes.agentops_api import AgentOpsAPI
from tests.sync.conftest import Machines
from tests.sync.driving import DAY, HOUR, MAKERS, NOTHING_HEARD, Machine, error, ids_there, once, posts, tool

SETTLE = {"llms": 60, "tools": 60, "actions": 60, "errors": 900}


def fly(machine: Machine, api: AgentOpsAPI, kind: str = "tools", count: int = 3, fault: str = "lost_answer") -> Session:
    """A session whose events were sent, and whose answer was lost."""
    api.fault(fault, path="create_events")
    session = machine.session()
    for number in range(count):
        session.record(MAKERS[kind](number))
    machine.steps(3)
    assert machine.states() == {"flying": count}
    return session


def looked(machine: Machine) -> float:
    """When it was looked at what the server holds, in seconds since the sending; -1: never."""
    sent = next(at for at, request, _ in machine.sent if request.path.endswith("create_events"))
    return next((at - sent for at, request, _ in machine.sent if request.path.endswith("export")), -1)


# How long ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SETTLE)
def test_how_long(machine: Machine, api: AgentOpsAPI, kind: str) -> None:
    """What has an id is looked for after a minute, an error after a quarter of an hour; nothing is resent before."""
    fly(machine, api, kind)
    machine.run(SETTLE[kind] - 2)
    assert machine.states() == {"flying": 3}
    assert looked(machine) == -1
    machine.run(4)
    assert machine.states() == {"done": 3}
    assert len(posts(api, "create_events")) == 1


def test_a_clock_set_forwards_shortens_nothing(machine: Machine, api: AgentOpsAPI) -> None:
    """Within one boot a wait lasts as long although the wall clock is set forwards."""
    fly(machine, api, "errors")
    machine.clock.set_wall(DAY)
    machine.run(890)
    assert machine.states() == {"flying": 3}
    machine.run(60)
    assert machine.states() == {"done": 3}
    assert looked(machine) >= 900


def test_a_clock_set_back_starts_anew(machine: Machine, api: AgentOpsAPI) -> None:
    """A wall clock behind the moment of sending makes the wait begin anew."""
    fly(machine, api, "errors")
    machine.clock.after(600, lambda: machine.clock.set_wall(-DAY))
    machine.run(600 + 890)
    assert machine.states() == {"flying": 3}
    machine.run(60)
    assert machine.states() == {"done": 3}
    assert looked(machine) >= 1500


def test_after_a_reboot_the_wall_clock_counts(machine: Machine, api: AgentOpsAPI) -> None:
    """In another boot the wait goes by the wall clock."""
    fly(machine, api, "errors")
    machine.stop()
    machine.clock.sleep(600)
    machine.clock.boot, machine.clock.mono_us = "second boot", 5
    machine.run(290)
    assert machine.states() == {"flying": 3}
    machine.run(20)
    assert machine.states() == {"done": 3}


@pytest.mark.parametrize("kind", ["tools", "errors"])
@pytest.mark.parametrize("fault", ["lost_answer", "502_before"])
def test_another_process_settles_it(machine: Machine, api: AgentOpsAPI, kind: str, fault: str) -> None:
    """What flew when the uploader was killed is settled by the next one, after the same time, by the same look."""
    session = fly(machine, api, kind, fault=fault)
    machine.stop()
    machine.clock.sleep(10)
    machine.run(SETTLE[kind] - 15)
    assert machine.states() == {"flying": 3}
    machine.drain()
    assert machine.states() == {"done": 3}
    assert looked(machine) == pytest.approx(SETTLE[kind], abs=2)
    assert len(ids_there(api, session, kind)) == 3


def test_others_go_on_meanwhile(machine: Machine, api: AgentOpsAPI) -> None:
    """A session that waits until its request is settled keeps no other waiting."""
    fly(machine, api, "errors")
    other = machine.session()
    other.record(tool())
    machine.run(5)
    assert len(ids_there(api, other, "tools")) == 1


def test_other_kinds_go_on_after_a_minute(machine: Machine, api: AgentOpsAPI) -> None:
    """While errors settle, the session's other kinds wait a minute only, so that the server never counts two requests
    of a session at once; further errors wait until it is settled."""
    session = fly(machine, api, "errors")
    session.record(tool())
    session.record(error("later"))
    machine.run(58)
    assert machine.states() == {"flying": 3, "pending": 2}
    machine.run(5)
    assert machine.states("tools") == {"done": 1}
    assert machine.states("errors") == {"flying": 3, "pending": 1}
    machine.drain()
    assert machine.states() == {"done": 5}
    assert len(ids_there(api, session, "errors")) == 4


def test_a_request_that_is_done_late(machine: Machine, api: AgentOpsAPI) -> None:
    """A request that the server does within the settle time, long after its client has gone, is found and not
    repeated."""
    held: list[Request] = []

    def keep(request: Request) -> Outcome | None:
        if request.path != "/v2/create_events" or held:
            return None
        held.append(request)
        machine.clock.after(850, lambda: machine._http.send(request))
        return NOTHING_HEARD

    machine.hooks.append(keep)
    session = machine.session()
    for number in range(3):
        session.record(error(number))
    machine.drain()
    assert machine.states() == {"done": 3}
    assert len(ids_there(api, session, "errors")) == 3


# What settles it -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SETTLE)
def test_part_of_it_is_there(machine: Machine, api: AgentOpsAPI, kind: str) -> None:
    """Of a batch of which the server holds a part, that part is done and the rest is sent again."""
    session = fly(machine, api, kind, count=5)
    store = api.api.store
    for row in store.of_session[kind, str(session.session_id)][3:]:
        del store.events[kind][row["id"]]
    del store.of_session[kind, str(session.session_id)][3:]
    machine.drain()
    assert machine.states() == {"done": 5}
    assert machine.batches() == [(kind, "settled", 5), (kind, "ok", 2)]
    assert len(ids_there(api, session, kind)) == len(set(ids_there(api, session, kind))) == 5


@pytest.mark.parametrize(
    "spelling",
    [
        lambda text: text.replace("+00:00", "Z"),
        lambda text: text.replace("T", " "),
        lambda text: text.replace("+00:00", "+0000"),
        lambda text: text.replace("+00:00", "000+00"),
    ],
)
def test_errors_are_known_by_their_values(machine: Machine, api: AgentOpsAPI, spelling: Callable[[str], str]) -> None:
    """However the server writes the time of an error, it is the same error."""
    session = fly(machine, api, "errors")
    for row in api.api.store.of_session["errors", str(session.session_id)]:
        row["timestamp"] = spelling(row["timestamp"])
    machine.drain()
    assert machine.states() == {"done": 3}
    assert len(posts(api, "create_events")) == 1


def test_two_errors_alike_are_two(machine: Machine, api: AgentOpsAPI) -> None:
    """Errors that say the same differ by their time, and each is stored once."""
    session = machine.session()
    for _ in range(4):
        session.record(error("same", init_timestamp="2026-01-01T00:00:00.100000+00:00"))
    api.fault("502_before", path="create_events")
    machine.drain()
    assert machine.states() == {"done": 4}
    stamps = [row["timestamp"] for row in api.events(str(session.session_id), "errors")]
    assert len(set(stamps)) == 4


def test_nothing_is_absent_from_a_truncated_export(
    machine: Machine, api: AgentOpsAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the export is cut, an event that it lacks is sent again, alone, and "23505" proves that it was there."""
    monkeypatch.setattr("agentops_sync.reconcile.EXPORT_ROWS", 10)
    api.settings.export_limit = 10
    session = machine.session()
    for number in range(30):
        session.record(tool(number))
    api.fault("lost_answer", path="create_events")
    machine.drain()
    assert machine.states() == {"done": 30}
    assert len(ids_there(api, session, "tools")) == 30
    sizes = [number for _, _, number in machine.batches()]
    # Sent 25; the 15 that are not in the export each alone, in their turn; the 5 that are new together.
    assert sizes[0] == 25
    assert sizes.count(1) == 15
    assert sum(sizes) == 25 + 15 + 5
    refusals = [words for words in machine.column("SELECT outcome FROM batches WHERE state = 'settled'") if words]
    assert sum("23505" in words for words in refusals) == 15


def test_what_is_truly_absent_behind_the_cut_is_stored(
    machine: Machine, api: AgentOpsAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the export is cut, an event that is not there is stored by being sent alone."""
    monkeypatch.setattr("agentops_sync.reconcile.EXPORT_ROWS", 10)
    api.settings.export_limit = 10
    session = machine.session()
    for number in range(30):
        session.record(tool(number))
    api.fault("502_before", path="create_events", nth=2)
    machine.drain()
    assert machine.states() == {"done": 30}
    assert len(ids_there(api, session, "tools")) == 30
    assert [number for _, _, number in machine.batches()] == [25, 5, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("there", [True, False])
def test_errors_behind_the_cut_by_the_count(
    machine: Machine, api: AgentOpsAPI, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    """Where the export is cut, the server's count of errors tells: it grew by the batch, or not at all."""
    cut(api, monkeypatch)
    session = many_errors(machine, api, "lost_answer" if there else "502_before")
    machine.drain()
    assert machine.states() == {"done": 30}
    assert len(ids_there(api, session, "errors")) == len(set(ids_there(api, session, "errors"))) == 30
    assert len(posts(api, "create_events")) == (2 if there else 3)


def test_errors_that_nobody_can_tell(machines: Machines, api: AgentOpsAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where neither export nor count can tell, errors are uncertain: never sent again, until somebody says so."""
    machine = machines(poll=60)
    cut(api, monkeypatch)
    session = many_errors(machine, api, "lost_answer")
    machine.steps(9)
    stats = api.api.store.stats[str(session.session_id)]
    stats["errors"] += 2  # another writer
    machine.drain()
    found = machine.states()
    assert set(found) == {"done", "uncertain"}
    assert found["uncertain"] > 0
    machine.run(3 * DAY)
    assert machine.states() == found
    assert len(posts(api, "create_events")) == 2
    assert requeue(machine.uploader.ledger).uncertain == 0
    assert requeue(machine.uploader.ledger, uncertain=True).uncertain == found["uncertain"]
    machine.drain()
    assert machine.states() == {"done": 30}
    assert len(ids_there(api, session, "errors")) == 30 + found["uncertain"]  # as the command says


def test_a_session_without_stats(machine: Machine, api: AgentOpsAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session without its row of stats answers 400 to everything it stores: the export alone tells."""
    cut(api, monkeypatch, rows=1000)
    monkeypatch.setattr("agentops_sync.reconcile.COUNTED_FROM", 0)
    session = machine.session()
    for number in range(30):
        session.record(tool(number))
        session.record(error(number))
    machine.steps(2)
    api.delete_stats_row(str(session.session_id))
    machine.drain()
    assert machine.states() == {"done": 60}
    for kind in ("tools", "errors"):
        assert len(ids_there(api, session, kind)) == len(set(ids_there(api, session, kind))) == 30
    assert machine.delivery()["no_stats"] == 1
    assert machine.clock.passed < 1


@pytest.mark.parametrize("lacking", [{}, {"tools": None}, {"tools": [5]}])
def test_an_export_that_cannot_be_understood_settles_nothing(
    machine: Machine, api: AgentOpsAPI, lacking: dict[str, Any]
) -> None:
    """An export without the list that is looked for proves neither presence nor absence."""
    session = fly(machine, api)
    machine.hooks.append(once("export", Outcome(Verdict.OK, 200, lacking), times=10**6))
    machine.run(75)
    assert machine.states() == {"flying": 3}
    assert "export" in machine.delivery()["last_error"]
    machine.hooks.clear()
    machine.drain()
    assert machine.states() == {"done": 3}
    assert len(ids_there(api, session, "tools")) == 3


def test_no_export_beyond_a_thousand(machine: Machine, api: AgentOpsAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is known that the export would be cut, none is asked for."""
    monkeypatch.setattr("agentops_sync.reconcile.EXPORT_ROWS", 20)
    session = machine.session()
    for number in range(30):
        session.record(tool(number))
    api.fault("lost_answer", path="create_events", nth=2)
    machine.drain(HOUR)
    assert machine.states() == {"done": 30}
    assert "export" not in machine.paths()
    assert len(ids_there(api, session, "tools")) == 30


def cut(api: AgentOpsAPI, monkeypatch: pytest.MonkeyPatch, rows: int = 10) -> None:
    """An export of few rows."""
    monkeypatch.setattr("agentops_sync.reconcile.EXPORT_ROWS", rows)
    monkeypatch.setattr("agentops_sync.reconcile.COUNTED_FROM", 0)
    api.settings.export_limit = rows


def many_errors(machine: Machine, api: AgentOpsAPI, fault: str) -> Session:
    """A session with thirty errors, the first request of which goes wrong."""
    session = machine.session()
    for number in range(30):
        session.record(error(number))
    api.fault(fault, path="create_events")
    return session
