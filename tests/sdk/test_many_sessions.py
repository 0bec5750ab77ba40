from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

import agentops_local as agentops
from agentops_local.session import Session
from tests.sdk.records import Records

OF_SESSION = "SELECT kind FROM payloads WHERE session_id = ? ORDER BY seq"


@pytest.fixture
def two() -> tuple[Session, Session]:
    """Two live sessions."""
    agentops.init(auto_start_session=False)
    first, second = agentops.start_session(["first"]), agentops.start_session(["second"])
    assert first is not None
    assert second is not None
    return first, second


def act(word: str) -> None:
    """Records an action with the package's function."""
    agentops.record(agentops.ActionEvent(word))


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("record", lambda: act("lost")),
        ("end_session", lambda: agentops.end_session("Success")),
        ("add_tags", lambda: agentops.add_tags(["x"])),
        ("set_tags", lambda: agentops.set_tags(["x"])),
        ("create_agent", lambda: agentops.create_agent("x")),
    ],
)
def test_the_package_does_nothing_with_two_sessions(
    two: tuple[Session, Session],
    records: Records,
    caplog: pytest.LogCaptureFixture,
    name: str,
    call: Callable[[], object],
) -> None:
    """With two live sessions a function of the package returns None, changes nothing and says why."""
    tables = ("sessions", "agents", "events")
    before = [records.rows(f"SELECT * FROM {table}") for table in tables]
    assert call() is None
    assert f"2 sessions are live, so {name}()" in caplog.text
    assert [records.rows(f"SELECT * FROM {table}") for table in tables] == before


def test_each_session_has_methods_of_its_own(two: tuple[Session, Session], records: Records) -> None:
    """With two live sessions each one's own methods act on it alone."""
    for number, session in enumerate(two):
        session.record(agentops.ActionEvent(f"{number}"))
        session.add_tags(["added"])
        session.create_agent(f"agent {number}")
        session.end_session("Success", f"reason {number}")
    for number, session in enumerate(two):
        assert records.column(OF_SESSION, str(session.session_id)) == [f"{number}"]
        row = records.row("SELECT * FROM sessions WHERE id = ?", str(session.session_id))
        assert row["tags"] == f'["{("first", "second")[number]}", "added"]'
        assert row["end_state_reason"] == f"reason {number}"
        agents = records.column("SELECT name FROM agents WHERE session = ? ORDER BY seq", row["seq"])
        assert agents == ["Default Agent", f"agent {number}"]


def test_one_that_is_left_is_the_package_s_again(two: tuple[Session, Session], records: Records) -> None:
    """When all sessions but one have ended, the package's functions act on that one."""
    first, second = two
    first.end_session("Success")
    act("mine")
    assert records.column(OF_SESSION, str(second.session_id)) == ["mine"]


def test_with_a_session_the_package_acts_on_it(two: tuple[Session, Session], records: Records) -> None:
    """In the block of `with session:` the package's functions act on that session; after it as before."""
    first, second = two
    with first as entered:
        assert entered is first
        act("outer")
        with second:
            act("inner")
            agentops.add_tags(["tagged"])
        act("outer again")
    act("lost")
    assert records.column(OF_SESSION, str(first.session_id)) == ["outer", "outer again"]
    assert records.column(OF_SESSION, str(second.session_id)) == ["inner"]
    assert (first.tags, second.tags) == (["first"], ["second", "tagged"])
    assert first.is_running
    assert second.is_running


def test_the_block_is_left_by_exceptions_too(two: tuple[Session, Session]) -> None:
    """An exception leaves the block unchanged, and the session is no longer the one in the context."""
    first, _ = two
    error = ValueError("mine")
    with pytest.raises(ValueError, match="mine") as caught, first:
        raise error
    assert caught.value is error
    assert agentops.Client().active_session() is None


def test_tasks_have_sessions_of_their_own(two: tuple[Session, Session], records: Records) -> None:
    """Tasks that run by turns each act on the session they have entered."""

    async def work(session: Session, turns: list[asyncio.Event], own: int) -> None:
        with session:
            for step in range(3):
                await turns[2 * step + own].wait()
                act(f"step {step}")
                turns[2 * step + own + 1].set()

    async def main() -> None:
        turns = [asyncio.Event() for _ in range(7)]
        turns[0].set()
        await asyncio.gather(work(two[0], turns, 0), work(two[1], turns, 1))

    asyncio.run(main())
    for session in two:
        assert records.column(OF_SESSION, str(session.session_id)) == ["step 0", "step 1", "step 2"]


def test_one_session_in_two_tasks_at_once(two: tuple[Session, Session], records: Records) -> None:
    """Two tasks may be in the block of the same session at once, and leave it in any order."""
    first, _ = two

    async def main() -> None:
        entered, left = asyncio.Event(), asyncio.Event()

        async def long() -> None:
            with first:
                entered.set()
                await left.wait()
                act("long")

        async def short() -> None:
            await entered.wait()
            with first:
                act("short")
            left.set()

        await asyncio.gather(long(), short())
        assert agentops.Client().active_session() is None

    asyncio.run(main())
    assert records.column(OF_SESSION, str(first.session_id)) == ["short", "long"]


def test_tasks_begun_in_the_block_belong_to_it(two: tuple[Session, Session], records: Records) -> None:
    """A task, or a thread of `asyncio.to_thread`, that is begun in the block acts on its session, even after it."""
    first, _ = two

    async def late(go: asyncio.Event) -> None:
        await go.wait()
        act("task")

    async def main() -> None:
        go = asyncio.Event()
        with first:
            task = asyncio.create_task(late(go))
            await asyncio.to_thread(act, "thread")
        go.set()
        await task

    asyncio.run(main())
    assert records.column(OF_SESSION, str(first.session_id)) == ["thread", "task"]


