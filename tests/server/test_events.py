from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.server.running import BEGAN, ENDED, Api, action, error, llm, tool

AGENT = str(uuid4())
few = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_every_kind_comes_back(api: Api) -> None:
    """Events of every kind are stored, actions too, and exported in the shape of v2."""
    session = api.create()
    call, used, failed, acted = llm(agent_id=AGENT), tool(agent_id=AGENT), error(), action(agent_id=AGENT)
    failed |= {"trigger_event_id": used["id"], "trigger_event_type": "tools"}
    assert session.events(call, used, failed, acted)[:2] == (200, "Success")
    found = session.export()
    assert found["llms"] == [
        {
            "id": call["id"], "session_id": session.id, "agent_id": AGENT, "thread_id": None,
            "prompt": {"type": "chatml", "messages": call["prompt"]},
            "completion": {"type": "chatml", "messages": call["completion"]}, "model": "gpt-4o", "prompt_tokens": 10,
            "completion_tokens": 5, "cost": 0.0006, "promptarmor_flag": None, "params": None, "returns": None,
            "init_timestamp": BEGAN, "end_timestamp": ENDED,
        }
    ]  # fmt: skip
    assert found["tools"] == [
        {
            "id": used["id"], "session_id": session.id, "agent_id": AGENT, "name": "search", "logs": None,
            "params": '{"q":"x"}', "returns": "found", "init_timestamp": BEGAN, "end_timestamp": ENDED,
        }
    ]  # fmt: skip
    assert found["actions"] == [
        {
            "id": acted["id"], "session_id": session.id, "agent_id": AGENT, "action_type": "click", "logs": None,
            "screenshot": "https://example.com/s.png", "params": "p", "returns": "r", "init_timestamp": BEGAN,
            "end_timestamp": ENDED,
        }
    ]  # fmt: skip
    assert found["errors"] == [
        {
            "id": failed["id"], "session_id": session.id, "trigger_event_id": used["id"], "trigger_event_type": "tools",
            "error_type": "ValueError", "code": "E1", "details": "boom", "logs": "trace", "timestamp": BEGAN,
        }
    ]  # fmt: skip
    assert session.stats() == {
        "session_id": session.id, "events": 4, "errors": 1, "prompt_tokens": 10, "completion_tokens": 5, "cost": 0.0006,
    }  # fmt: skip


@pytest.mark.parametrize("make", [llm, tool, error, action])
def test_a_known_id_is_accepted_and_stored_once(api: Api, make: Any) -> None:
    """An event sent again, alone, beside new ones or twice in one batch, is accepted and stored once."""
    session = api.create()
    first, second = make(), make()
    for batch in ([first], [first], [first, second], [second, second]):
        assert session.events(*batch)[:2] == (200, "Success")
    assert session.stats()["events"] == 2


@pytest.mark.parametrize("make", [llm, tool, error, action])
def test_without_an_id_a_verbatim_repeat_is_known(api: Api, make: Any) -> None:
    """Events without an id are known by their content: a verbatim repeat is stored once, anything else beside it."""
    session = api.create()
    event = make()
    del event["id"]
    for batch in ([event], [event, event], [dict(reversed(event.items()))]):
        assert session.events(*batch).status == 200
    assert session.stats()["events"] == 1
    session.events({**event, "logs": "another"})
    assert session.stats()["events"] == 2


def test_errors_of_one_moment_are_all_kept(api: Api) -> None:
    """Errors at the same time are each kept, once, however often they are sent."""
    session = api.create()
    errors = [error(details=str(number)) for number in range(5)]
    for _ in range(2):
        assert session.events(*errors).status == 200
    assert sorted(row["details"] for row in session.export()["errors"]) == list("01234")


def test_an_id_belongs_to_its_session(api: Api) -> None:
    """The same event id, and the same agent id, in two sessions are two events and two agents."""
    event = tool(agent_id=AGENT)
    for _ in range(2):
        session = api.create()
        session.post("/v2/create_agent", {"id": AGENT, "name": "planner"})
        session.events(event)
        assert [row["agent_id"] for row in session.export()["tools"]] == [AGENT]


