from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import Any

import pytest

import agentops_local as agentops
from agentops_local.session import Session
from tests.sdk.records import Records


@pytest.fixture
def session() -> Session:
    """A live session."""
    started = agentops.init()
    assert started is not None
    return started


def returns(records: Records) -> Any:
    """What the one call returned."""
    text = records.value("SELECT returns FROM tools")
    return None if text is None else json.loads(text)


@agentops.record_tool()
def echo(first: str) -> Generator[str, str, str]:
    """Yields what it is sent, survives a ValueError, and ends with 'stop'."""
    said = first
    while said != "stop":
        try:
            said = yield said.upper()
        except ValueError as error:  # noqa: PERF203 - a conversation is a loop
            said = f"caught {error}"
    return "the end"


@agentops.record_tool()
async def aecho(first: str) -> AsyncGenerator[str, str]:
    """The same with await."""
    said = first
    while said != "stop":
        await asyncio.sleep(0)
        try:
            said = yield said.upper()
        except ValueError as error:
            said = f"caught {error}"


def test_a_generator_is_recorded_at_its_end(session: Session, records: Records) -> None:
    """A generator is recorded when it is exhausted, with its arguments and the items it yielded."""

    @agentops.record_tool()
    def count(most: int) -> Iterator[int]:
        yield from range(most)

    generator = count(3)
    assert next(generator) == 0
    assert records.value("SELECT count(*) FROM events") == 0
    assert list(generator) == [1, 2]
    assert records.row("SELECT name, params, returns FROM tools") == {
        "name": "count",
        "params": '{"most":3}',
        "returns": "[0,1,2]",
    }


def test_a_generator_keeps_its_protocol(session: Session, records: Records) -> None:
    """send, throw, close and the return value of a generator work as without us."""
    generator = echo("a")
    assert next(generator) == "A"
    assert generator.send("b") == "B"
    assert generator.throw(ValueError("c")) == "CAUGHT C"
    with pytest.raises(StopIteration) as stopped:
        generator.send("stop")
    assert stopped.value.value == "the end"
    assert returns(records) == ["A", "B", "CAUGHT C"]


def test_the_return_value_passes_yield_from(session: Session) -> None:
    """`yield from` a decorated generator gives its return value."""

    def outer() -> Generator[str, str, None]:
        result = yield from echo("x")
        yield result

    generator = outer()
    assert next(generator) == "X"
    assert generator.send("stop") == "the end"


def test_a_closed_generator_is_no_failure(session: Session, records: Records) -> None:
    """A generator that its consumer closes is recorded with what it yielded until then, and without an error; its own
    clean-up runs."""
    cleaned = []

    @agentops.record_tool()
    def count() -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            cleaned.append(True)

    generator = count()
    assert next(generator) == 1
    generator.close()  # type: ignore[attr-defined]
    assert cleaned == [True]
    assert returns(records) == [1]
    assert records.value("SELECT count(*) FROM errors") == 0


def test_an_abandoned_generator_is_recorded(session: Session, records: Records) -> None:
    """A generator that nobody consumes to its end is recorded when it is collected; one never begun is not."""
    generator = echo("a")
    next(generator)
    never = echo("b")
    del generator, never
    gc.collect()
    assert returns(records) == ["A"]


def test_a_failing_generator(session: Session, records: Records) -> None:
    """A generator that raises is recorded with what it yielded, and the error; the exception is the same."""
    error = RuntimeError("mine")

    @agentops.record_tool()
    def fail() -> Iterator[int]:
        yield 1
        raise error

    generator = fail()
    assert next(generator) == 1
    with pytest.raises(RuntimeError, match="mine") as caught:
        next(generator)
    assert caught.value is error
    assert returns(records) == [1]
    assert records.value("SELECT trigger_event_id FROM errors") == records.value("SELECT id FROM tools")
    with pytest.raises(StopIteration):
        next(generator)


def test_what_is_thrown_in_comes_out(session: Session, records: Records) -> None:
    """An exception that is thrown into a generator and not caught there comes out unchanged, and is its error."""
    generator = echo("a")
    next(generator)
    error = KeyError("thrown")
    with pytest.raises(KeyError) as caught:
        generator.throw(error)
    assert caught.value is error
    assert records.value("SELECT error_type FROM errors") == "KeyError"


def test_a_generator_that_will_not_be_closed(session: Session) -> None:
    """A generator that yields when it is closed is refused by Python as without us."""

    @agentops.record_tool()
    def stubborn() -> Iterator[int]:
        try:
            yield 1
        except GeneratorExit:
            yield 2

    generator = stubborn()
    next(generator)
    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        generator.close()  # type: ignore[attr-defined]


def test_a_long_generator_keeps_its_first_items(session: Session, records: Records) -> None:
    """Of a generator without end the first items are kept, and it says that there were more."""

    @agentops.record_tool()
    def many() -> Iterator[int]:
        yield from range(5000)

    assert sum(many()) == sum(range(5000))
    items = returns(records)
    assert items[:1000] == list(range(1000))
    assert len(items) == 1001
    assert "there are more" in items[1000]


