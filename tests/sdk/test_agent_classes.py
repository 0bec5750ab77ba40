# The classes here are props: what their methods say of themselves, their names say.
# ruff: noqa: ARG004, D102

from __future__ import annotations

import copy
import inspect
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

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


def act() -> None:
    """Records an action."""
    agentops.record(agentops.ActionEvent())


def whose(records: Records) -> list[str | None]:
    """Whose each action is, by name, in order."""
    return records.column("SELECT agent_name FROM actions ORDER BY seq")


def name_of(agent: object) -> Any:
    """The name an agent carries."""
    return vars(agent)["agentops_agent_name"]


class Base:
    """A class that is no agent."""

    def work(self) -> None:
        act()


def test_the_name_comes_from_the_nearest(session: Session) -> None:
    """An agent is called what its constructor is told, else what the decorator is, else its role, else its class."""

    class Agent(Base):
        def __init__(self, role: str | None = None) -> None:
            self.role = role

    tracked: Any = agentops.track_agent()(type("Agent", (Agent,), {}))
    named: Any = agentops.track_agent(name="decorator")(type("Named", (Agent,), {}))
    assert name_of(tracked()) == "Agent"
    assert name_of(tracked("researcher")) == "researcher"
    assert name_of(named("researcher")) == "decorator"
    assert name_of(named("researcher", agentops_name="constructor")) == "constructor"


def test_without_parentheses(session: Session, records: Records) -> None:
    """`@track_agent` without parentheses works as with them."""
    bare: Any = agentops.track_agent

    class Agent(Base): ...

    bare(Agent)().work()
    bare(act)()
    assert whose(records) == ["Agent", "act"]


def test_a_role_that_raises(session: Session) -> None:
    """A role that cannot be read is passed over."""

    @agentops.track_agent()
    class Agent:
        @property
        def role(self) -> str:
            raise RuntimeError("not now")

    assert name_of(Agent()) == "Agent"


def test_the_constructor_keeps_its_arguments(session: Session) -> None:
    """The constructor gets what it is given, but for the keywords of ours, which it gets if it names them itself."""
    other = agentops.start_session()

    @agentops.track_agent()
    class Plain:
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.given = (args, kwargs)

    @agentops.track_agent()
    class Asking:
        def __init__(self, session: Session | None = None) -> None:
            self.session = session

    theirs = object()
    assert Plain(1, a=2, agentops_name="x", session=other).given == ((1,), {"a": 2})
    assert Plain(session=theirs).given == ((), {"session": theirs})
    assert Asking(session=other).session is other
    assert "agentops_name" not in inspect.signature(Plain).parameters


def test_events_of_the_constructor(session: Session, records: Records) -> None:
    """Events recorded in the constructor are the agent's."""

    @agentops.track_agent(name="eager")
    class Agent(Base):
        def __init__(self) -> None:
            self.work()

    Agent()
    assert whose(records) == ["eager"]


def test_a_role_known_late_names_the_agent(session: Session, records: Records) -> None:
    """An agent that records in its constructor before it has a role is called by its role all the same."""

    @agentops.track_agent()
    class Agent(Base):
        def __init__(self) -> None:
            self.work()
            self.role = "researcher"

    Agent()
    assert whose(records) == ["researcher"]


def test_a_constructor_that_raises(session: Session, records: Records) -> None:
    """A constructor's exception reaches the caller unchanged, and the agent is given back."""
    error = ValueError("mine")

    @agentops.track_agent()
    class Agent:
        def __init__(self) -> None:
            raise error

    with pytest.raises(ValueError, match="mine") as caught:
        Agent()
    assert caught.value is error
    act()
    assert whose(records) == ["Default Agent"]


def test_subclasses_of_an_agent(session: Session, records: Records) -> None:
    """Objects of a subclass are agents, in the methods they inherit and in those they add; with decorators on both
    classes an object is one agent, called as the outermost says."""

    @agentops.track_agent(name="parent")
    class Parent(Base):
        def __init__(self) -> None:
            self.parent_was_made = True

        def overridden(self) -> None:
            act()

    class Child(Parent):
        def overridden(self) -> None:
            super().overridden()

        def added(self) -> None:
            act()

    @agentops.track_agent(name="grandchild")
    class Grandchild(Child):
        def __init__(self) -> None:
            super().__init__()

    child, grandchild = Child(), Grandchild()
    for agent in (child, grandchild):
        agent.work()
        agent.overridden()
        agent.added()
        assert agent.parent_was_made
    assert whose(records) == ["parent"] * 3 + ["grandchild"] * 3
    assert records.value("SELECT count(DISTINCT agent_id) FROM actions") == 2


def test_the_base_class_stays_as_it_was(session: Session, records: Records) -> None:
    """To track a class does not touch its bases: their own objects are no agents."""

    @agentops.track_agent()
    class Agent(Base): ...

    Agent().work()
    Base().work()
    assert whose(records) == ["Agent", "Default Agent"]
    assert not hasattr(Base, "agentops_agent_id")


