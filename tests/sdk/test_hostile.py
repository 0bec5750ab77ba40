from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any
from unittest.mock import MagicMock
from uuid import uuid4

import pytest

import agentops_local as agentops
from agentops_local import faults
from agentops_local.session import Session
from tests.sdk.records import Records


class Raising:
    """Raises whatever it is asked."""

    def __str__(self) -> str:
        raise RuntimeError("str")

    def __repr__(self) -> str:
        raise RuntimeError("repr")

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("getattr")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("eq")

    def __hash__(self) -> int:
        raise RuntimeError("hash")

    def __bool__(self) -> bool:
        raise RuntimeError("bool")

    def __iter__(self) -> Iterator[Any]:
        raise RuntimeError("iter")

    def __len__(self) -> int:
        raise RuntimeError("len")


class Unspeakable(Exception):
    """An exception that cannot be printed."""

    def __str__(self) -> str:
        raise RuntimeError("str")


def cycle() -> list[Any]:
    """A list that holds itself."""
    found: list[Any] = []
    found.append(found)
    return found


def deep() -> list[Any]:
    """A list far deeper than Python's stack."""
    found: list[Any] = []
    for _ in range(10_000):
        found = [found]
    return found


HOSTILE: dict[str, Callable[[], Any]] = {
    "raising": Raising,
    "unspeakable": Unspeakable,
    "cycle": cycle,
    "deep": deep,
    "mock": MagicMock,
    "lock": threading.Lock,
    "generator": lambda: (number for number in range(3)),
    "surrogate": lambda: "\ud800 and \0",
    "not a number": lambda: float("nan"),
    "infinity": lambda: float("-inf"),
    "huge number": lambda: 10**5000,
    "odd decimal": lambda: Decimal("sNaN"),
    "bytes": lambda: b"\xff\x00",
    "keys": lambda: {1: "a", "1": "b", None: "c", (1, 2): "d", Raising: "e"},
    "set": lambda: {1, "a"},
    "class": lambda: Raising,
    "empty text": str,
    "long text": lambda: "x" * 1_200_000,
    "truth": lambda: True,
    "list of odd things": lambda: [Raising(), b"\xff", "\ud800", {"a": cycle()}],
}
COMMON = ("params", "returns", "init_timestamp", "end_timestamp", "agent_id", "id", "session_id", "event_type")
FIELDS: list[tuple[Callable[[], agentops.Event], str]] = [
    *((agentops.ActionEvent, field) for field in (*COMMON, "action_type", "logs", "screenshot")),
    *((agentops.ToolEvent, field) for field in ("name", "logs")),
    *(
        (agentops.LLMEvent, field)
        for field in ("thread_id", "prompt", "prompt_tokens", "completion", "completion_tokens", "cost", "model")
    ),
    *(
        (agentops.ErrorEvent, field)
        for field in ("trigger_event", "exception", "error_type", "code", "details", "logs")
    ),
]


def name_of(field: tuple[Callable[[], agentops.Event], str]) -> str:
    """What a test of a field is called."""
    return f"{getattr(field[0], '__name__', '')}.{field[1]}"


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Session:
    """A live session of a program in production, where a fault of ours is swallowed."""
    monkeypatch.setenv("AGENTOPS_LOCAL_STRICT", "0")
    # A message that cannot be formatted is told on standard error by `logging`, but raised by pytest's handler.
    monkeypatch.setattr(logging.root.manager, "disable", logging.CRITICAL)
    started = agentops.init()
    assert started is not None
    return started


@pytest.mark.parametrize(("kind", "field"), FIELDS, ids=map(name_of, FIELDS))
def test_no_field_hurts_the_program(
    session: Session, records: Records, kind: Callable[[], agentops.Event], field: str
) -> None:
    """Whatever stands in a field of an event, to record it raises nothing, and every view can be read."""
    for make in HOSTILE.values():
        event = kind()
        setattr(event, field, make())
        session.record(event)
    for view in ("actions", "tools", "llms", "errors", "payloads"):
        for row in records.rows(f"SELECT * FROM {view}"):
            assert "\0" not in "".join(value for value in row.values() if isinstance(value, str))


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        pytest.param(
            kind,
            field,
            id=name_of((kind, field)),
        )
        for kind, field in FIELDS
    ],
)
def test_no_field_costs_the_event(
    session: Session, records: Records, kind: Callable[[], agentops.Event], field: str
) -> None:
    """Whatever stands in a field of an event, the event is kept."""
    for make in HOSTILE.values():
        event = kind()
        setattr(event, field, make())
        session.record(event)
    assert records.value("SELECT count(*) FROM events") == len(HOSTILE), faults.counts


