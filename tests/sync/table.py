"""What the server takes and gives back, and events of every kind to be sent to it."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from agentops_local.analytics.reading import open_reader
from agentops_local.event import ActionEvent, ErrorEvent, Event, LLMEvent, ToolEvent
from agentops_local.redact import make_redactor
from agentops_sync import wire
from agentops_sync.policy import FULL, Policy
from agentops_sync.wire import Wire
from tests.recorder.taping import Tape

MASKED = Policy("masked", make_redactor("secrets"))
METADATA = Policy("metadata")
NEVER = Policy("never")
MANY = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


# The oracle: what the server takes -----------------------------------------------------------------------------------

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00")
COST = re.compile(r"-?\d+(\.\d+)?")


def is_uuid(value: object) -> bool:
    """A UUID as PostgreSQL writes it."""
    try:
        return isinstance(value, str) and str(UUID(value)) == value
    except ValueError:
        return False


def is_text(value: object) -> bool:
    """Text or null."""
    return value is None or isinstance(value, str)


def is_text_or_object(value: object) -> bool:
    """Text, an object or null."""
    return is_text(value) or isinstance(value, dict)


def is_time(value: object) -> bool:
    """ISO 8601 that names an instant."""
    return isinstance(value, str) and bool(_TIME.fullmatch(value)) and datetime.fromisoformat(value).tzinfo is not None


def is_message(value: object) -> bool:
    """A chat message."""
    return isinstance(value, dict) and isinstance(value.get("role"), str)


def is_url(value: object) -> bool:
    """A link or null."""
    return value is None or (isinstance(value, str) and value.startswith(("http://", "https://")))


def is_count(value: object) -> bool:
    """What its columns of 32 bits hold."""
    return type(value) is int and 0 <= value < 2**31


COMMON = {"id": is_uuid, "init_timestamp": is_time, "end_timestamp": is_time, "agent_id": is_uuid}
TABLE: dict[str, dict[str, Any]] = {
    "llms": {
        **COMMON,
        "prompt": lambda v: is_text(v) or (isinstance(v, list) and v != [] and all(map(is_message, v))),
        "completion": lambda v: is_text(v) or is_message(v),
        "model": is_text,
        "prompt_tokens": is_count,
        "completion_tokens": is_count,
        "cost": lambda v: v is None or (isinstance(v, str) and bool(COST.fullmatch(v))),
        "params": is_text_or_object,
        "returns": is_text_or_object,
        "thread_id": lambda v: v is None or is_uuid(v),
    },
    "tools": {
        **COMMON,
        "name": lambda v: isinstance(v, str),
        "params": is_text_or_object,
        "returns": is_text_or_object,
        "logs": is_text,
    },
    "actions": {
        **COMMON, "action_type": is_text, "params": is_text, "returns": is_text, "logs": is_text, "screenshot": is_url,
    },
    "errors": {
        **COMMON,
        "timestamp": is_time,
        "trigger_event_id": lambda v: v is None or is_uuid(v),
        "trigger_event_type": lambda v: v in ("actions", "llms", "tools", None),
        "error_type": is_text,
        "code": is_text,
        "details": is_text,
        "logs": is_text,
    },
}  # fmt: skip
SESSION = {
    "session_id": is_uuid,
    "init_timestamp": is_time,
    "end_timestamp": lambda v: v is None or is_time(v),
    "tags": lambda v: isinstance(v, list) and all(isinstance(tag, str) for tag in v),
    "end_state": lambda v: v in ("Success", "Fail", "Indeterminate", None),
    "end_state_reason": is_text,
    "video": is_url,
    "host_env": lambda v: v is None or isinstance(v, dict),
}


def refused(table: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    """The fields that the server would not take, every one of them being there."""
    assert table.keys() <= body.keys()
    return {name: body[name] for name, takes in table.items() if not takes(body[name])}


def texts(value: object) -> Iterator[str]:
    """Every text and key in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


def check(kind: str, one: Wire) -> None:
    """The body satisfies the table, the store and JSON."""
    assert refused(TABLE[kind], one.body) == {}
    raw = wire.encode(one.body)
    assert json.loads(raw, parse_constant=pytest.fail) == one.body
    assert one.size == len(raw)
    assert not any(re.search("[\0\ud800-\udfff]", text) for text in texts(one.body))
    assert one.body["id"] == one.id


