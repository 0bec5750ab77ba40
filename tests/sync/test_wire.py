from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentops_local import clock
from agentops_local.analytics.reading import open_reader
from agentops_local.errors import WrongUse
from agentops_local.event import ActionEvent, ErrorEvent, Event, LLMEvent, ToolEvent
from agentops_sync import wire
from agentops_sync.policy import FULL, Policy
from agentops_sync.wire import drift, error_key, error_key_of_row
from tests.recorder.taping import Tape
from tests.sync.table import (
    COST,
    MANY,
    MASKED,
    METADATA,
    NEVER,
    TABLE,
    actions,
    agents,
    body_of,
    check,
    errors,
    exported,
    llms,
    others,
    recorded,
    tools,
)


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
    assert COST.fullmatch(text)
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
