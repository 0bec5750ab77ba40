"""The creation of a session, lost on its way."""

from __future__ import annotations

from itertools import pairwise

from agentops_sync.client import Outcome, Request
from tests.sync.conftest import Machines
from tests.sync.driving import NOTHING_HEARD, Machine, once, tool


def test_lost_creations_are_no_conflict(machine: Machine) -> None:
    """However often a creation is lost, the session is created in the end: only a server that has answered, and does
    not hold it, is in conflict with it."""
    session = machine.session()
    session.record(tool())
    machine.hooks.append(once("create_session", NOTHING_HEARD, times=7))
    machine.drain()
    assert machine.delivery(session)["state"] == "present"
    assert machine.states() == {"done": 1}
    assert machine.paths().count("create_session") == 8


def test_lost_creations_come_ever_more_seldom(machines: Machines) -> None:
    """While creations are lost, they are tried again after the settle time and a pause that grows."""
    machine = machines(longest=600.0)
    machine.session().record(tool())
    asked: list[float] = []

    def lost(request: Request) -> Outcome | None:
        if not request.path.endswith("create_session"):
            return None
        asked.append(machine.clock.passed)
        return NOTHING_HEARD

    machine.hooks.append(lost)
    machine.run(7200)
    assert 3 < len(asked) < 7200 / 80
    assert all(later - earlier >= machine.timing.settle for earlier, later in pairwise(asked))
    assert machine.delivery()["last_error"] == "its creation was sent, and it is not there"