def test_an_agent_that_nobody_announced_is_made(api: Api) -> None:
    """An event of an unknown agent is taken; the agent gets its name when somebody tells it."""
    session = api.create()
    agent = str(uuid4())
    assert session.events(tool(agent_id=agent)).status == 200
    assert session.export("?columns=all")["tools"][0]["agent_name"] == "Unnamed agent"
    for _ in range(2):
        assert session.post("/v2/create_agent", {"id": agent, "name": "planner"})[:2] == (200, "Success")
    assert session.post("/v2/create_agent", {"id": agent}).status == 200
    assert session.export("?columns=all")["tools"][0]["agent_name"] == "planner"


def test_events_without_an_agent_share_one(api: Api) -> None:
    """Events that name no agent belong to the session's default agent, one of them."""
    session = api.create()
    session.post("/v2/create_agent", {"id": AGENT, "name": "planner"})
    session.events(tool(), tool(agent_id=None))
    session.events(action())
    found = session.export("?columns=all")
    assert {row["agent_name"] for row in found["tools"] + found["actions"]} == {"Default Agent"}
    assert len({row["agent_id"] for row in found["tools"] + found["actions"]}) == 1


def test_unknown_keys_are_kept(api: Api) -> None:
    """What an event says beyond its columns is kept; so are kinds that nobody knows."""
    session = api.create()
    session.events(
        tool(colour="red", tool_name="search"), {**action(), "event_type": "apis"}, {**action(), "event_type": "zzz"}
    )
    found = session.export("?columns=all")
    assert found["tools"][0]["extra"] == {"colour": "red"}
    assert [row["kind"] for row in found["actions"]] == ["apis", "zzz"]


def test_the_classic_error(api: Api) -> None:
    """The ErrorEvent of the classic client, with its empty trigger, is taken as it is."""
    session = api.create()
    said = error(trigger_event="", exception=None, init_timestamp=BEGAN, end_timestamp=ENDED, params=None, returns=None)
    del said["timestamp"]
    assert session.events(said).status == 200
    (row,) = session.export("?columns=all")["errors"]
    assert (row["timestamp"], row["trigger_event_id"], row["extra"]) == (BEGAN, None, None)


def test_tokens_of_all_kinds_are_kept(api: Api) -> None:
    """Counts of cached and reasoning tokens have columns of their own."""
    session = api.create()
    session.events(llm(cache_read_tokens=3, cache_write_tokens=2, reasoning_tokens=1, thread_id=AGENT))
    (row,) = session.export("?columns=all")["llms"]
    assert (row["cache_read_tokens"], row["cache_write_tokens"], row["reasoning_tokens"]) == (3, 2, 1)
    assert (row["thread_id"], row["extra"]) == (AGENT, None)


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("hi", {"type": "string", "string": "hi"}),
        ("1", {"type": "string", "string": "1"}),
        ([{"content": "hi"}], {"type": "string", "string": '[{"content":"hi"}]'}),
        (
            [{"role": "user", "content": "x"}] * 3,
            {"type": "chatml", "messages": [{"role": "user", "content": "x"}] * 3},
        ),
        ([], {"type": "string", "string": "[]"}),
        (None, None),
    ],
)
def test_prompts_say_what_they_are(api: Api, prompt: Any, told: Any) -> None:
    """A prompt is exported as chat messages if it was a list of them, else as text."""
    session = api.create()
    session.events(llm(prompt=prompt))
    assert session.export()["llms"][0]["prompt"] == told


@pytest.mark.parametrize(
    ("completion", "told"),
    [
        ("yo", {"type": "string", "string": "yo"}),
        ({"content": "yo"}, {"type": "string", "string": '{"content":"yo"}'}),
        ('{"role": "x"}', {"type": "string", "string": '{"role": "x"}'}),
        (["a"], {"type": "string", "string": '["a"]'}),
        (None, None),
    ],
)
def test_completions_say_what_they_are(api: Api, completion: Any, told: Any) -> None:
    """A completion is exported as a message if it was one, else as text."""
    session = api.create()
    session.events(llm(completion=completion))
    assert session.export()["llms"][0]["completion"] == told