def exported(kind: str, body: dict[str, Any]) -> dict[str, Any]:
    """The row that the server would return: as the recorded answers of the real routes show it."""
    row: dict[str, Any] = {name: body.get(name) for name in TABLE[kind]} | {"session_id": str(uuid4())}
    for name in ("init_timestamp", "end_timestamp", "timestamp"):
        if name in row:
            row[name] = re.sub(r"\.?0*(?=\+)", "", row[name])
    for name in ("params", "returns"):
        if isinstance(row.get(name), dict):
            row[name] = json.dumps(row[name], separators=(",", ":"))
    if kind == "llms":
        for name, has_roles in (("prompt", list), ("completion", dict)):
            value = body[name]
            if isinstance(value, has_roles):
                row[name] = {"type": "chatml", "messages": value}
            else:
                row[name] = {"type": "string", "string": value if isinstance(value, str) else json.dumps(value)}
        row["cost"] = None if row["cost"] is None else float(row["cost"])
        row["promptarmor_flag"] = None
    if kind == "errors":
        row["id"] = 17
        del row["agent_id"]
    given: dict[str, Any] = json.loads(json.dumps(row))
    return given


# What is recorded ----------------------------------------------------------------------------------------------------

words = st.one_of(
    st.sampled_from(["", "null", "1", "[]", '{"a": 1}', "a\0b", "\ud800", "é日本 😀", '"', "\\u0000", "x" * 2100]),
    st.text(max_size=8),
)
leaves = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), words, st.binary(max_size=4),
    st.just(Decimal("0.1")),
)  # fmt: skip
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=3), st.tuples(inner, inner)
    ),
    max_leaves=8,
)
messages = st.fixed_dictionaries({"role": st.sampled_from(["system", "user"]), "content": values})
prompts = st.one_of(words, values, messages, st.lists(messages, max_size=3), st.lists(st.one_of(messages, values)))
times = st.one_of(
    st.datetimes(timezones=st.just(timezone.utc)).map(datetime.isoformat), st.just("2025-01-01T00:00:00.120000+00:00")
)
counts = st.one_of(st.none(), st.integers(0, 10**12), st.sampled_from([-1, True, "7", 2**31 - 1, 2**31]))
costs = st.one_of(
    st.none(),
    st.floats(0, 1e5),
    st.decimals(-1000, 1000, places=12),
    st.sampled_from([0, float("nan"), "0.0006", 1e-12, 99_999.999999999999]),
)
common: dict[str, Any] = {"params": values, "returns": values, "init_timestamp": times, "end_timestamp": times}
llms = st.builds(
    LLMEvent, **common, prompt=prompts, completion=prompts, model=st.one_of(st.none(), words), prompt_tokens=counts,
    completion_tokens=counts, cost=costs, thread_id=st.one_of(st.none(), st.uuids(), words),
)  # fmt: skip
tools = st.builds(ToolEvent, **common, name=values, logs=values)
shots = st.one_of(values, st.sampled_from(["https://example.com/s.png", "data:image/png;base64,AAAA", "HTTP://e"]))
actions = st.builds(ActionEvent, **common, action_type=values, logs=values, screenshot=shots)
others = st.builds(Event, st.one_of(st.sampled_from(["apis", "llm", ""]), words), **common)
triggers = st.one_of(st.none(), llms, tools, actions, others)
errors = st.builds(
    ErrorEvent, **common, trigger_event=triggers, error_type=values, code=values, details=values, logs=values
)


def recorded(tape: Tape, event: Event, policy: Policy = FULL) -> tuple[str, Wire]:
    """An event, recorded, and its body."""
    with closing(open_reader(tape.file)) as connection:
        before = connection.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()[0]
        tape.add(event)
        seq, kind = connection.execute("SELECT seq, kind FROM events WHERE seq > ?", (before,)).fetchone()
        (one,) = wire.events(connection, wire.kind_of(kind), [seq], agents(connection), policy)
        assert one.seq == seq
        return wire.kind_of(kind), one


def agents(connection: sqlite3.Connection) -> dict[int, str]:
    """The ids that travel: here those of the database."""
    return {seq: id for seq, id in connection.execute("SELECT seq, id FROM agents")}  # noqa: C416 - rows, not pairs


def body_of(tape: Tape, event: Event, policy: Policy = FULL) -> dict[str, Any]:
    """The body of an event."""
    return recorded(tape, event, policy)[1].body
