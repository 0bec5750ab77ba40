"""Tokens that end, keys that are rotated, revoked or unknown, sessions that are gone or of another project: the state
that follows, exactly, and that nothing is sent twice for it."""

from __future__ import annotations

import json
from collections import Counter
from uuid import uuid4

import pytest

from agentops_local.config import key_hash
from agentops_local.credentials import save_key
from agentops_local.session import Session
from agentops_sync.client import Request
from agentops_sync.requeue import requeue
from tests.fakes.agentops_api import AgentOpsAPI
from tests.fakes.agentops_api.store import SESSION_COLUMNS
from tests.reliability.scorecard import Score
from tests.sync.conftest import Machines
from tests.sync.driving import DAY, HOUR, MAKERS, Machine, error, ids_there, tool

STAMP = "2025-01-01T00:00:00+00:00"


def settle(machine: Machine, api: AgentOpsAPI, score: Score, removed: int = 0, most: int = 1) -> None:
    """What is done is on the server, once; what waits is not; and no event has gone there more often than it had to.

    Args:
        removed: how many events were there and were deleted there.
        most: how often an event may have gone there; what the server has refused by a token or unseen does not count.
    """
    rows = machine.rows(
        "SELECT u.event, u.kind, u.state, p.id, p.details FROM uploads u JOIN payloads p ON p.seq = u.event"
    )
    there: Counter[str] = Counter()
    for kind in MAKERS:
        there.update(str(row["details" if kind == "errors" else "id"]) for row in api.store()[kind])
    names = {row["event"]: json.loads(row["details"]) if row["kind"] == "errors" else row["id"] for row in rows}
    lost = -removed + sum(row["state"] == "done" and not there[names[row["event"]]] for row in rows)
    doubled = sum(times - 1 for times in there.values())
    score.add(1, lost=lost, doubled=doubled)
    assert lost == doubled == 0
    assert not [row for row in rows if row["state"] == "pending" and there[names[row["event"]]]]
    travelled = Counter(
        event
        for batch in machine.rows("SELECT events FROM batches WHERE state <> 'void'")
        for event in json.loads(batch["events"])
    )
    assert max(travelled.values()) <= most


def record(session: Session, number: int) -> None:
    """Thirty events of each kind: two requests."""
    for each in range(30):
        for maker in MAKERS.values():
            session.record(maker(f"{number}.{each}"))


# Tokens ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nth", range(1, 10))
def test_a_token_that_ends_in_the_midst(machine: Machine, api: AgentOpsAPI, score: Score, nth: int) -> None:
    """Whichever of the requests of a session the end of its token meets, another token is fetched at once, that request
    alone goes again, which the server has refused unseen, and nothing waits."""
    session = machine.session()
    record(session, 1)
    count = 0

    def ends(request: Request) -> None:
        nonlocal count
        count += request.token is not None
        if request.token is not None and count == nth:
            api.expire_tokens()
            machine.clock.sleep(2)

    machine.hooks.append(ends)
    machine.drain()
    assert machine.states() == {"done": 120}
    void = [number for number, (_, state, _) in enumerate(machine.batches(), 2) if state == "void"]
    assert void == ([nth] if nth > 1 else [])  # the first request is the agent's
    assert machine.paths().count("reauthorize_jwt") == 1
    assert len(machine.sent) == 1 + 1 + 8 + 2
    assert machine.clock.passed < 5
    settle(machine, api, score)


def test_tokens_signed_by_another_secret(machine: Machine, api: AgentOpsAPI, score: Score) -> None:
    """A token that the server does not sign any more answers 500 to everything: another is fetched, and nothing is
    taken for poison."""
    session = machine.session()
    session.record(tool(1))
    machine.drain()
    api.jwt_secret = str(uuid4())
    session.record(tool(2))
    session.record(error(2))
    machine.drain()
    session.end_session("Success")
    api.jwt_secret = str(uuid4())
    machine.drain()
    assert machine.states() == {"done": 3}
    assert (api.session(str(session.session_id)) or {})["end_state"] == "Success"
    assert len(ids_there(api, session, "tools")) == 2
    settle(machine, api, score, most=2)  # 500 says nothing, so it was looked for and sent again


def test_tokens_that_are_always_expired(machines: Machines, api: AgentOpsAPI, score: Score) -> None:
    """A server whose clock is wrong, so that each of its tokens has expired, is not asked in a loop."""
    machine = machines(poll=30)
    session = machine.session()
    session.record(tool())
    api.settings.token_life = -10
    machine.run(DAY / 4)
    assert machine.states() == {"pending": 1}
    assert len(machine.sent) < 200
    api.settings.token_life = 86400
    machine.run(HOUR)
    assert machine.states() == {"done": 1}
    settle(machine, api, score)


# Keys -----------------------------------------------------------------------------------------------------------------


