# The classes here are props: what their methods say of themselves, their names say.
# ruff: noqa: ARG003, ARG004, D102

from __future__ import annotations

import asyncio
import json
import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

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


def calls(records: Records) -> list[tuple[str, Any]]:
    """Name and arguments of all calls, in order."""
    rows = records.rows("SELECT action_type, params FROM actions ORDER BY seq")
    return [(row["action_type"], json.loads(row["params"])) for row in rows]


class Worker:
    """Methods of every kind."""

    @agentops.record_action()
    def method(self, a: int) -> int:
        return a + 1

    @agentops.record_action()
    async def coroutine(self, a: int) -> int:
        await asyncio.sleep(0)
        return a + 1

    @staticmethod
    @agentops.record_action()
    def static_outside(a: int) -> int:
        return a + 1

    @agentops.record_action()
    @staticmethod
    def static_inside(a: int) -> int:
        return a + 1

    @classmethod
    @agentops.record_action()
    def class_outside(cls, a: int) -> type:
        return cls

    @agentops.record_action()
    @classmethod
    def class_inside(cls, a: int) -> type:
        return cls

    @property
    @agentops.record_action()
    def answer(self) -> int:
        return 42


class Child(Worker):
    """Inherits them."""


@dataclass
class Point:
    """To be pickled: it is found by its name."""

    x: int


agentops.record_action("point")(Point)


def test_methods_are_recorded_without_self(session: Session, records: Records) -> None:
    """A call of a method is recorded with its arguments, but not with the object that it is called on."""
    worker = Worker()
    assert worker.method(1) == 2
    assert Worker.method(worker, a=2) == 3
    assert asyncio.run(worker.coroutine(3)) == 4
    assert worker.answer == 42
    assert calls(records) == [("method", {"a": 1}), ("method", {"a": 2}), ("coroutine", {"a": 3}), ("answer", {})]


@pytest.mark.parametrize("name", ["static_outside", "static_inside"])
def test_static_methods_in_both_orders(session: Session, records: Records, name: str) -> None:
    """A static method is one with the decorator above `staticmethod` or below it, on the class and on its objects."""
    assert getattr(Worker, name)(1) == 2
    assert getattr(Worker(), name)(a=2) == 3
    assert calls(records) == [(name, {"a": 1}), (name, {"a": 2})]


@pytest.mark.parametrize("name", ["class_outside", "class_inside"])
def test_class_methods_in_both_orders(session: Session, records: Records, name: str) -> None:
    """A class method is one with the decorator above `classmethod` or below it, and gets the class it is called on."""
    assert getattr(Worker, name)(1) is Worker
    assert getattr(Child(), name)(a=2) is Child
    assert calls(records) == [(name, {"a": 1}), (name, {"a": 2})]


def test_a_class_that_can_be_called(session: Session, records: Records) -> None:
    """On a class whose objects can be called, the calls of its objects are recorded, not its construction."""

    @agentops.record_action("calling")
    class Caller:
        def __init__(self, base: int) -> None:
            self.base = base

        def __call__(self, number: int) -> int:
            return self.base + number

    assert Caller(1)(2) == 3
    assert calls(records) == [("calling", {"number": 2})]


def test_a_class_whose_call_is_a_coroutine(session: Session, records: Records) -> None:
    """The call may be a coroutine; then its result is recorded."""

    @agentops.record_tool()
    class Caller:
        async def __call__(self, number: int) -> int:
            await asyncio.sleep(0)
            return number

    assert asyncio.run(Caller()(2)) == 2
    assert records.row("SELECT name, returns FROM tools") == {"name": "Caller", "returns": "2"}


def test_a_class_that_is_made(session: Session, records: Records) -> None:
    """On any other class its construction is recorded, under its name, and it stays the class that it was."""

    class Plain:
        def __init__(self, a: int, b: str = "x") -> None:
            self.a = a

    decorated = agentops.record_action()(Plain)
    assert decorated is Plain
    assert Plain(1).a == 1
    assert calls(records) == [("Plain", {"a": 1, "b": "x"})]


def test_a_construction_that_fails(session: Session, records: Records) -> None:
    """A construction that raises is recorded with its error."""

    @agentops.record_action()
    class Failing:
        def __init__(self) -> None:
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        Failing()
    assert records.value("SELECT error_type FROM errors") == "ValueError"
    assert calls(records) == [("Failing", {})]


def test_classes_without_a_constructor(session: Session, records: Records) -> None:
    """A class that has no constructor, or only `__new__`, can be made as without us, and cannot where it could not."""

    @agentops.record_action()
    class Nothing: ...

    @agentops.record_action()
    class New:
        value: int

        def __new__(cls, value: int) -> New:
            made = super().__new__(cls)
            made.value = value
            return made

    @agentops.record_action()
    class Text(str): ...

    @agentops.record_action()
    class Pair(NamedTuple):
        a: int
        b: int = 2

    class NewChild(Nothing):
        def __new__(cls, value: int) -> NewChild:
            return super().__new__(cls)

    assert isinstance(Nothing(), Nothing)
    assert New(5).value == 5
    assert Text("abc") == "abc"
    assert Pair(1) == (1, 2)
    assert isinstance(NewChild(5), NewChild)
    with pytest.raises(TypeError):
        Nothing(1)  # type: ignore[call-arg]
    assert records.value("SELECT count(*) FROM actions") == 6
    assert records.value("SELECT count(*) FROM errors") == 1


def test_dataclasses_and_abstract_classes(session: Session, records: Records) -> None:
    """Dataclasses and abstract classes work as ever, subclasses and `super()` included."""

    @agentops.record_action()
    class Base(ABC):
        def __init__(self, a: int) -> None:
            self.a = a

        @abstractmethod
        def work(self) -> None: ...

    class Concrete(Base):
        def __init__(self) -> None:
            super().__init__(7)

        def work(self) -> None: ...

    assert Concrete().a == 7
    assert Point(1) == Point(x=1)
    with pytest.raises(TypeError, match="abstract"):
        Base(1)  # type: ignore[abstract]
    assert [name for name, _ in calls(records)] == ["Base", "point", "point"]


def test_objects_can_be_pickled(session: Session) -> None:
    """Objects of a decorated class can be pickled, and unpickling calls no constructor."""
    assert pickle.loads(pickle.dumps(Point(3))) == Point(3)  # noqa: S301 - our own


def test_an_object_among_the_results(session: Session, records: Records) -> None:
    """What a method returns is recorded as plain data, a dataclass by its fields."""

    @agentops.record_action()
    def make() -> Point:
        return Point(5)

    make()
    assert records.value("SELECT returns FROM actions WHERE action_type = 'make'") == '{"x":5}'


@pytest.mark.parametrize("make", [lambda: Worker().method, lambda: Worker.static_inside, lambda: Child.class_inside])
def test_methods_stay_in_threads(session: Session, records: Records, make: Callable[[], Callable[[int], Any]]) -> None:
    """With one live session a method is recorded from whatever thread it is called in."""
    asyncio.run(asyncio.to_thread(make(), 1))
    assert records.value("SELECT count(*) FROM actions") == 1
