from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentops_sync.comparison import instant
from agentops_sync.wire import drift, error_key, error_key_of_row

EVENT = {
    "id": "2b4ef3a1-6c5e-4a52-8a0f-0d9a3c7f1e11",
    "agent_id": "2b4ef3a1-6c5e-4a52-8a0f-0d9a3c7f1e12",
    "init_timestamp": "2025-01-01T00:00:00.120000+00:00",
    "end_timestamp": "2025-01-01T00:00:01.500000+00:00",
}


@pytest.mark.parametrize(
    ("field", "sent", "got", "same"),
    [
        ("init_timestamp", "2025-01-01T00:00:00.120000+00:00", "2025-01-01 00:00:00.12+00", True),
        ("init_timestamp", "2025-01-01T00:00:00.120000+00:00", "2025-01-01T02:00:00.12+02:00", True),
        ("init_timestamp", "2025-01-01T00:00:00.120000+00:00", "2025-01-01T00:00:00.121Z", False),
        ("init_timestamp", "2025-01-01T00:00:00.120000+00:00", None, False),
        ("id", EVENT["id"], str(EVENT["id"]).upper(), True),
        ("agent_id", None, EVENT["id"], True),
        ("agent_id", EVENT["id"], EVENT["agent_id"], False),
        ("prompt", [{"role": "a", "n": 1}], {"type": "chatml", "messages": [{"role": "a", "n": 1.0}]}, True),
        ("prompt", [{"role": "a", "n": 1}], {"type": "chatml", "messages": [{"role": "a", "n": True}]}, False),
        ("prompt", "hi", {"type": "string", "string": "hi"}, True),
        ("prompt", None, {"type": "string", "string": "null"}, True),
        ("prompt", '[{"content":"hi"}]', {"type": "string", "string": '[{"content": "hi"}]'}, True),
        ("completion", {"role": "assistant", "content": "a"}, {"type": "string", "string": "a"}, False),
        ("cost", "0.1234567890123", 0.1234567890123, True),
        ("cost", "0.1", "0.10", True),
        ("cost", "0.1", 0.2, False),
        ("cost", "0.1", None, False),
        ("cost", None, 0.0006, True),
        ("prompt_tokens", 0, 12, True),
        ("prompt_tokens", 5, 12, False),
        ("params", {"q": "x"}, '{"q":"x"}', True),
        ("params", {"q": "x"}, '{"q":"y"}', False),
        ("params", "text", "text", True),
        ("params", "text", None, False),
        ("returns", None, None, True),
    ],
)  # fmt: skip
def test_drift_is_a_matter_of_values(field: str, sent: object, got: object, same: bool) -> None:
    """A field has drifted if its value is another, not if it is written otherwise or was left to the server."""
    assert drift("llms", {**EVENT, field: sent}, {**EVENT, field: got}) == ([] if same else [field])


def test_a_missing_column_is_null() -> None:
    """A column that is absent, of the body or of the row, counts as null."""
    assert drift("tools", {**EVENT, "name": "t", "logs": None}, {**EVENT, "name": "t"}) == []
    assert drift("tools", {**EVENT, "name": "t", "logs": "a"}, {**EVENT, "name": "t"}) == ["logs"]


ERROR: dict[str, Any] = {
    "timestamp": "2025-01-01T00:00:00.120000+00:00", "trigger_event_id": EVENT["id"], "trigger_event_type": "tools",
    "error_type": "ValueError", "code": "E1", "details": "boom", "logs": "trace",
}  # fmt: skip


@pytest.mark.parametrize(
    "stamp", ["2025-01-01T00:00:00.12+00:00", "2025-01-01 00:00:00.12Z", "2025-01-01T00:00:00.120"]
)
def test_a_key_is_of_the_instant(stamp: str) -> None:
    """However the server writes the time and the id, the key of an error stays the same."""
    row = {**ERROR, "timestamp": stamp, "trigger_event_id": str(EVENT["id"]).upper(), "id": 3}
    assert error_key_of_row(row) == error_key(ERROR)


@pytest.mark.parametrize("field", ERROR)
def test_a_key_is_of_every_field(field: str) -> None:
    """Two errors that differ in one field have two keys; and null is not the empty text."""
    other = "2025-01-01T00:00:00.120001+00:00" if field == "timestamp" else str(uuid4())
    keys = {error_key({**ERROR, field: value}) for value in (ERROR[field], other, None, "")}
    assert len(keys) == 4


@given(at=st.datetimes(timezones=st.just(timezone.utc)), minutes=st.integers(-840, 840), space=st.booleans())
def test_an_instant_is_read_as_it_is_written(at: datetime, minutes: int, space: bool) -> None:
    """A time in any zone, with any number of digits in its fraction, is the same instant."""
    us = (at - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(microseconds=1)
    try:
        local = at.astimezone(timezone(timedelta(minutes=minutes)))
    except OverflowError:
        local = at
    written = local.isoformat(sep=" " if space else "T", timespec="microseconds")
    assert instant(written) == us
    assert instant(re.sub(r"\.?0+(?=[+-]\d\d:\d\d$)", "", written) if at.microsecond else written) == us


@pytest.mark.parametrize("text", [None, 5, "", "yesterday", "2025-13-01T00:00:00", "2025-01-01"])
def test_what_is_no_time_is_no_instant(text: object) -> None:
    """A value that names no instant is None, and raises nothing."""
    assert instant(text) is None