def test_dataclasses(session: Session, records: Records) -> None:
    """Dataclasses can be agents, frozen ones and those with slots too; their fields, comparison and repr are theirs."""

    @agentops.track_agent(name="plain")
    @dataclass
    class Plain(Base):
        x: int = 1
        items: list[int] = field(default_factory=list)

    @agentops.track_agent(name="frozen")
    @dataclass(frozen=True)
    class Frozen(Base):
        x: int = 1

    @agentops.track_agent(name="slots")
    @dataclass(slots=True)
    class Slots:
        x: int = 1

        def work(self) -> None:
            act()

    @agentops.track_agent(name="both")
    @dataclass(slots=True, frozen=True)
    class Both:
        x: int = 1

        def work(self) -> None:
            act()

    for kind in (Plain, Frozen, Slots, Both):
        agent = kind(x=5)
        assert agent == kind(5)
        assert agent != kind(6)
        assert repr(agent).endswith("x=5)") or "x=5" in repr(agent)
        agent.work()
    assert whose(records) == ["plain", "frozen", "slots", "both"]


def test_classes_with_slots(session: Session, records: Records) -> None:
    """Objects that take no attributes but their own can be agents, each one of its own, and bear the class's name."""

    @agentops.track_agent()
    class Slotted:
        """Its text."""

        __slots__ = ("x",)

        def __init__(self, x: int) -> None:
            self.x = x

        def work(self) -> None:
            act()

        def clone(self) -> Slotted:
            return type(self)(self.x)

    first = Slotted(1)
    second = first.clone()
    first.work()
    second.work()
    assert (Slotted.__name__, Slotted.__doc__, Slotted.__module__) == ("Slotted", "Its text.", __name__)
    assert isinstance(second, Slotted)
    assert len(set(records.column("SELECT agent_id FROM actions"))) == 2
    assert whose(records) == ["Slotted", "Slotted"]


def test_pydantic_models(session: Session, records: Records) -> None:
    """Pydantic models can be agents: their fields, dumps and validation are theirs alone."""
    pydantic = pytest.importorskip("pydantic")

    def work(self: object) -> None:
        act()

    space = {"__annotations__": {"x": int, "role": str}, "role": "analyst", "work": work, "__module__": __name__}
    for settings in ({}, {"frozen": True}, {"extra": "forbid"}):
        body = {**space, "model_config": settings}
        agent = agentops.track_agent()(type(pydantic.BaseModel)("Model", (pydantic.BaseModel,), body))(x=5)
        agent.work()
        assert isinstance(agent.agentops_agent_id, UUID)
        assert agent.model_dump() == {"x": 5, "role": "analyst"}
        assert agent == agent.model_copy()
    assert whose(records) == ["analyst"] * 3


def test_classes_that_ask_for_unknown_attributes(session: Session, records: Records) -> None:
    """A `__getattr__` that relies on the constructor is not called before it, nor for attributes of ours."""
    asked = []

    @agentops.track_agent(name="delegate")
    class Delegate(Base):
        def __init__(self) -> None:
            self.inner = {"a": 1}

        def __getattr__(self, name: str) -> Any:
            asked.append(name)
            return getattr(self.inner, name)

    agent = Delegate()
    agent.work()
    assert list(agent.keys()) == ["a"]
    assert asked == ["keys"]
    assert whose(records) == ["delegate"]


def test_classes_without_a_constructor(session: Session, records: Records) -> None:
    """Classes that have no constructor, or only `__new__`, can be agents."""

    @agentops.track_agent()
    class Nothing(Base): ...

    @agentops.track_agent()
    class New(Base):
        def __new__(cls, value: int) -> New:
            return super().__new__(cls)

    Nothing().work()
    New(5).work()
    assert whose(records) == ["Nothing", "New"]
    with pytest.raises(TypeError):
        Nothing(1)  # type: ignore[call-arg]


def test_copies_are_the_same_agent(session: Session, records: Records) -> None:
    """A copy of an agent is that agent."""

    @agentops.track_agent(name="original")
    class Agent(Base): ...

    agent = Agent()
    for one in (agent, copy.copy(agent), copy.deepcopy(agent)):
        one.work()
    assert records.value("SELECT count(DISTINCT agent_id) FROM actions") == 1


def test_an_agent_is_made_once(session: Session, records: Records) -> None:
    """An object that is an agent is introduced once, however often its constructor runs."""

    @agentops.track_agent(name="once")
    class Agent(Base):
        def __init__(self) -> None: ...

    agent = Agent()
    known = vars(agent)["agentops_agent_id"]
    agent.__init__()  # type: ignore[misc]
    assert vars(agent)["agentops_agent_id"] == known
    assert records.value("SELECT count(*) FROM agents") == 2


def test_what_cannot_be_an_agent(caplog: pytest.LogCaptureFixture) -> None:
    """What is neither a class nor a function is returned as it is, with a warning."""
    thing = [1, 2]
    assert agentops.track_agent(name="x")(thing) is thing
    assert "takes a class or a function" in caplog.text
