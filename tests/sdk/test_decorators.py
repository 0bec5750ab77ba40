from __future__ import annotations

import asyncio
import functools
import inspect
import json
import traceback
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import agentops_local as agentops
from agentops_local.session import Session
from tests.sdk.records import Records

Decorator = Callable[..., Callable[[Callable[..., Any]], Callable[..., Any]]]
BOTH = [(agentops.record_action, "actions", "action_type"), (agentops.record_tool, "tools", "name")]


@pytest.fixture
def session() -> Session:
    """A live session."""
    started = agentops.init()
    assert started is not None
    return started


def bare_function() -> None:
    """To be decorated without parentheses."""


def params(records: Records, view: str = "actions") -> list[Any]:
    """The arguments of all calls, in order."""
    return [json.loads(text) for text in records.column(f"SELECT params FROM {view} ORDER BY seq")]


@pytest.mark.parametrize(("decorator", "view", "name"), BOTH)
def test_a_call_is_recorded(session: Session, records: Records, decorator: Decorator, view: str, name: str) -> None:
    """A call is an event with the function's name, its arguments by name, defaults included, its result and times."""

    @decorator()
    def add(a: int, b: int = 2, *rest: int, sign: str = "+", **others: int) -> int:
        return a + b

    assert add(1) == 3
    assert add(1, 5, 7, 8, sign="-", c=9) == 6
    rows = records.rows(f"SELECT {name} AS name, returns, init_timestamp, end_timestamp FROM {view} ORDER BY seq")
    assert [(row["name"], row["returns"]) for row in rows] == [("add", "3"), ("add", "6")]
    for row in rows:
        assert datetime.fromisoformat(row["init_timestamp"]) <= datetime.fromisoformat(row["end_timestamp"])
    assert params(records, view) == [
        {"a": 1, "b": 2, "sign": "+", "rest": []},
        {"a": 1, "b": 5, "sign": "-", "c": 9, "rest": [7, 8]},
    ]


@pytest.mark.parametrize(("decorator", "view", "name"), BOTH)
def test_a_name_that_is_given(session: Session, records: Records, decorator: Decorator, view: str, name: str) -> None:
    """A name that is given is the event's, by place or by its keyword; used without parentheses the function's is."""
    keyword = "event_name" if decorator is agentops.record_action else "tool_name"
    decorator("by place")(lambda: None)()
    decorator(**{keyword: "by keyword"})(lambda: None)()

    bare: Any = decorator(bare_function)

    @decorator()
    def empty() -> None: ...

    bare()
    empty()
    assert records.column(f"SELECT {name} FROM {view} ORDER BY seq") == [
        "by place",
        "by keyword",
        "bare_function",
        "empty",
    ]


def test_the_old_name(session: Session, records: Records, caplog: pytest.LogCaptureFixture) -> None:
    """`record_function` is `record_action` under its old name, and says so."""

    @agentops.record_function("old")
    def work() -> None: ...

    work()
    assert "deprecated" in caplog.text
    assert records.column("SELECT action_type FROM actions") == ["old"]


def test_a_coroutine_is_recorded_when_it_ends(session: Session, records: Records) -> None:
    """A call of a coroutine function is recorded with its result, when that is there."""

    @agentops.record_tool()
    async def work(number: int) -> int:
        await asyncio.sleep(0)
        return number * 2

    coroutine = work(4)
    assert inspect.iscoroutine(coroutine)
    assert records.value("SELECT count(*) FROM events") == 0
    assert asyncio.run(coroutine) == 8
    assert records.row("SELECT name, returns, params FROM tools") == {
        "name": "work",
        "returns": "8",
        "params": '{"number":4}',
    }


def test_without_a_session_nothing_changes(project: Path) -> None:
    """Without a session a decorated function works as ever, and leaves no file behind."""

    @agentops.record_action()
    def work(a: int, session: str = "mine") -> str:
        return f"{a}{session}"

    @agentops.record_tool()
    async def awork() -> int:
        return 7

    assert work(1) == "1mine"
    assert work(1, session="yours") == "1yours"
    assert asyncio.run(awork()) == 7
    assert list(project.iterdir()) == []


def test_after_the_end_nothing_is_recorded(session: Session, records: Records) -> None:
    """After the end of the session a decorated function works on, unrecorded."""

    @agentops.record_action()
    def work() -> int:
        return 7

    session.end_session("Success")
    assert work() == 7
    assert work(session=session) == 7  # type: ignore[call-arg]
    assert records.value("SELECT count(*) FROM events") == 0


