from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import agentops_local as agentops
from agentops_local import clock
from agentops_local.analytics.reading import open_reader
from agentops_local.errors import WrongUse
from agentops_local.event import ActionEvent, ErrorEvent, Event, LLMEvent, ToolEvent
from agentops_local.recorder import rows, writes
from agentops_local.redact import make_redactor
from agentops_sync import wire
from agentops_sync.comparison import instant
from agentops_sync.policy import FULL, Policy
from agentops_sync.wire import Ended, Wire, drift, error_key, error_key_of_row, session_drift
from tests.recorder.taping import Tape

MASKED = Policy("masked", make_redactor("secrets"))
METADATA = Policy("metadata")
NEVER = Policy("never")
MANY = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def tape(project: Path) -> Iterator[Tape]:
    """A recorder and its session, in the project's database."""
    tape = Tape(project / ".agentops" / "agentops.db")
    yield tape
    tape.recorder.close()


# The oracle: what the server takes -----------------------------------------------------------------------------------

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00")
_COST = re.compile(r"-?\d+(\.\d+)?")


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
        "cost": lambda v: v is None or (isinstance(v, str) and bool(_COST.fullmatch(v))),
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


@MANY
@given(event=st.one_of(llms, tools, actions, others, errors), policy=st.sampled_from([FULL, MASKED, METADATA]))
def test_every_event_has_a_body_that_the_server_takes(tape: Tape, event: Event, policy: Policy) -> None:
    """Whatever a program records, under every policy, its body is of the types that the server takes."""
    kind, one = recorded(tape, event, policy)
    check(kind, one)


@MANY
@given(event=st.one_of(llms, tools, actions, others, errors), policy=st.sampled_from([FULL, MASKED, METADATA]))
def test_what_the_server_gives_back_has_not_drifted(tape: Tape, event: Event, policy: Policy) -> None:
    """An exported row that holds what was sent, in the dress of the export, shows no drift."""
    kind, one = recorded(tape, event, policy)
    assert drift(kind, one.body, exported(kind, one.body)) == []


@MANY
@given(first=errors, second=errors)
def test_an_error_is_recognised_by_its_key(tape: Tape, first: Event, second: Event) -> None:
    """The key of an exported error is that of the body it was made of, and of no other of its session."""
    one, other = (recorded(tape, event)[1].body for event in (first, second))
    assert error_key(one) == error_key_of_row(exported("errors", one))
    assert error_key(other) != error_key_of_row(exported("errors", one))


@MANY
@given(event=st.one_of(llms, tools, actions, others, errors))
def test_metadata_holds_no_word_of_a_payload(tape: Tape, event: Event) -> None:
    """Under "metadata" every field that holds a payload is null."""
    kind, one = recorded(tape, event, METADATA)
    held = {"prompt", "completion", "params", "returns", "logs", "details", "screenshot"} & TABLE[kind].keys()
    assert {one.body[name] for name in held} == {None}


def body_of(tape: Tape, event: Event, policy: Policy = FULL) -> dict[str, Any]:
    """The body of an event."""
    return recorded(tape, event, policy)[1].body


def test_values_keep_their_meaning(tape: Tape) -> None:
    """What the server takes as it is travels as it is; the rest as its JSON text."""
    chat: list[Any] = [{"role": "user", "content": "hi", "n": 2**63}]
    body = body_of(tape, LLMEvent(prompt=chat, completion={"role": "assistant", "content": "yo"}, params={"a": [1]}))
    assert (body["prompt"], body["completion"]) == (chat, {"role": "assistant", "content": "yo"})
    assert body["params"] == {"a": [1]}
    body = body_of(tape, LLMEvent(prompt=[{"content": "hi"}], completion={"content": "yo"}, returns=[1, None]))
    assert (body["prompt"], body["completion"]) == ('[{"content":"hi"}]', '{"content":"yo"}')
    assert body["returns"] == "[1,null]"
    assert body_of(tape, LLMEvent(prompt=[]))["prompt"] == "[]"
    assert body_of(tape, LLMEvent(prompt="hi", completion="yo"))["completion"] == "yo"
    assert body_of(tape, ToolEvent(params=True, returns=0.5))["params"] == "true"
    body = body_of(tape, ActionEvent(params={"a": 1}, logs=["a"], screenshot="data:image/png;base64,AAAA"))
    assert (body["params"], body["logs"], body["screenshot"]) == ('{"a":1}', '["a"]', None)
    assert body_of(tape, Event("apis"))["event_type"] == "apis"
    assert body_of(tape, ErrorEvent(details={"a": "b"}))["details"] == '{"a":"b"}'


@given(pusd=st.integers(-(10**17), 10**17))
def test_a_cost_travels_exactly(pusd: int) -> None:
    """A cost is a decimal text of every digit that was stored, without an exponent."""
    from agentops_local.analytics.totals import dollars

    text = f"{dollars(pusd).normalize():f}"
    assert _COST.fullmatch(text)
    assert Decimal(text) * 10**12 == pusd


