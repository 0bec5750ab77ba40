"""What is uploaded from a database into which others were merged: what no machine has sent, once."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from agentops_local.importing import merge, pack
from agentops_local.session import Session
from tests.fakes.agentops_api import AgentOpsAPI
from tests.importing.looking import query, sound
from tests.sync.conftest import Machines
from tests.sync.driving import MAKERS, NOTHING_HEARD, Machine, error, ids_there, llm, once, posts, tool
from tests.sync.running import environment


def record(session: Session, words: str, count: int = 5) -> None:
    """So many events of each kind."""
    for number in range(count):
        for make in MAKERS.values():
            session.record(make(f"{words} {number}"))


def there(api: AgentOpsAPI, session: Session, count: int) -> None:
    """The server holds so many events of each kind of a session, each once."""
    for kind in MAKERS:
        found = Counter(ids_there(api, session, kind))
        assert (set(found.values()), len(found)) == ({1}, count), kind


def events_posted(api: AgentOpsAPI) -> int:
    """How many requests with events the server has received."""
    return len(posts(api, "create_events"))


def test_what_a_machine_has_sent(machines: Machines, api: AgentOpsAPI) -> None:
    """What a machine has uploaded is not uploaded again by the one that merges, not even looked at by a request with
    events; what it had still to send, is; and what was sent stays known, request by request."""
    node, laptop = machines("node"), machines("laptop")
    session = node.session()
    record(session, "sent")
    node.drain()
    posted = events_posted(api)
    done = merge(laptop.file, [node.file])
    assert (done.events, done.uploaded) == (20, 20)
    laptop.drain()
    assert events_posted(api) == posted
    egress = "SELECT sent, target, policy, session_id, kind, event_id, state, outcome FROM egress ORDER BY event_id"
    assert query(laptop.file, egress) == query(node.file, egress)
    record(session, "waiting")
    merge(laptop.file, [node.file])
    laptop.drain()
    there(api, session, 10)
    assert laptop.states() == {"done": 40}
    sound(laptop.file)


def test_a_machine_that_never_uploads(machines: Machines, api: AgentOpsAPI) -> None:
    """Sessions of machines without a network are uploaded by the one that merges: each event once, also of what comes
    with later merges, and the end with the merge that brings it."""
    node, laptop = machines("node"), machines("laptop")
    laptop.session().record(tool())
    laptop.drain()
    session = node.session()
    record(session, "first")
    merge(laptop.file, [node.file])
    laptop.drain()
    there(api, session, 5)
    record(session, "second")
    session.end_session("Success", "done")
    merge(laptop.file, [node.file])
    merge(laptop.file, [node.file])
    laptop.drain()
    there(api, session, 10)
    found = api.session(str(session.session_id))
    assert found is not None
    assert (found["end_state"], found["end_state_reason"]) == ("Success", "done")


def test_a_machine_that_uploads_meanwhile(machines: Machines, api: AgentOpsAPI) -> None:
    """Where a machine goes on uploading what was merged as waiting, neither doubles anything: errors neither, which
    have no id there."""
    node, laptop = machines("node"), machines("laptop")
    session = node.session()
    record(session, "before")
    node.drain()
    record(session, "waiting")
    merge(laptop.file, [node.file])
    node.drain()
    laptop.drain()
    there(api, session, 10)
    record(session, "later")
    node.drain()
    merge(laptop.file, [node.file])
    laptop.drain()
    there(api, session, 15)
    assert laptop.states() == {"done": 60}


@pytest.mark.parametrize("first", ["node", "laptop"])
def test_both_upload_at_last(machines: Machines, api: AgentOpsAPI, first: str) -> None:
    """A session that no machine had uploaded when it was merged, and that both upload then, one after the other, is
    there once."""
    node, laptop = machines("node"), machines("laptop")
    session = node.session()
    record(session, "first")
    merge(laptop.file, [node.file])
    for machine in (node, laptop) if first == "node" else (laptop, node):
        machine.drain()
    there(api, session, 5)
    assert node.states() == laptop.states() == {"done": 20}


@pytest.mark.parametrize("arrived", [True, False], ids=["it had arrived", "it was lost"])
def test_a_request_of_which_nothing_was_heard(machines: Machines, api: AgentOpsAPI, arrived: bool) -> None:
    """A request that a machine has sent without hearing of it is settled by what the server holds: its events are there
    once, whether it had arrived or not."""
    node, laptop = machines("node"), machines("laptop")
    session = node.session()
    session.record(llm("first"))
    node.drain()
    for number in range(5):
        session.record(error(number))
    if arrived:
        api.fault("lost_answer", path="create_events")
        node.steps(3)
    else:
        node.hooks.append(once("create_events", NOTHING_HEARD))
        node.steps()
    assert node.states("errors") == {"flying": 5}
    merge(laptop.file, [node.file])
    assert laptop.states("errors") == {"flying": 5}
    laptop.drain()
    assert Counter(ids_there(api, session, "errors")) == {f"error {number}": 1 for number in range(5)}
    assert laptop.states() == {"done": 6}


def test_a_request_that_the_machine_has_settled(machines: Machines, api: AgentOpsAPI) -> None:
    """A request that was merged as unanswered, and of which the machine has found out since that nothing of it arrived,
    is closed with the next merge; its events are sent from here, once."""
    node, laptop = machines("node"), machines("laptop")
    session = node.session()
    session.record(llm("first"))
    node.drain()
    for number in range(5):
        session.record(tool(number))
    node.hooks.append(once("create_events", NOTHING_HEARD))
    node.steps()
    merge(laptop.file, [node.file])
    node.clock.sleep(10 * 60)
    node.steps()  # it looks, and has no time to send them again
    assert node.states() == {"done": 1, "pending": 5}
    assert not merge(laptop.file, [node.file]).is_nothing
    assert query(laptop.file, "SELECT state, count(*) FROM batches GROUP BY state") == [("ok", 1), ("settled", 1)]
    assert laptop.states() == {"done": 1, "pending": 5}
    laptop.drain()
    assert sorted(Counter(ids_there(api, session, "tools")).values()) == [1] * 5


def test_agents_of_the_same_id(machines: Machines, api: AgentOpsAPI) -> None:
    """An agent that several machines know by one id is, for each of them, the one that its server knows already."""
    nodes, laptop = [machines("one"), machines("two")], machines("laptop")
    agent = "0197a1b2-0000-7000-8000-000000000001"
    sessions = []
    for node in nodes:
        session = node.session()
        session.create_agent("worker", agent)
        session.record(tool(1, agent_id=agent))
        node.drain()
        session.record(tool(2, agent_id=agent))
        sessions.append(session)
    named = len(posts(api, "create_agent"))
    merge(laptop.file, [node.file for node in nodes])
    laptop.drain()
    assert len(posts(api, "create_agent")) == named
    for session in sessions:
        assert [row["agent_id"] for row in api.events(str(session.session_id), "tools")] == [agent] * 2
    assert laptop.states() == {"done": 4}


def test_fifty_machines_through_packs(machines: Machines, api: AgentOpsAPI, tmp_path: Path) -> None:
    """Packs of fifty machines, some of which have uploaded, become one database, which `agentops-sync once` uploads:
    each event once, and those that a machine had uploaded not at all."""
    laptop = machines("laptop")
    sessions, packs = [], []
    for number in range(50):
        node: Machine = machines(f"node-{number}")
        session = node.session()
        record(session, f"node {number}", 5 if number < 45 else 2)
        if number % 10 == 0:
            node.drain()
        session.end_session("Success")
        node.close()
        sessions.append((session, 5 if number < 45 else 2))
        packs.append(pack(node.file, tmp_path / f"{number}.db").path)
    done = merge(laptop.file, packs)
    assert (done.new_sessions, done.events, done.uploaded) == (50, 45 * 20 + 5 * 8, 5 * 20)
    assert merge(laptop.file, packs).is_nothing
    before = events_posted(api)
    command = [sys.executable, "-m", "agentops_sync", "once", "--db", str(laptop.file), "--endpoint", api.url]
    ended = subprocess.run(
        command, env=environment(laptop.file, api.api_key), capture_output=True, text=True, timeout=100
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for session, count in sessions:
        there(api, session, count)
    assert events_posted(api) - before == 45 * 4  # a request for each kind of each session that none had uploaded
    assert set(laptop.states()) == {"done"}