def test_payloads_are_strict_json(session: Session, records: Records) -> None:
    """Whatever was recorded, a payload is strict JSON, as SQLite's own functions and any other program read it."""
    for make in HOSTILE.values():
        session.record(agentops.ToolEvent(params={"hostile": make()}, returns=make()))
    assert records.column("SELECT DISTINCT json_valid(params) AND json_valid(returns) FROM payloads") == [1]
    for row in records.rows("SELECT params, returns FROM payloads"):
        for value in row.values():
            json.loads(value, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


def test_arguments_of_a_decorated_call_may_be_hostile(session: Session, records: Records) -> None:
    """Whatever a decorated function is given or returns, the call goes on as without us."""

    @agentops.record_tool()
    def same(value: Any, *rest: Any, **named: Any) -> Any:
        return value

    for make in HOSTILE.values():
        value = make()
        assert same(value) is value
        assert same(value, value, key=value) is value
    assert records.value("SELECT count(*) FROM tools") == 2 * len(HOSTILE)


def test_an_exception_that_cannot_be_printed(session: Session, records: Records) -> None:
    """An exception that raises when it is printed is recorded, and reaches the caller unchanged."""
    error = Unspeakable()

    @agentops.record_tool()
    def fail() -> None:
        raise error

    with pytest.raises(Unspeakable) as caught:
        fail()
    assert caught.value is error
    assert records.value("SELECT error_type FROM errors") == "Unspeakable"
    assert records.value("SELECT count(*) FROM tools") == 1


def test_names_of_agents_may_be_hostile(session: Session, records: Records) -> None:
    """Whatever an agent is called, it is known to the session under some text."""
    for make in HOSTILE.values():
        made = session.create_agent(make(), str(uuid4()))
        assert made is not None
    assert records.value("SELECT count(*) FROM agents") == len(HOSTILE) + 1
    assert all(isinstance(name, str) for name in records.column("SELECT name FROM agents"))


def test_tags_may_be_hostile(session: Session, records: Records) -> None:
    """Whatever is given as tags, the call raises nothing and the tags stay a list of text."""
    for make in HOSTILE.values():
        session.add_tags([make()])
        agentops.set_tags(["plain", make()])
        agentops.add_tags(make())
    assert records.column("SELECT DISTINCT typeof(value) FROM sessions, json_each(tags)") == ["text"]


def test_the_end_may_be_hostile(session: Session, records: Records) -> None:
    """Whatever reason and video a session is ended with, it ends."""
    agentops.end_session("Success")
    for make in HOSTILE.values():
        live = agentops.init()
        assert live is not None
        live.end_session("Fail", make(), make())
    assert records.value("SELECT count(*) FROM sessions WHERE end_us IS NULL") == 0
    assert records.value("SELECT count(*) FROM sessions WHERE end_state = 'Fail'") == len(HOSTILE)


def test_what_is_refused_may_be_hostile(session: Session, records: Records) -> None:
    """Whatever is given as an end state, or as tags, is refused with a warning if it cannot be meant; nothing is
    raised, and the session goes on."""

    def endless() -> Iterator[str]:
        while True:
            yield "again"

    for make in HOSTILE.values():
        assert agentops.end_session(make()) is None
        assert agentops.start_session(make()) is not None or agentops.get_session(make()) is None
    session.set_tags(endless())
    session.add_tags(make() for make in [Raising])  # type: ignore[misc]  # no text
    assert session.is_running
    session.end_session("Success")
    assert records.value("SELECT end_state FROM sessions WHERE id = ?", str(session.session_id)) == "Success"


@pytest.mark.parametrize("given", ["the matter", ["a", "list"], 3])
def test_an_exception_that_is_none(session: Session, records: Records, given: Any) -> None:
    """What is given as an exception, and is none, is recorded as what went wrong."""
    session.record(agentops.ErrorEvent(exception=given))
    row = records.row("SELECT error_type, details, logs FROM errors")
    assert row == {"error_type": type(given).__name__, "details": str(given), "logs": None}