def test_what_python_s_json_writes_is_taken(api: Api) -> None:
    """Bare NaN and Infinity, lone surrogates, NUL and integers of any length are taken, and come back as text."""
    session = api.create()
    params = {
        "nan": float("nan"),
        "inf": float("-inf"),
        "big": 10**30,
        "bad": "a\ud800b\0c\\u0000\ud83d\ude00",
        "half": "\ude00",
    }
    assert (
        session.events(tool(params=params, name="s\ud800"), llm(cost=float("nan"), prompt_tokens=float("inf"))).status
        == 200
    )
    found = session.export()
    assert json.loads(found["tools"][0]["params"]) == {
        "nan": "NaN", "inf": "-Infinity", "big": str(10**30), "bad": "a\ufffdb\ufffdc\\u0000😀", "half": "\ufffd",
    }  # fmt: skip
    assert found["tools"][0]["name"] == "s\ufffd"
    assert (found["llms"][0]["cost"], found["llms"][0]["prompt_tokens"]) == (None, None)
    assert session.stats()["cost"] is None


def test_large_values_are_kept_whole(api: Api) -> None:
    """A value of megabytes, or of a hundred thousand parts, comes back whole, also with a NaN in it."""
    session = api.create()
    text, rows = "é" * 3_000_000, [{"n": number} for number in range(100_000)]
    session.events(tool(params={"text": text, "nan": float("nan")}, returns=rows))
    (row,) = session.export()["tools"]
    assert json.loads(row["params"]) == {"text": text, "nan": "NaN"}
    assert json.loads(row["returns"]) == rows


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@few
@given(values=st.lists(_JSON, min_size=1, max_size=4))
def test_any_payload_comes_back(api: Api, values: list[Any]) -> None:
    """Whatever JSON an event holds comes back: text as text, anything else as the same JSON."""
    session = api.create()
    assert session.events(*(tool(params=value, returns=value, logs=value) for value in values)).status == 200
    for row, value in zip(session.export()["tools"], values, strict=True):
        for name in ("params", "returns", "logs"):
            assert row[name] == value if value is None or isinstance(value, str) else json.loads(row[name]) == value


@few
@given(batches=st.lists(st.lists(st.integers(0, 11), max_size=6), max_size=8))
def test_any_order_of_sending_comes_to_the_same(api: Api, batches: list[list[int]]) -> None:
    """However events are divided into requests and repeated, each that was sent is stored once."""
    session = api.create()
    pool = [make(id=str(uuid4())) for make in (llm, tool, error, action) for _ in range(3)]
    for batch in batches:
        assert session.events(*(pool[number] for number in batch)).status == 200
    found = session.export()
    stored = [row["id"] for kind in ("llms", "tools", "errors", "actions") for row in found[kind]]
    assert sorted(stored) == sorted({pool[number]["id"] for batch in batches for number in batch})
    assert session.stats()["events"] == len(stored)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (tool(id="1"), 'id "1"'),
        (tool(id=5), "id 5"),
        (tool(agent_id="x"), 'agent_id "x"'),
        (tool(init_timestamp="x"), 'init_timestamp "x"'),
        (tool(init_timestamp=12), "init_timestamp 12"),
        (tool(init_timestamp=None), "init_timestamp is missing"),
        (tool(end_timestamp="never"), 'end_timestamp "never"'),
        (tool(event_type=None), "event_type null"),
        (tool(event_type=""), 'event_type ""'),
        (tool(event_type=3), "event_type 3"),
        (llm(prompt_tokens=-1), "prompt_tokens -1"),
        (llm(prompt_tokens="many"), 'prompt_tokens "many"'),
        (llm(completion_tokens=1.5), "completion_tokens 1.5"),
        (llm(cost="dear"), 'cost "dear"'),
        (llm(cost=[]), "cost []"),
        (llm(cost=1e9), "cost 1000000000.0"),
        (error(timestamp=None), "timestamp is missing"),
        (error(timestamp="x"), 'timestamp "x"'),
        (error(trigger_event_id="1"), 'trigger_event_id "1"'),
        ("text", 'an event must be an object, not "text"'),
        (None, "an event must be an object, not null"),
    ],
)
def test_one_bad_event_costs_the_request(api: Api, wrong: Any, words: str) -> None:
    """A request with a bad event is refused as a whole; the message names the event by its place, the field and the
    value, so that whoever sent it can leave it out."""
    session = api.create()
    answer = session.events(tool(), wrong, llm())
    assert answer.status == 400
    assert f"event 1: {words}" in answer.message
    assert "1 of 3" in answer.message
    assert session.stats()["events"] == 0


