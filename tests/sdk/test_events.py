from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID, uuid4

import pytest

import agentops_local as agentops
from agentops_local.session import Session
from tests.sdk.records import Records

ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00")
KINDS: dict[Callable[[], agentops.Event], tuple[str, str]] = {
    agentops.ActionEvent: ("actions", "actions"),
    agentops.LLMEvent: ("llms", "llms"),
    agentops.ToolEvent: ("tools", "tools"),
    agentops.ErrorEvent: ("errors", "errors"),
}


@pytest.fixture
def session() -> Session:
    """A live session."""
    started = agentops.init()
    assert started is not None
    return started


@pytest.mark.parametrize("kind", KINDS)
def test_an_event_needs_no_argument(session: Session, records: Records, kind: Callable[[], agentops.Event]) -> None:
    """An event without arguments has its type, its time, an id of its own and nothing else, and can be recorded."""
    event, other = kind(), kind()
    event_type, view = KINDS[kind]
    assert event.event_type == event_type
    assert isinstance(event.id, UUID)
    assert event.id != other.id
    assert ISO.fullmatch(event.init_timestamp)
    given = {"event_type", "init_timestamp", "id"}
    assert {name: value for name, value in vars(event).items() if name not in given and value is not None} == {}
    session.record(event)
    assert records.value(f"SELECT id FROM {view}") == str(event.id)


def test_the_first_field_is_the_type(session: Session, records: Records) -> None:
    """The first positional argument of an event is its type, as the classic's own tests use it."""
    event = agentops.ActionEvent("my-type")
    assert event.event_type == "my-type"
    session.record(event)
    assert records.row("SELECT kind, action_type FROM actions") == {"kind": "my-type", "action_type": None}


@pytest.mark.parametrize("kind", [agentops.EventType.API, "apis"])
def test_an_event_of_the_base_class(session: Session, records: Records, kind: agentops.EventType | str) -> None:
    """An event of the base class may be of any type, given as a word or as an `EventType`."""
    session.record(agentops.Event(kind, {"url": "x"}))
    assert records.row("SELECT kind, params FROM actions") == {"kind": "apis", "params": '{"url":"x"}'}


def test_recording_completes_the_event(session: Session) -> None:
    """To record an event gives it its end time and its session."""
    event = agentops.ToolEvent()
    assert event.end_timestamp is None
    session.record(event)
    assert event.session_id == session.session_id
    assert event.end_timestamp is not None
    assert ISO.fullmatch(event.end_timestamp)
    assert event.end_timestamp >= event.init_timestamp


def test_times_are_kept_as_given(session: Session, records: Records) -> None:
    """Times are kept to the microsecond, in whatever form of ISO 8601, as a datetime or as seconds they are given."""
    stamps: list[Any] = [
        "2026-01-02T03:04:05.678901+00:00",
        "2026-01-02T03:04:05.678901Z",
        "2026-01-02T03:04:05.678901",
        "2026-01-02T05:04:05.678901+02:00",
        datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone.utc),
        datetime(2026, 1, 2, 5, 4, 5, 678901, tzinfo=timezone(timedelta(hours=2))),
    ]
    for stamp in stamps:
        session.record(agentops.ActionEvent(init_timestamp=stamp, end_timestamp=stamp))
    rows = records.rows("SELECT DISTINCT init_timestamp, end_timestamp FROM actions")
    assert rows == [dict.fromkeys(("init_timestamp", "end_timestamp"), "2026-01-02T03:04:05.678901+00:00")]


def test_a_time_that_is_none_is_told(session: Session, records: Records, caplog: pytest.LogCaptureFixture) -> None:
    """A time that is none is told, and the event is recorded at the time it is."""
    session.record(agentops.ActionEvent("odd", init_timestamp="yesterday", end_timestamp="tomorrow"))
    row = records.row("SELECT init_timestamp, end_timestamp FROM actions")
    assert abs(datetime.fromisoformat(row["init_timestamp"]) - datetime.now(timezone.utc)) < timedelta(minutes=5)
    assert row["end_timestamp"] is None
    assert '"yesterday" is no time' in caplog.text


def test_every_field_of_an_action_is_kept(session: Session, records: Records) -> None:
    """An action is shown with all its fields."""
    session.record(
        agentops.ActionEvent(
            action_type="click", params={"x": 1}, returns=["a"], logs="log", screenshot="https://example.org/a.png"
        )
    )
    row = records.row("SELECT action_type, params, returns, logs, screenshot FROM actions")
    assert row == {
        "action_type": "click",
        "params": '{"x":1}',
        "returns": '["a"]',
        "logs": "log",
        "screenshot": "https://example.org/a.png",
    }