def test_a_generator_binds_only_its_own_code(session: Session, records: Records) -> None:
    """What a generator's own code records has the generator as its parent; what its consumer records meanwhile has
    not, also when two run by turns."""

    @agentops.record_tool()
    def work(name: str) -> Iterator[int]:
        for number in range(2):
            agentops.record(agentops.ActionEvent(f"{name}{number}"))
            yield number

    for _ in zip(work("a"), work("b"), strict=True):
        agentops.record(agentops.ActionEvent("consumer"))
    parents = records.rows("SELECT kind, parent_id FROM actions")
    tools = records.rows("SELECT id, json_extract(params, '$.name') AS name FROM tools")
    names = {row["id"]: row["name"] for row in tools}
    for row in parents:
        if row["kind"] == "consumer":
            assert row["parent_id"] is None
        else:
            assert names[row["parent_id"]] == row["kind"][0]


def test_an_async_generator_is_recorded_at_its_end(session: Session, records: Records) -> None:
    """An async generator is recorded when it is exhausted, with its arguments and the items it yielded."""

    @agentops.record_tool()
    async def count(most: int) -> AsyncIterator[int]:
        for number in range(most):
            await asyncio.sleep(0)
            yield number

    async def main() -> list[int]:
        return [number async for number in count(3)]

    assert asyncio.run(main()) == [0, 1, 2]
    assert records.row("SELECT name, params, returns FROM tools") == {
        "name": "count",
        "params": '{"most":3}',
        "returns": "[0,1,2]",
    }


def test_an_async_generator_keeps_its_protocol(session: Session, records: Records) -> None:
    """asend, athrow and the end of an async generator work as without us."""

    async def main() -> None:
        generator = aecho("a")
        assert await generator.__anext__() == "A"
        assert await generator.asend("b") == "B"
        assert await generator.athrow(ValueError("c")) == "CAUGHT C"
        with pytest.raises(StopAsyncIteration):
            await generator.asend("stop")

    asyncio.run(main())
    assert returns(records) == ["A", "B", "CAUGHT C"]
    assert records.value("SELECT count(*) FROM errors") == 0


def test_a_closed_async_generator_is_no_failure(session: Session, records: Records) -> None:
    """An async generator that is closed, by aclose or by a loop that is left, is recorded without an error, and its
    own clean-up runs."""
    cleaned = []

    @agentops.record_tool()
    async def count() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)

    async def main() -> None:
        closed = count()
        assert await anext(closed) == 1
        await closed.aclose()  # type: ignore[attr-defined]
        async for _ in count():
            break
        for _ in range(5):  # turns in which the loop closes what was left
            await asyncio.sleep(0)

    asyncio.run(main())
    assert cleaned == [True, True]
    assert records.column("SELECT returns FROM tools") == ["[1]", "[1]"]
    assert records.value("SELECT count(*) FROM errors") == 0


def test_a_failing_async_generator(session: Session, records: Records) -> None:
    """An async generator that raises, or is thrown into, passes the same exception on and is recorded with it."""
    error = RuntimeError("mine")

    @agentops.record_tool()
    async def fail() -> AsyncIterator[int]:
        yield 1
        raise error

    async def main() -> None:
        generator = fail()
        await anext(generator)
        with pytest.raises(RuntimeError, match="mine") as caught:
            await anext(generator)
        assert caught.value is error
        thrown = KeyError("thrown")
        other = aecho("a")
        await anext(other)
        with pytest.raises(KeyError) as came:
            await other.athrow(thrown)
        assert came.value is thrown

    asyncio.run(main())
    assert records.column("SELECT error_type FROM errors ORDER BY seq") == ["RuntimeError", "KeyError"]
    assert records.column("SELECT returns FROM tools ORDER BY seq") == ["[1]", '["A"]']


def test_an_async_generator_binds_only_its_own_code(session: Session, records: Records) -> None:
    """What an async generator's own code records has it as its parent, and what its consumer records has not."""

    @agentops.record_tool()
    async def work() -> AsyncIterator[int]:
        agentops.record(agentops.ActionEvent("inside"))
        yield 1
        await asyncio.sleep(0)
        agentops.record(agentops.ActionEvent("inside"))

    async def main() -> None:
        async for _ in work():
            agentops.record(agentops.ActionEvent("consumer"))

    asyncio.run(main())
    tool = records.value("SELECT id FROM tools")
    assert records.rows("SELECT kind, parent_id FROM actions ORDER BY seq") == [
        {"kind": "inside", "parent_id": tool},
        {"kind": "consumer", "parent_id": None},
        {"kind": "inside", "parent_id": tool},
    ]


def test_without_a_session_generators_work_as_ever() -> None:
    """Without a session decorated generators of both kinds keep their protocol."""

    async def main() -> list[str]:
        generator = aecho("a")
        found = [await anext(generator), await generator.asend("b"), await generator.athrow(ValueError("c"))]
        await generator.aclose()
        return found

    generator = echo("a")
    assert [next(generator), generator.send("b"), generator.throw(ValueError("c"))] == ["A", "B", "CAUGHT C"]
    with pytest.raises(StopIteration) as stopped:
        generator.send("stop")
    assert stopped.value.value == "the end"
    assert asyncio.run(main()) == ["A", "B", "CAUGHT C"]