def test_unpriced_is_null_and_free_is_zero(tape: Tape) -> None:
    """A cost that nobody knows is null, which the server may price; one of nothing is "0"."""
    assert body_of(tape, LLMEvent())["cost"] is None
    assert body_of(tape, LLMEvent(cost=0))["cost"] == "0"
    assert body_of(tape, LLMEvent(cost=0.0006))["cost"] == "0.0006"
    assert body_of(tape, LLMEvent(cost=20))["cost"] == "20"


def test_an_error_names_its_trigger(tape: Tape) -> None:
    """The event that failed is named, with its kind where the server knows such a kind."""
    tool, api = ToolEvent(name="t"), Event("apis")
    body = body_of(tape, ErrorEvent(trigger_event=tool, init_timestamp="2025-01-01T00:00:00.12Z"))
    assert (body["trigger_event_id"], body["trigger_event_type"]) == (str(tool.id), "tools")
    assert body["timestamp"] == "2025-01-01T00:00:00.120000+00:00"
    body = body_of(tape, ErrorEvent(trigger_event=api))
    assert (body["trigger_event_id"], body["trigger_event_type"]) == (str(api.id), None)


def test_names_and_payloads_are_masked(tape: Tape) -> None:
    """Under "masked" the rules hold for prompts, params, logs, details and names alike."""
    secret = "sk-" + "a1" * 16
    chat = [{"role": "user", "content": f"my key is {secret}"}]
    event = LLMEvent(prompt=chat, completion=secret, params={"password": "x"}, returns=secret, model=secret)
    assert secret in str(body_of(tape, event))
    event.id = clock.new_id()
    body = body_of(tape, event, MASKED)
    assert (secret in str(body), body["params"]) == (False, {"password": "[redacted]"})
    assert body["prompt"] == [{"role": "user", "content": "my key is [redacted]"}]
    assert secret not in str(body_of(tape, ErrorEvent(details=secret, logs=secret, code=secret), MASKED))


def test_events_come_in_order_and_without_those_that_are_gone(tape: Tape) -> None:
    """Bodies come in the order of the commits, of the kind that is asked for; numbers that are gone are passed over."""
    for number in range(5):
        tape.add(ToolEvent(name=str(number)))
        tape.add(ErrorEvent())
    with closing(sqlite3.connect(tape.file)) as writer, writer:
        writer.execute("DELETE FROM events WHERE kind = 'tools' AND name = '2'")
    with closing(open_reader(tape.file)) as connection:
        seqs = [99, *range(10, 0, -1)]
        known = agents(connection)
        found = wire.events(connection, "tools", seqs, known.__getitem__, FULL)
        assert [one.body["name"] for one in found] == ["0", "1", "3", "4"]
        assert [one.seq for one in found] == [1, 3, 7, 9]
        assert len(wire.events(connection, "errors", seqs, known, FULL)) == 5
        assert wire.events(connection, "tools", [], known, FULL) == []


def test_an_agent_travels_under_the_id_it_is_given(tape: Tape) -> None:
    """An event says the id that its agent has on the server, which may be another than here; never none."""
    tape.add(ToolEvent())
    with closing(sqlite3.connect(tape.file)) as writer, writer:
        writer.execute("UPDATE events SET agent = NULL")
    there = str(uuid4())
    with closing(open_reader(tape.file)) as connection:
        (number,) = agents(connection)
        (one,) = wire.events(connection, "tools", [1], {number: there}, FULL)
        assert one.body["agent_id"] == there
        with pytest.raises(KeyError):
            wire.events(connection, "tools", [1], {}, FULL)


def test_events_are_found_by_number(tape: Tape) -> None:
    """To read events and sessions costs what is read: every table is searched by its row or an index, none scanned."""
    tape.add(LLMEvent(prompt=[{"role": "user", "content": "hi"}]))
    with closing(open_reader(tape.file)) as connection:
        for query, value in ((wire.EVENTS, "[1]"), (wire.SESSION, 1)):
            plan = [row["detail"] for row in connection.execute("EXPLAIN QUERY PLAN " + query, (value,))]
            harmless = re.compile(r"VIRTUAL TABLE|SCAN (path|\(?subquery|constant row)", re.IGNORECASE)
            assert [step for step in plan if step.startswith("SCAN") and not harmless.search(step)] == []


def test_strangers_cannot_break_a_batch(tape: Tape) -> None:
    """What another program wrote into the database travels as something the server takes."""
    tape.add(ToolEvent())
    tape.add(LLMEvent(prompt="x"))
    odd = r'{"a\u0000": "\ud800", "a\ufffd": [1e999, NaN, -Infinity, "\u0000"]}'
    with closing(sqlite3.connect(tape.file)) as writer, writer:
        writer.execute("UPDATE events SET params = ?, returns = 'no JSON', init_us = 1 << 62, name = 7", (odd,))
        writer.execute("UPDATE events SET prompt_tokens = -5, completion_tokens = 'many', thread_id = 'main'")
    with closing(open_reader(tape.file)) as connection:
        for kind, seq in (("tools", 1), ("llms", 2)):
            (one,) = wire.events(connection, kind, [seq], agents(connection), FULL)
            check(kind, one)
            assert one.body["params"] == {"a\ufffd": "\ufffd", "a\ufffd (2)": ["1e999", "NaN", "-Infinity", "\ufffd"]}
            assert one.body["returns"] == "no JSON"


