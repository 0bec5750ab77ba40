from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from agentops_local import clock
from agentops_local.event import ActionEvent, LLMEvent, ToolEvent
from agentops_local.exporting.texts import iso, uuid_text
from tests.analytics.recording import LONG, SECRET, Book, secretive
from tests.exporting.exported import events, lines, raw

_PLAIN = """
    name provider model prompt_tokens completion_tokens cache_read_tokens cache_write_tokens reasoning_tokens cost_pusd
    cost_source price thread_id code prompt_form completion_form
""".split()
_PAYLOADS = ("params", "returns", "logs", "screenshot", "details")


def rich(book: Book) -> str:
    """A session with something in every column; its id."""
    state = book.session("one", "two", began=1_700_000_000_000_001)
    state.agent_names["0197a1b2-0000-7000-8000-000000000001"] = "planner"
    talk: list[Any] = [{"role": "system", "content": LONG}]
    for turn in range(4):
        talk.append({"role": "user", "content": f"turn {turn}"})
        book.add(state, LLMEvent(
            prompt=list(talk), completion=f"answer {turn}", model="m", provider="openai", prompt_tokens=9,
            completion_tokens=3, cache_read_tokens=2, cache_write_tokens=1, reasoning_tokens=1, thread_id="t",
            cost=0.1, params={"temperature": 0.5}, returns={"id": "r"},
        ))  # fmt: skip
        talk.append({"role": "assistant", "content": f"answer {turn}"})
    prompts: list[Any] = [[], "bare", {"role": "user", "content": "alone"}]
    for prompt in prompts:
        book.add(state, LLMEvent(prompt=prompt, completion={"role": "assistant", "tool_calls": []}, model="m"))
    tool = book.add(state, ToolEvent(name="look", params={"q": LONG}, returns=[1, 2.5, None, "é\n"], logs="log"))
    book.add(state, ActionEvent(action_type="act", params="text", screenshot="data:image/png;base64,AA=="), tool)
    book.error(state, tool, "broken")
    book.change("UPDATE events SET extra = '{\"more\": [1]}', code = '42' WHERE kind = 'errors'")
    return book.end(state, "Fail", "why")


@pytest.mark.parametrize("once", [False, True])
def test_nothing_of_an_event_is_missing(book: Book, once: bool) -> None:
    """Every column of every event is in its line, and from the lines alone each prompt and completion can be made
    anew, message by message."""
    session = rich(book)
    found = lines(book, session, each_message_once=once)
    told = {line["id"]: line for line in events(found)}
    nodes = {line["number"]: line for line in found if line["type"] == "node"}
    rows = book.rows("SELECT p.*, (SELECT m.text FROM message_texts m WHERE m.id = p.completion) AS said, "
                     "l.prompt AS asked FROM payloads p LEFT JOIN llms l ON l.seq = p.seq")  # fmt: skip
    names = [column[1] for column in book.rows("PRAGMA table_info(payloads)")] + ["said", "asked"]
    assert len(told) == len(rows) == 10
    for row in (dict(zip(names, values, strict=True)) for values in rows):
        line = told[row["id"]]
        assert {name: line.get(name) for name in _PLAIN} == {name: row[name] for name in _PLAIN}
        for name in _PAYLOADS:
            assert line.get(name) == (None if row[name] is None else json.loads(row[name])), name
        assert line.get("extra") == (json.loads(row["extra"]) if row["extra"] else None)
        assert (line["seq"], line["agent_id"], line.get("parent_id")) == (row["seq"], row["agent_id"], row["parent_id"])
        assert (line["init_timestamp"], line["end_timestamp"]) == (iso(row["init_us"]), iso(row["end_us"]))
        assert (line.get("trigger_event_id"), line.get("trigger_event_type")) == (
            row["trigger_id"],
            row["trigger_kind"],
        )
        if row["kind"] == "llms":
            assert _prompt(line, nodes) == (json.loads(row["asked"]) if row["asked"][:1] in "[{" else row["asked"])
            assert _completion(line, nodes) == json.loads(row["said"])


def _prompt(line: dict[str, Any], nodes: dict[int, Any]) -> object:
    if "prompt" in line:
        return line["prompt"]
    path = []
    number = line.get("prompt_node")
    while number is not None:
        path.append(nodes[number]["message"])
        number = nodes[number].get("parent")
    return path[::-1] if line["prompt_form"] == 0 else path[0]


def _completion(line: dict[str, Any], nodes: dict[int, Any]) -> object:
    if "completion_node" in line:
        return nodes[line["completion_node"]]["message"]
    if line["completion_form"] == 2:
        return line.get("completion_whole", {"role": "assistant", "content": line["completion"]})
    return line["completion"]