def test_every_field_of_a_tool_call_is_kept(session: Session, records: Records) -> None:
    """A tool call is shown with all its fields."""
    session.record(agentops.ToolEvent(name="search", params={"q": "x"}, returns="found", logs={"status": 200}))
    row = records.row("SELECT name, params, returns, logs FROM tools")
    assert row == {"name": "search", "params": '{"q":"x"}', "returns": "found", "logs": '{"status":200}'}


@pytest.mark.parametrize(
    ("prompt", "completion"),
    [
        ("hello", "world"),
        ([{"role": "user", "content": "hello"}], {"role": "assistant", "content": "world"}),
        ([{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}], "world"),
        ([], ""),
        (None, None),
    ],
)
def test_every_field_of_an_llm_call_is_kept(session: Session, records: Records, prompt: Any, completion: Any) -> None:
    """An LLM call is shown with all its fields, prompt and completion in the form in which they were given."""
    thread = uuid4()
    session.record(
        agentops.LLMEvent(
            prompt=prompt,
            completion=completion,
            model="gpt-4o",
            prompt_tokens=5,
            completion_tokens=7,
            cost=0.01,
            thread_id=thread,
            params={"temperature": 0},
        )
    )
    row = records.row("SELECT * FROM llms")
    for name, given in (("prompt", prompt), ("completion", completion)):
        shown = row[name]
        assert (json.loads(shown) if isinstance(given, (list, dict)) else shown) == given
    assert (row["model"], row["prompt_tokens"], row["completion_tokens"]) == ("gpt-4o", 5, 7)
    assert (row["cost"], row["thread_id"], row["params"]) == (0.01, str(thread), '{"temperature":0}')


def test_unknown_cost_and_tokens_stay_unknown(session: Session, records: Records) -> None:
    """What nobody counted is NULL, and zero is zero."""
    session.record(agentops.LLMEvent())
    session.record(agentops.LLMEvent(prompt_tokens=0, completion_tokens=0, cost=Decimal(0)))
    columns = "SELECT prompt_tokens, completion_tokens, cost FROM llms ORDER BY seq"
    assert [tuple(row.values()) for row in records.rows(columns)] == [(None, None, None), (0, 0, 0.0)]


def test_an_error_from_an_exception(session: Session, records: Records) -> None:
    """An error made of an exception takes its type, text and traceback."""
    try:
        raise KeyError("key")
    except KeyError as error:
        caught = error
    event = agentops.ErrorEvent(exception=caught)
    assert (event.error_type, event.details) == ("KeyError", "'key'")
    assert event.timestamp == event.init_timestamp
    session.record(event)
    row = records.row("SELECT * FROM errors")
    assert (row["error_type"], row["details"], row["timestamp"]) == ("KeyError", "'key'", event.timestamp)
    assert row["logs"].startswith("Traceback (most recent call last)")
    assert "test_an_error_from_an_exception" in row["logs"]


def test_an_error_of_a_raised_nothing(session: Session, records: Records) -> None:
    """An exception that was never raised has no traceback, and none is made up."""
    session.record(agentops.ErrorEvent(exception=ValueError("only made")))
    assert records.row("SELECT error_type, details, logs FROM errors") == {
        "error_type": "ValueError",
        "details": "only made",
        "logs": None,
    }


def test_an_error_inside_except_takes_the_traceback(session: Session, records: Records) -> None:
    """An error made while an exception is handled has its traceback in its logs, though it is not given it."""
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        session.record(agentops.ErrorEvent(details="it failed"))
    row = records.row("SELECT error_type, details, logs FROM errors")
    assert (row["error_type"], row["details"]) == (None, "it failed")
    assert row["logs"].endswith("ZeroDivisionError: division by zero\n")


def test_an_error_outside_except_has_no_traceback(session: Session, records: Records) -> None:
    """An error made while nothing is handled has no logs; the classic's 'NoneType: None' is left behind."""
    event = agentops.ErrorEvent(error_type="quota", code="429", details={"limit": "10"})
    assert event.logs is None
    session.record(event)
    assert records.row("SELECT error_type, code, details, logs FROM errors") == {
        "error_type": "quota",
        "code": "429",
        "details": '{"limit":"10"}',
        "logs": None,
    }


