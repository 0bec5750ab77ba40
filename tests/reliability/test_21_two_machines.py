"""Two machines, two databases, one session."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agentops_local.session import Session
from tests.fakes.agentops_api import AgentOpsAPI
from tests.reliability.scorecard import Score
from tests.sync.conftest import Machines
from tests.sync.driving import MAKERS, Machine, VirtualClock, ids_there, posts, tool

Pair = tuple[Machine, Machine, Session, Session]


@pytest.fixture
def pair(machines: Machines, api: AgentOpsAPI) -> Pair:
    """A machine that began a session, and one that joined it; both have recorded."""
    clock = VirtualClock(api)
    first, second = machines("first", clock=clock), machines("second", clock=clock)
    begun = first.session(tags=["begun here"])
    joined = second.session(id=begun.session_id)
    for number in range(30):
        for make in MAKERS.values():
            begun.record(make(f"first {number}"))
            joined.record(make(f"second {number}"))
    return first, second, begun, joined


def compare(api: AgentOpsAPI, session: Session, score: Score) -> None:
    """Each event of both is there, once."""
    there = [ids_there(api, session, kind) for kind in MAKERS]
    lost = sum(60 - len(set(ids)) for ids in there)
    doubled = sum(len(ids) - len(set(ids)) for ids in there)
    score.add(60 * len(MAKERS), lost=lost, doubled=doubled)
    assert (lost, doubled) == (0, 0)


def owner_first(first: Machine, second: Machine) -> None:
    """The one that began it is done before the other begins."""
    first.drain()
    second.drain()


def owner_last(first: Machine, second: Machine) -> None:
    """The one that joined it is done before the other begins."""
    second.drain()
    first.drain()


def in_turn(first: Machine, second: Machine) -> None:
    """A step of one, a step of the other."""
    for _ in range(40):
        first.steps()
        second.steps()
    owner_first(first, second)


def both_create(first: Machine, second: Machine) -> None:
    """Both create it at once: the second one's creation arrives while the first one's answer is on its way."""

    def meanwhile(request: object) -> None:
        first.hooks.clear()
        second.steps(3)

    first.hooks.append(meanwhile)
    first.steps(2)
    in_turn(first, second)


@pytest.mark.parametrize("order", [owner_first, owner_last, in_turn, both_create])
def test_one_session(api: AgentOpsAPI, pair: Pair, score: Score, order: Callable[[Machine, Machine], None]) -> None:
    """Whatever the order, every event of both is there once, the session is created once, and its row is as the
    machine says that began it."""
    first, second, begun, joined = pair
    order(first, second)
    joined.end_session("Fail", "said by the one that joined")
    begun.end_session("Success", "said by the one that began")
    order(first, second)
    compare(api, begun, score)
    assert first.states() == second.states() == {"done": 120}
    assert [one.answered for one in posts(api, "create_session")].count(200) == 1
    row = api.session(str(begun.session_id)) or {}
    assert (row["end_state"], row["end_state_reason"]) == ("Success", "said by the one that began")
    assert "begun here" in str(row["tags"])
    assert "update_session" in first.paths()
    assert first.delivery()["ended_sent"] == 1
    if order is owner_first:
        assert "update_session" not in second.paths()
        assert second.delivery()["created"] == 0


def test_a_lost_answer_of_each(api: AgentOpsAPI, pair: Pair, score: Score) -> None:
    """What one machine has stored settles nothing of the other's, and nothing is doubled."""
    first, second, begun, _ = pair
    for _ in range(6):
        api.fault("lost_answer", path="create_events")
        api.fault("502_before", path="create_events")
        first.steps(3)
        second.steps(3)
    for _ in range(3):
        first.drain()
        second.drain()
    compare(api, begun, score)
    assert first.states() == second.states() == {"done": 120}


def test_two_databases_of_one_machine(machines: Machines, api: AgentOpsAPI, score: Score) -> None:
    """Sessions of two databases do not know of each other."""
    clock = VirtualClock(api)
    first, second = machines("first", clock=clock), machines("second", clock=clock)
    one, two = first.session(), second.session()
    one.record(tool(1))
    two.record(tool(2))
    first.drain()
    second.drain()
    there = [ids_there(api, session, "tools") for session in (one, two)]
    score.add(2, lost=sum(not ids for ids in there), doubled=sum(len(ids) > 1 for ids in there))
    assert [len(ids) for ids in there] == [1, 1]
