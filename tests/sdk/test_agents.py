# The classes here are props: what their methods say of themselves, their names say.
# ruff: noqa: D102

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

import agentops_local as agentops
from agentops_local.session import Session
from tests.sdk.records import Records

DEFAULT = "Default Agent"


@pytest.fixture
def session() -> Session:
    """A live session."""
    started = agentops.init()
    assert started is not None
    return started


def act(word: str = "act") -> None:
    """Records an action."""
    agentops.record(agentops.ActionEvent(word))


def whose(records: Records) -> list[str | None]:
    """Whose each action is, by name, in order."""
    return records.column("SELECT agent_name FROM actions ORDER BY seq")


@agentops.track_agent(name="worker")
class Worker:
    """An agent with methods of every kind."""

    def work(self, word: str = "act") -> None:
        act(word)

    async def awork(self) -> None:
        act("before")
        await asyncio.sleep(0)
        act("after")

    def count(self) -> Iterator[int]:
        act("inside")
        yield 1
        act("inside")

    async def acount(self) -> AsyncIterator[int]:
        act("inside")
        yield 1
        await asyncio.sleep(0)
        act("inside")

    def __call__(self) -> None:
        act()

    def _private(self) -> None:
        act()

    def other(self, other: Worker) -> None:
        act("mine")
        other.work("its")
        act("mine again")

    @agentops.record_tool()
    def tool(self) -> None:
        agentops.record(agentops.LLMEvent(prompt="hi"))

    def fail(self) -> None:
        raise ValueError("mine")


def test_events_of_a_method_are_the_agent_s(session: Session, records: Records) -> None:
    """Events recorded inside an agent's methods are the agent's, those outside the default agent's; the views show
    both by id and by name."""
    worker = Worker()
    act("outside")
    worker.work()
    worker()
    worker._private()
    act("outside")
    assert isinstance(worker.agentops_agent_id, UUID)  # type: ignore[attr-defined]
    assert worker.agentops_agent_name == "worker"  # type: ignore[attr-defined]
    ids = records.column("SELECT agent_id FROM actions ORDER BY seq")
    default = records.value("SELECT id FROM agents ORDER BY seq LIMIT 1")
    assert ids == [default, *[str(worker.agentops_agent_id)] * 3, default]  # type: ignore[attr-defined]
    assert whose(records) == [DEFAULT, "worker", "worker", "worker", DEFAULT]


def test_every_kind_of_event_has_its_agent(session: Session, records: Records) -> None:
    """The agent stands beside every kind of event in every view."""

    @agentops.track_agent(name="all")
    def work() -> None:
        for event in (agentops.ActionEvent(), agentops.ToolEvent(), agentops.LLMEvent(), agentops.ErrorEvent()):
            agentops.record(event)

    work()
    for view in ("actions", "tools", "llms", "errors"):
        assert records.column(f"SELECT agent_name FROM {view}") == ["all"]


def test_each_instance_is_an_agent(session: Session, records: Records) -> None:
    """Each object of an agent's class is an agent of its own; its name may be given to the constructor."""
    first, second = Worker(), Worker(agentops_name="second")  # type: ignore[call-arg]
    first.work()
    second.work()
    assert whose(records) == ["worker", "second"]
    assert len(set(records.column("SELECT agent_id FROM actions"))) == 2


def test_coroutines_and_generators(session: Session, records: Records) -> None:
    """In coroutine methods and generators of both kinds the agent is the one of the code that runs, not of the code
    that waits or consumes."""
    worker = Worker()

    async def main() -> None:
        await asyncio.gather(worker.awork(), between())
        async for _ in worker.acount():
            act("consumer")

    async def between() -> None:
        await asyncio.sleep(0)
        act("between")

    for _ in worker.count():
        act("consumer")
    asyncio.run(main())
    for row in records.rows("SELECT kind, agent_name FROM actions"):
        assert row["agent_name"] == (DEFAULT if row["kind"] in ("consumer", "between") else "worker")
    assert records.value("SELECT count(*) FROM actions") == 9


def test_nested_agents(session: Session, records: Records) -> None:
    """Inside an agent that another one calls, events are the inner one's; afterwards the outer one's again."""
    Worker(agentops_name="outer").other(Worker(agentops_name="inner"))  # type: ignore[call-arg]
    assert whose(records) == ["outer", "inner", "outer"]


def test_agents_at_once(session: Session, records: Records) -> None:
    """Agents that work at the same time, in threads or tasks, do not take each other's events."""
    workers = {name: Worker(agentops_name=name) for name in "abcd"}  # type: ignore[call-arg]
    barrier = threading.Barrier(4)

    def thread(name: str) -> None:
        barrier.wait()
        for _ in range(5):
            workers[name].work(name)

    async def tasks() -> None:
        await asyncio.gather(*(asyncio.to_thread(workers[name].work, name) for name in workers))
        await asyncio.gather(*(task(name) for name in workers))

    async def task(name: str) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
            workers[name].work(name)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(thread, workers))
    asyncio.run(tasks())
    rows = records.rows("SELECT kind, agent_name FROM actions")
    assert len(rows) == 4 * (5 + 1 + 3)
    assert all(row["kind"] == row["agent_name"] for row in rows)