def test_the_line_of_a_session(book: Book) -> None:
    """The first line has all of the session: its row, its agents with the default one first, its owners, and how many
    events follow."""
    session = rich(book)
    first, *rest = lines(book, session)
    assert (first["type"], first["format"], first["id"], first["tags"]) == ("session", 1, session, ["one", "two"])
    assert first["init_timestamp"] == "2023-11-14T22:13:20.000001+00:00"
    assert (first["end_state"], first["end_state_reason"], first["auto_ended"]) == ("Fail", "why", False)
    assert first["events"] == len(events(rest)) == 10
    assert [agent["name"] for agent in first["agents"]] == ["Default Agent"]
    (owner,) = first["owners"]
    assert {line["owner"] for line in events(rest)} == {owner["number"]}
    assert [(owner["pid"], owner["started"], owner["boot"])] == book.rows("SELECT pid, started, boot FROM owners")


def test_prices_come_before_what_they_priced(book: Book) -> None:
    """The price of an event stands before it, once a session."""
    state = book.session()
    for _ in range(3):
        book.llm(state, "ask", model="m")
    book.change("INSERT INTO prices VALUES (7, '', 'm', 0, NULL, '{\"input\": \"1\"}', 'priced', 'a list', 5, NULL)")
    book.change("UPDATE events SET price = 7, cost_pusd = 10, cost_source = 'priced'")
    found = lines(book, state.id)
    assert [line["type"] for line in found] == ["session", "price", "event", "event", "event"]
    assert (found[1]["number"], found[1]["rates"], found[1]["source"]) == (7, {"input": "1"}, "a list")
    assert {(line["price"], line["cost_pusd"], line["cost"]) for line in events(found)} == {(7, 10, 1e-11)}


def test_each_message_once(book: Book) -> None:
    """Told once, a conversation of n turns takes n messages, and a session begins anew: its lines can be read alone."""
    talk: list[dict[str, str]] = [{"role": "system", "content": "be kind"}]
    states = [book.session(), book.session()]
    for turn in range(10):
        talk.append({"role": "user", "content": f"turn {turn}"})
        for state in states:
            book.add(state, LLMEvent(prompt=list(talk), completion=f"answer {turn}"))
        talk.append({"role": "assistant", "content": f"answer {turn}"})
    found = lines(book, each_message_once=True)
    second = max(place for place, line in enumerate(found) if line["type"] == "session")
    for part in (found[:second], found[second:]):
        nodes = [line["number"] for line in part if line["type"] == "node"]
        assert len(nodes) == len(set(nodes)) == 21
        assert all("prompt" not in line for line in events(part))


def test_json_stays_as_it_was_written(book: Book) -> None:
    """Payloads go out as the JSON that they are: large numbers and the spelling of others are not changed; what is no
    JSON goes out as a text, and no line is broken."""
    state = book.session()
    for _ in range(3):
        book.tool(state, params={"a": 1})
    book.change('UPDATE events SET params = \'{"n": 123456789012345678901234567890,\n "x": 1.10}\' WHERE seq = 1')
    book.change("UPDATE events SET params = '{broken\n' WHERE seq = 2")
    book.change("UPDATE events SET params = '\"half \\ud800 pair\"' WHERE seq = 3")
    out = raw(book, state.id, "jsonl")
    assert b'{"n": 123456789012345678901234567890,  "x": 1.10}' in out
    assert [orjson.loads(line)["params"] for line in out.splitlines()[2:]] == ["{broken\n", "half \ufffd pair"]


def test_times_that_no_calendar_has(book: Book) -> None:
    """A time beyond all calendars stands as its number, one of early years with four digits."""
    state = book.session()
    book.tool(state)
    book.change("UPDATE events SET init_us = -62135596800000000, end_us = 9000000000000000000")
    (line,) = events(lines(book, state.id))
    assert (line["init_timestamp"], line["end_timestamp"]) == ("0001-01-01T00:00:00.000000+00:00", 9 * 10**18)
    assert iso(clock.parse_us("2026-01-31T12:00:00.5Z")) == "2026-01-31T12:00:00.500000+00:00"
    assert uuid_text(bytes(16)) == "00000000-0000-0000-0000-000000000000"


def test_without_content(book: Book) -> None:
    """Without content nothing that was said, and nothing of the host, is in the lines."""
    session = secretive(book)
    book.change("UPDATE sessions SET tags = '[]'")
    book.change("UPDATE events SET name = 'named', model = 'm'")
    book.change("UPDATE agents SET name = 'somebody'")
    out = raw(book, session, "jsonl", content=False)
    assert SECRET.encode() not in out
    for word in (b"host_env", b'"program"', b'"prompt"', b'"completion"', b"key_hash"):
        assert word not in out
    assert b'"prompt_tokens":10' in out
