"""One session, kind or key in trouble: what the others pay for it, in requests and in time.

Fifty short sessions are uploaded, in turns, on a clock on which each request takes 50 ms and a pause what it takes. The
same is done without the trouble, and compared. Short ones are the hard case: they take five requests each.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from typing import NamedTuple
from uuid import uuid4

import pytest

from agentops_local.credentials import save_key
from agentops_local.session import Session
from agentops_sync.client import Request
from tests.fakes.agentops_api import AgentOpsAPI
from tests.reliability.scorecard import Score
from tests.sync.conftest import Machines
from tests.sync.driving import NOTHING_HEARD, Machine, action, ids_there, llm, once, tool

SESSIONS = 50
EACH = 10  # tool calls, and as many LLM calls, of each session: one request each
ACTIONS = 5  # and as many actions
TAKES = 0.05  # seconds
FACTOR = 1.2


class Cost(NamedTuple):
    """What the sessions cost that are not in trouble.

    Attributes:
        requests: of them.
        seconds: until the last of their tool and LLM calls was accepted.
        most: requests of one of them.
    """

    requests: int
    seconds: float
    most: int


def record(machine: Machine, trouble: str) -> list[Session]:
    """Fifty sessions; the first has what makes the trouble."""
    key = str(uuid4()) if trouble == "key" else None
    if key:
        save_key(key)
    sessions = [machine.session(key=key if number == 0 else None) for number in range(SESSIONS)]
    for number in range(EACH):
        for session in sessions:
            poisoned = trouble == "poison" and session is sessions[0] and number == 3
            session.record(tool("poison" if poisoned else number))
            session.record(llm(number))
            if number < ACTIONS:
                session.record(action(number))
    return sessions


def make(trouble: str, machine: Machine, api: AgentOpsAPI, bad: Session) -> None:
    """Makes the trouble that is made elsewhere."""
    if trouble == "poison":
        api.poison("poison")
    elif trouble == "kind":
        api.actions_work = False
    elif trouble == "lost":
        machine.hooks.append(once("create_events", NOTHING_HEARD))
    elif trouble == "gone":
        machine.steps(1)
        api.delete_session(str(bad.session_id))


def session_of(request: Request) -> str:
    """Whose request it is."""
    if request.token:
        claims = request.token.split(".")[1]
        return str(json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["session_id"])
    if request.body:
        body = json.loads(request.body)
        return str(body.get("session_id") or body["session"]["session_id"])
    return request.path.split("/")[3]


def cost(machine: Machine, good: list[Session]) -> Cost:
    """What the uploading has cost them so far."""
    theirs = {str(session.session_id) for session in good}
    count: Counter[str] = Counter()
    seconds = 0.0
    for at, request, outcome in machine.sent:
        if (whose := session_of(request)) in theirs:
            count[whose] += 1
            body = request.body or b""
            if outcome.body == "Success" and (b'"tools"' in body or b'"llms"' in body):
                seconds = at
    return Cost(count.total(), seconds, max(count.values()))


def upload(machine: Machine, trouble: str, api: AgentOpsAPI) -> tuple[Cost, list[Session]]:
    """Uploads for a minute; what it has cost the good sessions."""
    bad, *good = record(machine, trouble)
    machine.hooks.append(lambda _: machine.clock.sleep(TAKES))
    make(trouble, machine, api, bad)
    machine.run(60)
    return cost(machine, good), good


_baseline: list[Cost] = []


@pytest.fixture
def baseline(machines: Machines, api: AgentOpsAPI) -> Cost:
    """The cost without trouble; measured once."""
    if not _baseline:
        _baseline.append(upload(machines("baseline"), "none", api)[0])
    return _baseline[0]


@pytest.mark.parametrize("trouble", ["poison", "kind", "key", "lost", "gone"])
def test_trouble_stays_where_it_is(
    machines: Machines, api: AgentOpsAPI, score: Score, baseline: Cost, trouble: str
) -> None:
    """Of fifty sessions one is in trouble, or a kind of events in all of them: what else there is takes at most 1.2
    times the requests and the time that it takes without, and nothing good is given up."""
    machine = machines("trouble")
    found, good = upload(machine, trouble, api)
    print(f"{trouble}: {found}, without {baseline}")
    kinds = {"tools": EACH, "llms": EACH, "actions": 0 if trouble == "kind" else ACTIONS}
    there = [(wanted, ids_there(api, session, kind)) for session in good for kind, wanted in kinds.items()]
    lost = sum(wanted - len(set(ids)) for wanted, ids in there)
    doubled = sum(len(ids) - len(set(ids)) for _, ids in there)
    score.add(SESSIONS * (2 * EACH + ACTIONS), lost=lost, doubled=doubled)
    assert lost == doubled == 0
    without = baseline.requests - (len(good) if trouble == "kind" else 0)  # the actions' own
    assert found.requests <= FACTOR * without
    assert found.seconds <= FACTOR * baseline.seconds
    assert not machine.rows("SELECT * FROM dead_letters")
    if trouble == "kind":
        assert machine.states("actions") == {"pending": SESSIONS * ACTIONS}
        assert len(machine.rows("SELECT * FROM parked")) == 1
    else:
        assert found.most == baseline.most
