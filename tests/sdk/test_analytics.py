from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import agentops_local as agentops
from agentops_local.analytics.totals import cost_text, duration_text
from agentops_local.session import Session
from tests.sdk.records import Programs, Records

KEYS = ["LLM calls", "Tool calls", "Actions", "Errors", "Duration", "Cost"]
DURATION = re.compile(r"(?:(\d+)h )?(?:(\d+)m )?(\d+\.\d)s")
RECORDING_CHILD = """
import sys
import agentops_local as agentops
agentops.init(inherited_session_id=sys.argv[1])
agentops.record(agentops.LLMEvent(cost=0.25))
agentops.record(agentops.ToolEvent(name="hammer"))
"""


@pytest.fixture
def session() -> Session:
    """A live session."""
    started = agentops.init()
    assert started is not None
    return started


def analytics(session: Session) -> dict[str, object]:
    """What the session says of itself."""
    found = session.get_analytics()
    assert found is not None
    return found


def test_analytics_have_six_keys(session: Session) -> None:
    """`get_analytics` returns exactly the classic's six keys, in its order and types."""
    found = analytics(session)
    assert list(found) == KEYS
    assert [type(value) for value in found.values()] == [int, int, int, int, str, str]
    assert [found[key] for key in KEYS[:4]] == [0, 0, 0, 0]
    assert found["Cost"] == "0.00"
    assert DURATION.fullmatch(str(found["Duration"]))


def test_analytics_count_events_by_type(session: Session) -> None:
    """Events count under their type; API calls and events of other types count under none of the four."""
    for event in (
        agentops.LLMEvent(cost=0.1),
        agentops.LLMEvent(cost="0.2"),  # type: ignore[arg-type]  # text is taken, too
        agentops.ToolEvent(),
        agentops.ActionEvent(),
        agentops.ActionEvent("my-type"),
        agentops.Event(agentops.EventType.API),
        agentops.ErrorEvent(details="bad"),
    ):
        session.record(event)
    found = analytics(session)
    assert [found[key] for key in KEYS[:4]] == [2, 1, 1, 1]
    assert session.event_counts == {"llms": 2, "tools": 1, "actions": 1, "errors": 1, "apis": 1}
    assert (found["Cost"], session.token_cost) == ("0.300000", Decimal("0.3"))


def test_analytics_end_nothing(session: Session, records: Records) -> None:
    """`get_analytics` changes nothing, neither the session nor the database."""
    before = records.row("SELECT * FROM sessions")
    analytics(session)
    assert session.end_timestamp is None
    assert session.is_running
    assert records.row("SELECT * FROM sessions") == before


def test_analytics_of_an_ended_session(session: Session) -> None:
    """After the end the numbers can still be asked for, and the duration stands."""
    session.record(agentops.ActionEvent())
    session.end_session("Success")
    found = analytics(session)
    assert found["Actions"] == 1
    assert analytics(session) == found


def test_analytics_cover_every_process(session: Session, programs: Programs) -> None:
    """The numbers, the cost and the end's answer cover the events of every process."""
    session.record(agentops.LLMEvent(cost=0.5))
    programs.run(RECORDING_CHILD, session.session_id)
    found = analytics(session)
    assert [found[key] for key in KEYS[:4]] == [2, 1, 0, 0]
    assert session.event_counts["llms"] == 2
    assert session.token_cost == Decimal("0.75")
    assert session.end_session("Success") == "0.750000"


@settings(max_examples=25)
@given(st.lists(st.decimals(min_value=0, max_value=1000, places=12), max_size=20))
def test_cost_sums_are_exact(costs: list[Decimal]) -> None:
    """The cost of a session is the exact sum of its calls' costs, to a millionth of a millionth of a dollar."""
    from tests.clients import forget_client

    forget_client()
    session = agentops.init()
    assert session is not None
    for cost in costs:
        session.record(agentops.LLMEvent(cost=cost))
    assert session.token_cost == sum(costs, Decimal(0))
    assert session.end_session("Success") == cost_text(sum(costs, Decimal(0)))
    forget_client()


@given(st.integers(min_value=0, max_value=10**15))
def test_durations_say_their_length(microseconds: int) -> None:
    """A duration reads "1h 2m 3.4s", rounded to tenths of a second; minutes and seconds stay below sixty, hours and
    minutes are left out when zero."""
    text = duration_text(microseconds)
    matched = DURATION.fullmatch(text)
    assert matched is not None, text
    hours, minutes, seconds = (Decimal(part or 0) for part in matched.groups())
    assert abs((hours * 3600 + minutes * 60 + seconds) * 1_000_000 - microseconds) <= 50_000
    assert minutes < 60
    assert seconds < 60
    assert (matched[1] is None) == (hours == 0)
    assert (matched[2] is None) == (minutes == 0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0s"),
        (3.4, "3.4s"),
        (59.96, "1m 0.0s"),
        (62, "1m 2.0s"),
        (3600, "1h 0.0s"),
        (3723.4, "1h 2m 3.4s"),
        (3599.99, "1h 0.0s"),
        (90_000, "25h 0.0s"),
        (-5, "0.0s"),
    ],
)
def test_durations_by_example(seconds: float, text: str) -> None:
    """Durations as the classic writes them; one that a clock set back made negative is none at all."""
    assert duration_text(round(seconds * 1_000_000)) == text


@given(st.decimals(min_value=0, max_value=10**6, places=12))
def test_costs_have_six_decimals(cost: Decimal) -> None:
    """A cost has six decimals, rounded to the nearest, and "0.00" stands for no cost at all."""
    text = cost_text(cost)
    if cost == 0:
        assert text == "0.00"
    else:
        assert re.fullmatch(r"\d+\.\d{6}", text)
        assert abs(Decimal(text) - cost) <= Decimal("0.0000005")


def test_a_database_that_cannot_be_read(
    session: Session, project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What a session says of itself never raises: where the database cannot be read it is what was known last, and the
    log has a line."""
    agentops.record(agentops.LLMEvent(cost=0.25))
    assert session.token_cost == Decimal("0.25")
    assert session.host_env
    monkeypatch.setenv("AGENTOPS_LOCAL_STRICT", "0")
    database = project / ".agentops" / "agentops.db"
    database.rename(database.with_name("away.db"))
    database.mkdir()
    assert session.token_cost == Decimal("0.25")
    assert session.event_counts == {"llms": 1, "tools": 0, "actions": 0, "errors": 0, "apis": 0}
    assert session.host_env == {}
    assert session.get_analytics() is None
    failed = [record.message for record in caplog.records if "failed" in record.message]
    assert [message.split(" failed")[0] for message in failed] == [
        "agentops_local: reading what a session amounts to",
        "agentops_local: reading the host environment",
        "agentops_local: get_analytics()",
    ]
    database.rmdir()