def test_a_key_that_the_server_does_not_know(machines: Machines, api: AgentOpsAPI, score: Score) -> None:
    """A key that the server does not know is asked for once an hour; sessions of other keys go on, and nothing
    dies."""
    machine = machines(poll=30)
    unknown = str(uuid4())
    save_key(unknown)
    waiting = [machine.session(key=unknown) for _ in range(3)]
    going = machine.session()
    for session in (*waiting, going):
        session.record(tool())
    machine.run(5.5 * HOUR)
    assert len(ids_there(api, going, "tools")) == 1
    assert machine.states() == {"done": 1, "pending": 3}
    asked = [one for one in api.requests if one.headers.get("x-agentops-api-key") == unknown]
    assert len(asked) <= 2 * 3 * 6
    (parked,) = machine.rows("SELECT what, name, reason FROM parked")
    assert (parked["what"], parked["name"]) == ("key", key_hash(unknown))
    assert set(machine.column("SELECT state FROM deliveries")) <= {"absent", "creating", "present"}
    api.api.projects[unknown] = str(uuid4())
    machine.run(1.1 * HOUR)
    assert machine.states() == {"done": 4}
    assert machine.rows("SELECT * FROM parked") == []
    assert all(len(ids_there(api, session, "tools")) == 1 for session in waiting)
    settle(machine, api, score)


def test_a_key_that_is_revoked_meanwhile(machines: Machines, api: AgentOpsAPI, score: Score) -> None:
    """A key that is revoked stops its sessions when their tokens end; restored, they go on where they were."""
    machine = machines(poll=10)
    session = machine.session(key=api.api_key)
    other = machine.session()
    session.record(tool(1))
    machine.drain()
    api.revoke(api.api_key)
    api.expire_tokens()
    machine.clock.sleep(60)
    session.record(tool(2))
    other.record(tool(3))
    machine.run(2 * HOUR)
    assert machine.states() == {"done": 1, "pending": 2}
    api.restore(api.api_key)
    machine.run(1.1 * HOUR)
    assert machine.states() == {"done": 3}
    assert len(ids_there(api, session, "tools")) == 2
    settle(machine, api, score)


def test_a_rotated_key(machines: Machines, api: AgentOpsAPI, score: Score) -> None:
    """When the key of a project is another, sessions recorded without a key go under the new one, once it is known."""
    machine = machines(api_key="")
    save_key(api.api_key, default=True)
    session = machine.session()
    session.record(tool(1))
    machine.drain()
    fresh = api.rotate(api.api_key)
    api.expire_tokens()
    machine.clock.sleep(60)
    session.record(tool(2))
    machine.run(120)
    assert machine.states() == {"done": 1, "pending": 1}
    machine.clock.after(10, lambda: save_key(fresh, default=True))
    machine.run(20)
    assert machine.states() == {"done": 2}
    assert len(ids_there(api, session, "tools")) == 2
    settle(machine, api, score)


# Sessions -------------------------------------------------------------------------------------------------------------


def test_an_id_of_another_project(machines: Machines, api: AgentOpsAPI, score: Score) -> None:
    """An id that belongs to another project is a conflict, but not at once: after three rounds, over an hour in which
    the server has accepted something else. Nothing is ever sent into it, nobody else waits, and it can be requeued."""
    machine = machines(poll=10)
    session, other = machine.session(), machine.session()
    for each in (session, other):
        each.record(tool())
    api.api.store.insert_session(
        str(session.session_id), "another project", None, {**dict.fromkeys(SESSION_COLUMNS), "init_timestamp": STAMP}
    )
    machine.run(DAY / 25)
    assert machine.delivery(session)["state"] == "absent"
    assert machine.delivery(session)["rounds"] >= 3
    other.record(tool())
    machine.run(DAY / 24)
    assert machine.delivery(session)["state"] == "conflict"
    assert "another project" in machine.delivery(session)["reason"]
    assert machine.states() == {"done": 2, "pending": 1}
    before = len(machine.sent)
    session.record(tool())
    machine.run(DAY / 24)
    assert len(machine.sent) == before
    api.delete_session(str(session.session_id))
    assert requeue(machine.uploader.ledger).sessions == 1
    machine.drain()
    assert machine.states() == {"done": 4}
    settle(machine, api, score)


def test_deleted_on_the_server(machines: Machines, api: AgentOpsAPI, score: Score) -> None:
    """A session that is deleted on the server is parked as soon as that is known, and others go on. Only when somebody
    requeues it, it is created there again, with what it has not sent yet."""
    machine = machines(poll=10)
    session, other = machine.session(), machine.session()
    session.record(tool(1))
    machine.drain()
    api.delete_session(str(session.session_id))
    session.record(tool(2))
    other.record(tool(3))
    machine.drain()
    assert machine.delivery(session)["state"] == "parked"
    assert "deleted" in machine.delivery(session)["reason"]
    assert len(ids_there(api, other, "tools")) == 1
    assert machine.states()["done"] == 2
    before = len(machine.sent)
    session.record(tool(4))
    machine.run(HOUR)
    assert len(machine.sent) == before
    assert requeue(machine.uploader.ledger).sessions == 1
    machine.drain()
    assert machine.delivery(session)["state"] == "present"
    assert machine.states() == {"done": 4}
    assert len(ids_there(api, session, "tools")) == 2
    settle(machine, api, score, removed=1, most=2)