def test_threads_have_sessions_of_their_own(two: tuple[Session, Session], records: Records) -> None:
    """Threads each act on the session they have entered, whatever the others are in."""
    both = threading.Barrier(2)

    def work(session: Session) -> None:
        with session:
            both.wait()
            act(session.tags[0])
            both.wait()

    threads = [threading.Thread(target=work, args=(session,)) for session in two]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for session in two:
        assert records.column(OF_SESSION, str(session.session_id)) == session.tags


def test_a_context_that_was_copied_keeps_its_session(two: tuple[Session, Session], records: Records) -> None:
    """What runs in a copy of the block's context acts on the block's session."""
    first, _ = two
    with first:
        copied = contextvars.copy_context()
    copied.run(act, "copied")
    assert records.column(OF_SESSION, str(first.session_id)) == ["copied"]


def test_a_block_may_be_left_elsewhere(two: tuple[Session, Session]) -> None:
    """A block that is entered in one context and left in another, as fixtures do, raises nothing."""
    first, _ = two
    contextvars.Context().run(first.__enter__)
    contextvars.Context().run(first.__exit__, None, None, None)
    assert agentops.Client().active_session() is None


def test_a_patched_function_acts_on_its_session(two: tuple[Session, Session], records: Records) -> None:
    """A function that a session has patched acts on that session wherever it is called, also from within another's."""
    first, second = two

    def work(word: str) -> str:
        act(word)
        return word.upper()

    patched = first.patch(work)
    assert patched("plain") == "PLAIN"
    with second:
        assert patched("nested") == "NESTED"
        act("between")
    thread = threading.Thread(target=patched, args=("thread",))
    thread.start()
    thread.join()
    assert records.column(OF_SESSION, str(first.session_id)) == ["plain", "nested", "thread"]
    assert records.column(OF_SESSION, str(second.session_id)) == ["between"]


def test_a_patched_coroutine_stays_one(two: tuple[Session, Session], records: Records) -> None:
    """A coroutine function that is patched is still one, and acts on the session when it is awaited."""
    first, second = two

    async def work(word: str) -> str:
        await asyncio.sleep(0)
        act(word)
        return word.upper()

    patched = first.patch(work)
    assert inspect.iscoroutinefunction(patched)

    async def main() -> tuple[str, str]:
        return await asyncio.gather(patched("a"), second.patch(work)("b"))

    assert list(asyncio.run(main())) == ["A", "B"]
    assert records.column(OF_SESSION, str(first.session_id)) == ["a"]
    assert records.column(OF_SESSION, str(second.session_id)) == ["b"]


def test_patched_generators_act_on_their_session(two: tuple[Session, Session], records: Records) -> None:
    """A patched generator, of either kind, acts on its session while its own code runs, and its consumer does not."""
    first, _ = two

    def count() -> Iterator[int]:
        act("before")
        yield 1
        act("after")

    async def acount() -> AsyncIterator[int]:
        act("async before")
        yield 1
        act("async after")

    async def main() -> list[int]:
        return [number async for number in first.patch(acount)()]

    for number in first.patch(count)():
        act("the consumer's")
        assert number == 1
    assert asyncio.run(main()) == [1]
    kinds = records.column(OF_SESSION, str(first.session_id))
    assert kinds == ["before", "after", "async before", "async after"]


def test_a_patched_function_gets_its_session(two: tuple[Session, Session]) -> None:
    """A parameter `session` of a patched function is filled in, unless the caller gives one by name or place."""
    first, second = two

    def work(word: str, session: Session | None = None) -> Session | None:
        return session

    def only(*, session: Session) -> Session:
        return session

    patched = first.patch(work)
    assert patched("word") is first
    assert patched("word", session=second) is second
    assert patched("word", second) is second
    assert first.patch(only)() is first  # type: ignore[call-arg]


def test_a_patched_function_keeps_its_name_and_errors(two: tuple[Session, Session]) -> None:
    """A patched function keeps its name, and its exceptions pass unchanged."""
    first, _ = two
    error = ValueError("mine")

    def fail() -> None:
        """Fails."""
        raise error

    patched = first.patch(fail)
    assert (patched.__name__, patched.__doc__) == ("fail", "Fails.")
    with pytest.raises(ValueError, match="mine") as caught:
        patched()
    assert caught.value is error
    assert agentops.Client().active_session() is None


@pytest.mark.parametrize("decorator", [agentops.record_action, agentops.record_tool])
def test_decorators_act_on_the_session_in_the_context(
    two: tuple[Session, Session], records: Records, decorator: Callable[[], Callable]
) -> None:
    """With two live sessions a decorated function is recorded in that of its context, or the one it is given; without
    either it runs and is not recorded."""
    first, second = two

    @decorator()
    def work(number: int) -> int:
        return 1 // number

    assert work(1) == 1
    with first:
        assert work(1) == 1
    assert work(1, session=second) == 1
    assert records.value("SELECT count(*) FROM events") == 2
    with pytest.raises(ZeroDivisionError):
        work(0, session=second)
    ids = records.column("SELECT session_id FROM payloads WHERE kind <> 'errors' ORDER BY seq")
    assert ids == [str(first.session_id), str(second.session_id), str(second.session_id)]
    assert records.value("SELECT session_id FROM errors") == str(second.session_id)