def test_tasks_that_an_agent_starts_are_its(session: Session, records: Records) -> None:
    """Tasks that a method starts, and threads of `asyncio.to_thread`, belong to its agent."""

    @agentops.track_agent(name="boss")
    class Boss:
        async def work(self) -> None:
            await asyncio.gather(asyncio.create_task(helper()), asyncio.to_thread(act))

    async def helper() -> None:
        act()

    asyncio.run(Boss().work())
    assert whose(records) == ["boss", "boss"]


def test_decorated_methods_of_agents(session: Session, records: Records) -> None:
    """The event of a decorated method, those inside it and its error are the agent's."""
    worker = Worker()
    worker.tool()
    assert records.row("SELECT name, agent_name FROM tools") == {"name": "tool", "agent_name": "worker"}
    assert records.value("SELECT agent_name FROM llms") == "worker"
    assert records.value("SELECT parent_id FROM llms") == records.value("SELECT id FROM tools")


def test_a_method_that_raises_gives_the_agent_back(session: Session, records: Records) -> None:
    """After a method that raised, events are no longer its agent's."""
    with pytest.raises(ValueError, match="mine"):
        Worker().fail()
    act()
    assert whose(records) == [DEFAULT]


def test_functions_are_agents(session: Session, records: Records) -> None:
    """A function of any kind can be an agent; it carries the agent's id and name, its own name if none is given."""

    @agentops.track_agent(name="planner")
    def plan() -> None:
        act()

    @agentops.track_agent()
    async def execute() -> None:
        await asyncio.sleep(0)
        act()

    @agentops.track_agent(name="counter")
    def count() -> Iterator[int]:
        act()
        yield 1

    plan()
    asyncio.run(execute())
    assert list(count()) == [1]
    assert whose(records) == ["planner", "execute", "counter"]
    assert plan.agentops_agent_name == "planner"  # type: ignore[attr-defined]
    ids = records.column("SELECT agent_id FROM actions ORDER BY seq")
    assert ids[0] == str(plan.agentops_agent_id)  # type: ignore[attr-defined]
    assert execute.agentops_agent_name == "execute"  # type: ignore[attr-defined]


def test_agents_made_before_init(records: Records) -> None:
    """Agents made before there is a session become known to it, by their names, with their first event."""
    worker = Worker()

    @agentops.track_agent(name="early function")
    def work() -> None:
        act()

    agentops.init()
    worker.work()
    work()
    assert whose(records) == ["worker", "early function"]
    assert records.column("SELECT name FROM agents ORDER BY seq") == [DEFAULT, "worker", "early function"]


def test_agents_of_a_later_session(session: Session, records: Records) -> None:
    """An agent that outlives its session is known to the next one as well, under the same id and name."""
    worker = Worker()
    worker.work()
    session.end_session("Success")
    agentops.init()
    worker.work()
    assert whose(records) == ["worker", "worker"]
    assert records.value("SELECT count(DISTINCT agent_id) FROM actions") == 1
    assert records.value("SELECT count(DISTINCT session_id) FROM actions") == 2


def test_agents_of_a_session_that_is_given(session: Session, records: Records) -> None:
    """With several sessions an agent is made known to the one its constructor is given, or that of the context."""
    other = agentops.start_session()
    assert other is not None
    Worker(agentops_name="given", session=other)  # type: ignore[call-arg]
    with session:
        Worker(agentops_name="context")  # type: ignore[call-arg]
    Worker(agentops_name="neither")  # type: ignore[call-arg]
    rows = records.rows("SELECT s.id, a.name FROM agents a JOIN sessions s ON s.seq = a.session ORDER BY a.seq")
    made = [(row["id"], row["name"]) for row in rows if row["name"] != DEFAULT]
    assert made == [(str(other.session_id), "given"), (str(session.session_id), "context")]


def test_an_agent_that_an_event_names(session: Session, records: Records) -> None:
    """An event may name its agent: that wins over the agent it is recorded in, and a text that is no UUID means the
    agent that was created under it."""
    first = agentops.create_agent("first")
    second = agentops.create_agent("second", "agent-2")
    assert first is not None
    for agent_id in (first, UUID(first), first.upper(), "agent-2", second):
        agentops.record(agentops.ActionEvent(agent_id=agent_id))  # type: ignore[arg-type]
    assert whose(records) == ["first", "first", "first", "second", "second"]
    assert records.value("SELECT count(*) FROM agents") == 3


def test_an_event_made_in_a_method_and_recorded_outside(session: Session, records: Records) -> None:
    """An event belongs to the agent in whose method it was made, wherever it is recorded."""

    @agentops.track_agent(name="maker")
    def make() -> agentops.ActionEvent:
        return agentops.ActionEvent()

    agentops.record(make())
    assert whose(records) == ["maker"]


def test_an_agent_with_an_odd_name_made_before_the_session(records: Records) -> None:
    """A name that the database cannot take as it is costs no event, whenever the agent was made."""

    @agentops.track_agent(name="lone \ud800 surrogate")
    class Odd:
        def work(self) -> None:
            act()

    odd = Odd()
    agentops.init()
    odd.work()
    assert whose(records) == ["lone \ufffd surrogate"]