@pytest.mark.parametrize("is_async", [False, True])
def test_an_exception_goes_on_unchanged(session: Session, records: Records, is_async: bool) -> None:
    """A call that raises is recorded with an error, and the same exception reaches the caller, its traceback ending
    where it was raised."""
    error = ValueError("mine")

    def fail(number: int) -> None:
        raise error

    async def afail(number: int) -> None:
        await asyncio.sleep(0)
        raise error

    tool = agentops.record_tool("failing")
    with pytest.raises(ValueError, match="mine") as caught:
        asyncio.run(tool(afail)(7)) if is_async else tool(fail)(7)
    assert caught.value is error
    assert traceback.extract_tb(error.__traceback__)[-1].name in ("fail", "afail")
    assert error.__cause__ is error.__context__ is None
    event = records.row("SELECT id, name, params, returns, end_timestamp FROM tools")
    assert (event["name"], event["params"], event["returns"]) == ("failing", '{"number":7}', None)
    assert event["end_timestamp"] is not None
    row = records.row("SELECT error_type, details, logs, trigger_event_id, trigger_event_type FROM errors")
    logs = row.pop("logs")
    assert row == {
        "error_type": "ValueError",
        "details": "mine",
        "trigger_event_id": event["id"],
        "trigger_event_type": "tools",
    }
    assert logs.startswith("Traceback")
    assert logs.endswith("ValueError: mine\n")
    assert "raise error" in logs
    assert "agentops_local" not in logs  # the program's own frames alone


@pytest.mark.parametrize(
    ("error", "errors"),
    [(KeyboardInterrupt, 1), (asyncio.CancelledError, 1), (SystemExit, 0), (GeneratorExit, 0), (StopIteration, 1)],
)
def test_what_is_no_failure_is_no_error(
    session: Session, records: Records, error: type[BaseException], errors: int
) -> None:
    """Whatever ends a call, it is recorded; to leave the program on purpose is no error."""

    @agentops.record_tool()
    def leave() -> None:
        raise error

    with pytest.raises(error):
        leave()
    assert records.value("SELECT count(*) FROM tools") == 1
    assert records.value("SELECT count(*) FROM errors") == errors


def test_a_cancelled_task_stays_cancelled(session: Session, records: Records) -> None:
    """A coroutine that is cancelled is recorded, and its task is cancelled as without us."""

    @agentops.record_tool()
    async def wait(started: asyncio.Event) -> None:
        started.set()
        await asyncio.Event().wait()

    async def main() -> bool:
        started = asyncio.Event()
        task = asyncio.create_task(wait(started))
        await started.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return task.cancelled()

    assert asyncio.run(main())
    assert records.value("SELECT name FROM tools") == "wait"
    assert records.value("SELECT error_type FROM errors") == "CancelledError"


def test_events_inside_know_their_parent(session: Session, records: Records) -> None:
    """An event that happens in the course of a decorated call has that call as its parent, however deep, in tasks
    too; afterwards there is none."""

    @agentops.record_tool()
    def inner() -> None:
        agentops.record(agentops.LLMEvent(prompt="deep"))

    @agentops.record_action()
    async def outer() -> None:
        agentops.record(agentops.LLMEvent(prompt="before"))
        await asyncio.gather(asyncio.to_thread(inner), asyncio.create_task(leaf()))
        inner()

    @agentops.record_action()
    async def leaf() -> None:
        await asyncio.sleep(0)

    asyncio.run(outer())
    agentops.record(agentops.LLMEvent(prompt="after"))
    outer_id = records.value("SELECT id FROM actions WHERE action_type = 'outer'")
    assert records.column("SELECT parent_id FROM tools") == [outer_id, outer_id]
    assert records.value("SELECT parent_id FROM actions WHERE action_type = 'leaf'") == outer_id
    parents = {row["prompt"]: row["parent_id"] for row in records.rows("SELECT prompt, parent_id FROM llms")}
    assert parents["before"] == outer_id
    assert parents["deep"] in records.column("SELECT id FROM tools")
    assert parents["after"] is None
    assert records.value("SELECT parent_id FROM actions WHERE action_type = 'outer'") is None


def test_a_session_that_is_given(session: Session, records: Records) -> None:
    """`session=` says which session a call belongs to; the function is given it if it has such a parameter."""
    other = agentops.start_session()

    @agentops.record_action()
    def without(a: int) -> int:
        return a

    @agentops.record_action()
    def with_it(a: int, session: Session | None = None) -> Session | None:
        return session

    assert without(1, session=other) == 1  # type: ignore[call-arg]
    assert without(1, session=None) == 1  # type: ignore[call-arg]
    assert with_it(1, session=other) is other
    assert other is not None
    assert records.column("SELECT session_id FROM actions") == [str(other.session_id)] * 2
    assert params(records) == [{"a": 1}, {"a": 1}]