def test_what_an_error_is_given_wins(session: Session) -> None:
    """What an error is given is not overwritten from its exception."""
    event = agentops.ErrorEvent(exception=ValueError("text"), error_type="mine", details="my words", logs="my log")
    assert (event.error_type, event.details, event.logs) == ("mine", "my words", "my log")


def test_the_trigger_is_recorded_with_its_error(session: Session, records: Records) -> None:
    """The event that failed is recorded with its error if it has not been, and is found from it."""
    tool = agentops.ToolEvent(name="search")
    session.record(agentops.ErrorEvent(trigger_event=tool, exception=ValueError("bad")))
    row = records.row("SELECT trigger_event_id, trigger_event_type FROM errors")
    assert row == {"trigger_event_id": str(tool.id), "trigger_event_type": "tools"}
    assert records.value("SELECT id FROM tools") == str(tool.id)
    assert records.column("SELECT kind FROM payloads ORDER BY seq") == ["tools", "errors"]


def test_a_trigger_is_recorded_once(session: Session, records: Records) -> None:
    """An event that has been recorded before its error is not recorded again."""
    tool = agentops.ToolEvent(name="search")
    session.record(tool)
    session.record(agentops.ErrorEvent(trigger_event=tool))
    session.record(agentops.ErrorEvent(trigger_event=tool))
    assert records.column("SELECT kind FROM payloads ORDER BY seq") == ["tools", "errors", "errors"]


def test_a_trigger_that_is_no_event(session: Session, records: Records, caplog: pytest.LogCaptureFixture) -> None:
    """An error whose trigger is no event is recorded without it, and that is told."""
    session.record(agentops.ErrorEvent(trigger_event="search", details="bad"))  # type: ignore[arg-type]
    assert records.row("SELECT details, trigger_event_id FROM errors") == {"details": "bad", "trigger_event_id": None}
    assert "str is no event" in caplog.text


def test_an_event_is_recorded_once(session: Session, records: Records, caplog: pytest.LogCaptureFixture) -> None:
    """The same event recorded twice is one row, and a warning."""
    event = agentops.ActionEvent("once")
    session.record(event)
    assert "recorded already" not in caplog.text
    session.record(event)
    assert "recorded already" in caplog.text
    assert records.value("SELECT count(*) FROM actions") == 1


def test_an_event_in_two_sessions(session: Session, records: Records) -> None:
    """An event recorded in two sessions is an event of each, with an id of its own."""
    event = agentops.ActionEvent("shared")
    session.record(event)
    first = event.id
    other = agentops.start_session()
    assert other is not None
    other.record(event)
    assert event.id != first
    rows = records.rows("SELECT session_id, id FROM actions ORDER BY seq")
    assert [tuple(row.values()) for row in rows] == [
        (str(session.session_id), str(first)),
        (str(other.session_id), str(event.id)),
    ]


@pytest.mark.parametrize("thing", ["text", None, {"event_type": "actions"}, ValueError("x"), object()])
def test_what_is_no_event_is_refused(
    session: Session, records: Records, caplog: pytest.LogCaptureFixture, thing: Any
) -> None:
    """What is no event is not recorded, and is told."""
    agentops.record(thing)
    assert "is no event" in caplog.text
    assert records.value("SELECT count(*) FROM events") == 0


def test_users_may_subclass_events(session: Session, records: Records) -> None:
    """An event of a class of the user's own is recorded as what its base is."""

    class Colour(Enum):
        RED = "red"

    class Mine(agentops.ToolEvent):
        pass

    session.record(Mine(name="mine", params={"colour": Colour.RED}))
    assert records.row("SELECT name, params FROM tools") == {"name": "mine", "params": '{"colour":"red"}'}


def test_ids_grow_with_time() -> None:
    """The ids of events are time-ordered UUIDs: an event made in a later millisecond has a greater id."""
    event = agentops.ActionEvent()
    assert event.id.version == 7
    made_ms = event.id.int >> 80
    assert abs(made_ms - datetime.fromisoformat(event.init_timestamp).timestamp() * 1000) < 1000


def test_flush_now_changes_nothing(session: Session, records: Records) -> None:
    """`record(flush_now=True)` stores the event as ever: at once."""
    session.record(agentops.ActionEvent("now"), flush_now=True)
    session.record(agentops.ActionEvent("as well"), False)
    assert records.column("SELECT kind FROM actions ORDER BY seq") == ["now", "as well"]