@pytest.mark.parametrize("body", ["{", "[]", "{}", '{"events": {}}', '{"events": null}', '{"events": "x"}'])
def test_a_body_without_events_is_refused(api: Api, body: str) -> None:
    """A body that holds no list of events is refused with 400."""
    assert api.create().post("/v2/create_events", body).status == 400


def test_no_events_are_fine(api: Api) -> None:
    """An empty list is accepted."""
    assert api.create().events()[:2] == (200, "Success")


def test_events_come_after_the_end(api: Api) -> None:
    """Events that arrive after the end of their session are kept, and do not open it again."""
    session = api.create()
    session.update(end_timestamp=ENDED, end_state="Success", is_running=False)
    assert session.events(tool()).status == 200
    found = session.export()
    assert (len(found["tools"]), found["session"]["end_timestamp"]) == (1, ENDED)


def test_events_are_changed(api: Api) -> None:
    """A change replaces what it says of an event and leaves the rest; repeated it changes nothing more."""
    session = api.create()
    call, used = llm(completion=None, cost=None), tool(returns=None, end_timestamp=None)
    session.events(call, used)
    changes = {
        "events": [
            {"id": call["id"], "event_type": "llms", "completion": "done", "cost": "0.5", "completion_tokens": 9},
            {"id": used["id"], "event_type": "tools", "returns": {"a": 1}, "end_timestamp": ENDED, "note": "late"},
        ]
    }
    for _ in range(2):
        assert session.post("/v2/update_events", changes)[:2] == (200, "Success")
    found = session.export("?columns=all")
    (row,) = found["llms"]
    assert (row["completion"], row["cost"], row["completion_tokens"]) == ({"type": "string", "string": "done"}, 0.5, 9)
    assert (row["prompt"]["messages"], row["prompt_tokens"]) == (call["prompt"], 10)
    (row,) = found["tools"]
    assert (row["returns"], row["end_timestamp"], row["params"]) == ('{"a":1}', ENDED, '{"q":"x"}')
    assert row["extra"] == {"note": "late"}


def test_a_change_of_nothing_is_refused(api: Api) -> None:
    """A change of an event that is not there is refused, with everything else in the request."""
    session = api.create()
    used = tool()
    session.events(used)
    answer = session.post("/v2/update_events", {"events": [{**used, "name": "other"}, tool()]})
    assert answer.status == 400
    assert "event 1" in answer.message
    assert session.export()["tools"][0]["name"] == "search"


def test_threads_are_accepted(api: Api) -> None:
    """A thread is accepted: the events that belong to it name it."""
    assert api.create().post("/v2/create_thread", {"id": AGENT})[:2] == (200, "Success")


def test_an_export_is_whole(api: Api) -> None:
    """An export holds every row, in the order in which they were stored, however many there are."""
    session = api.create()
    sent = [tool(id=str(uuid4()), name=str(number)) for number in range(2500)]
    for start in range(0, len(sent), 500):
        assert session.events(*sent[start : start + 500]).status == 200
    assert [row["name"] for row in session.export()["tools"]] == [str(number) for number in range(2500)]


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000000+00:00"),
        ("2026-01-31T14:00:00.5+02:00", "2026-01-31T12:00:00.500000+00:00"),
        ("2026-01-31 12:00:00.123456789", "2026-01-31T12:00:00.123456+00:00"),
        ("0001-01-01T00:00:00+00:00", "0001-01-01T00:00:00.000000+00:00"),
        ("1969-12-31T23:59:59.25+00:00", "1969-12-31T23:59:59.250000+00:00"),
    ],
)
def test_times_of_any_spelling(api: Api, sent: str, stored: str) -> None:
    """A time in any spelling of ISO 8601 comes back in UTC with microseconds."""
    session = api.create()
    session.events(tool(init_timestamp=sent), error(timestamp=sent))
    found = session.export()
    assert (found["tools"][0]["init_timestamp"], found["errors"][0]["timestamp"]) == (stored, stored)
