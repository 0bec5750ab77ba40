from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentops_local.clock import parse_us, to_iso

NOON = 1_735_732_800_000_000  # 2025-01-01T12:00:00 UTC, µs
ISO = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(timezone.utc))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("stamp", "after"),
    [
        ("2025-01-01T12:00:00Z", 0),
        ("2025-01-01T12:00:00z", 0),
        ("2025-01-01T12:00:00.1Z", 100_000),
        ("2025-01-01T12:00:00.12Z", 120_000),
        ("2025-01-01T12:00:00.1234+00:00", 123_400),
        ("2025-01-01T12:00:00.123456789Z", 123_456),
        ("2025-01-01 12:00:00.5", 500_000),
        ("2025-01-01T13:00:00.25+01:00", 250_000),
        (datetime(2025, 1, 1, 14, tzinfo=timezone(timedelta(hours=2))), 0),
        (1_735_732_800, 0),
        (1_735_732_800.5, 500_000),
    ],
)
def test_a_time_in_any_usual_form(stamp: object, after: int) -> None:
    """A time is read in every form that programs write, on every Python: with Z, and with any number of digits."""
    assert parse_us(stamp) == NOON + after


@pytest.mark.parametrize("stamp", ["", "noon", "2025-13-01T00:00:00Z", True, None, 1e30, b"2025"])
def test_what_is_no_time(stamp: object) -> None:
    """What is no time is none, and raises nothing."""
    assert parse_us(stamp) is None


@given(ISO)
def test_what_is_written_is_read(moment: datetime) -> None:
    """A time that we write is read as the same microsecond."""
    us = parse_us(moment)
    assert us is not None
    assert parse_us(to_iso(us)) == us