def test_nothing_is_made_of_what_must_not_travel(tape: Tape) -> None:
    """Under "never" there is no body of an event or a session."""
    tape.add(ToolEvent())
    with closing(open_reader(tape.file)) as connection:
        with pytest.raises(WrongUse):
            wire.events(connection, "tools", [1], agents(connection), NEVER)
        with pytest.raises(WrongUse):
            wire.session_body(connection, 1, ended=None, policy=NEVER)


# Sessions ------------------------------------------------------------------------------------------------------------


def exported_session(body: dict[str, Any]) -> dict[str, Any]:
    """The session as the export shows it."""
    row = {**body, "id": body["session_id"], "project_id": str(uuid4()), "project_id_secondary": None}
    del row["session_id"]
    for name in ("init_timestamp", "end_timestamp"):
        row[name] = row[name] and re.sub(r"\.?0*(?=\+)", "", row[name])
    row["tags"] = json.dumps(row["tags"])
    return row


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tags=st.lists(words, max_size=3), reason=st.one_of(st.none(), words),
    video=st.one_of(st.none(), words, st.just("https://example.com/v.mp4")),
    state=st.sampled_from(["Success", "Fail", "Indeterminate"]), policy=st.sampled_from([FULL, MASKED, METADATA]),
)  # fmt: skip
def test_every_session_has_a_body_that_the_server_takes(
    tape: Tape, tags: list[str], reason: str | None, video: str | None, state: str, policy: Policy
) -> None:
    """Whatever a session says of itself, every column is in its body, of the type that the server takes; and what it
    exports of that has not drifted."""
    text = rows.words
    row = (json.dumps([text(tag) for tag in tags]), reason and text(reason), video and text(video), state)
    with closing(sqlite3.connect(tape.file)) as writer, writer:
        writer.execute("UPDATE sessions SET tags = ?, end_state_reason = ?, video = ?, end_state = ?, end_us = 1", row)
    with closing(open_reader(tape.file)) as connection:
        body = wire.session_body(connection, 1, ended=None, policy=policy)
    assert body.keys() == SESSION.keys()
    assert refused(SESSION, body) == {}
    assert session_drift(body, exported_session(body)) == []
    assert policy is not METADATA or (body["end_state_reason"], body["video"], body["host_env"]) == (None, None, None)


def test_a_session_has_its_host_environment(project: Path) -> None:
    """The host environment travels whole: what lasts, with the values of the moment in it."""
    session = agentops.init()
    assert session is not None
    host_env = session.host_env
    agentops.end_session("Success")
    with closing(open_reader(project / ".agentops" / "agentops.db")) as connection:
        body: dict[str, Any] = wire.session_body(connection, 1, ended=None, policy=FULL)
    assert body["host_env"] == json.loads(json.dumps(host_env))
    assert "OS" in body["host_env"]


def test_the_end_is_what_the_caller_says(tape: Tape) -> None:
    """The end can be withheld, or told of a session that did not live to tell it."""
    begun = 4102444800_000_000  # in 2100: no end is before the beginning of its session
    tape.state.end_us, tape.state.end_state, tape.state.end_state_reason = begun + 2_000_000, "Success", "done"
    tape.recorder.change(writes.end(tape.state))
    with closing(open_reader(tape.file)) as connection:
        own = wire.session_body(connection, 1, ended=None, policy=FULL)
        withheld = wire.session_body(connection, 1, ended=Ended(None), policy=FULL)
        died = wire.session_body(connection, 1, ended=Ended(begun + 1_500_000, "Fail", "its process died"), policy=FULL)
        odd = wire.session_body(connection, 1, ended=Ended(1, "success"), policy=FULL)
    ends = [(one["end_timestamp"], one["end_state"], one["end_state_reason"]) for one in (own, withheld, died)]
    assert ends == [
        ("2100-01-01T00:00:02.000000+00:00", "Success", "done"),
        (None, "Indeterminate", None),
        ("2100-01-01T00:00:01.500000+00:00", "Fail", "its process died"),
    ]
    assert odd["end_state"] == "Indeterminate"


def test_a_session_that_is_gone_is_told_so(tape: Tape) -> None:
    """A session that was removed, or an empty row in its place, has no body."""
    with closing(sqlite3.connect(tape.file)) as writer, writer:
        writer.execute("UPDATE sessions SET id = ''")
    with closing(open_reader(tape.file)) as connection:
        for number in (1, 99):
            with pytest.raises(wire.SessionGone):
                wire.session_body(connection, number, ended=None, policy=FULL)


def test_an_agent_has_a_name_that_is_text() -> None:
    """The body of an agent is its id and its name, which is text."""
    assert wire.agent_body("a", "worker") == {"id": "a", "name": "worker"}
    assert wire.agent_body("a", "nul\0")["name"] == "nul\ufffd"
    assert wire.agent_body("a", "token=abc", MASKED)["name"] == "token=[redacted]"


# Drift ---------------------------------------------------------------------------------------------------------------

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