def test_a_session_of_somebody_else(session: Session, records: Records) -> None:
    """A `session` that is none of ours (one of an HTTP library, say) is the function's own business."""

    @agentops.record_action()
    def fetch(**options: Any) -> Any:
        return options["session"]

    theirs = object()
    assert fetch(session=theirs) is theirs
    assert records.value("SELECT count(*) FROM actions") == 1


def test_one_shot_arguments_are_not_used_up(session: Session, records: Records) -> None:
    """Iterators, files and coroutines among the arguments reach the function unused."""

    @agentops.record_action()
    def consume(numbers: Iterator[int], text: Iterator[str]) -> tuple[list[int], list[str]]:
        return list(numbers), list(text)

    numbers = (number for number in range(3))
    assert consume(numbers, iter(["a", "b"])) == ([0, 1, 2], ["a", "b"])
    assert "generator" in records.value("SELECT params FROM actions")


def test_results_that_are_iterators_are_not_used_up(session: Session, records: Records) -> None:
    """A function that returns an iterator returns it unused."""

    @agentops.record_action()
    def produce() -> Iterator[int]:
        return iter([1, 2, 3])

    assert list(produce()) == [1, 2, 3]


def test_arguments_are_recorded_as_they_were(session: Session, records: Records) -> None:
    """What a function does to its arguments does not show in what it was given; what it returns shows as it is then."""

    @agentops.record_action()
    def change(items: list[int], table: dict[str, Any]) -> list[int]:
        items.append(3)
        table["nested"]["deep"].clear()
        return items

    change([1, 2], {"nested": {"deep": [1]}})
    assert params(records) == [{"items": [1, 2], "table": {"nested": {"deep": [1]}}}]
    assert records.value("SELECT returns FROM actions") == "[1,2,3]"


@pytest.mark.parametrize("decorator", [agentops.record_action, agentops.record_tool, agentops.track_agent])
def test_a_decorated_function_looks_the_same(decorator: Decorator) -> None:
    """A decorated function keeps its kind, name, text, signature, annotations and attributes."""

    def plain(a: int, b: str = "x") -> int:
        """Says something."""
        return a

    async def coroutine() -> None: ...

    def generator() -> Iterator[int]:
        yield 1

    async def async_generator() -> Any:
        yield 1

    plain.mark = 7  # type: ignore[attr-defined]
    decorated: Any = decorator()(plain)
    assert (decorated.__name__, decorated.__qualname__) == ("plain", plain.__qualname__)
    assert (decorated.__doc__, decorated.__module__) == ("Says something.", __name__)
    assert (decorated.__annotations__, decorated.mark) == (plain.__annotations__, 7)
    assert decorated.__wrapped__ is plain
    assert inspect.signature(decorated) == inspect.signature(plain)
    for kind, function in (
        (inspect.iscoroutinefunction, coroutine),
        (asyncio.iscoroutinefunction, coroutine),
        (inspect.isgeneratorfunction, generator),
        (inspect.isasyncgenfunction, async_generator),
    ):
        assert kind(decorator()(function))
        assert not kind(decorated)


def test_callables_that_are_no_functions(session: Session, records: Records) -> None:
    """Built-in functions, partials and callable objects can be decorated, too."""

    class Doubler:
        def __call__(self, number: int) -> int:
            return number * 2

    assert agentops.record_tool("length")(len)("abc") == 3
    assert agentops.record_tool()(functools.partial(int, base=2))("101") == 5
    assert agentops.record_tool()(Doubler())(4) == 8
    assert records.column("SELECT name FROM tools ORDER BY seq") == ["length", "partial", "Doubler"]
    assert records.column("SELECT returns FROM tools ORDER BY seq") == ["3", "5", "8"]


def test_recursion_nests(session: Session, records: Records) -> None:
    """A function that calls itself is its own parent, level by level."""

    @agentops.record_action()
    def down(level: int) -> int:
        return level if level == 0 else down(level - 1)

    assert down(3) == 0
    rows = records.rows("SELECT id, parent_id, params FROM actions ORDER BY seq")
    assert [json.loads(row["params"])["level"] for row in rows] == [0, 1, 2, 3]
    assert [row["parent_id"] for row in rows] == [*(row["id"] for row in rows[1:]), None]
