"""Sessions in the shape of v2, as our export and the API give them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentops_local.event import LLMEvent
from agentops_local.exporting import export
from agentops_local.importing import take_in
from tests.analytics.recording import LONG, Book
from tests.importing.looking import query, said, stored

SESSION = "0190a000-0000-7000-8000-0000000000a0"
FIELDS = {
    "llms": "id, agent_id, thread_id, prompt, completion, model, prompt_tokens, completion_tokens, cost, params,"
            " returns, init_timestamp, end_timestamp",
    "tools": "id, agent_id, name, logs, params, returns, init_timestamp, end_timestamp",
    "actions": "id, agent_id, action_type, logs, screenshot, params, returns, init_timestamp, end_timestamp",
    "errors": "id, trigger_event_id, trigger_event_type, error_type, code, details, logs, timestamp",
}  # fmt: skip


@pytest.fixture
def recorded(book: Book) -> Book:
    """Two sessions with something of everything that v2 knows."""
    for name in ("one", "two"):
        state = book.session(name, "common")
        tool = book.tool(state, params={"a": [1, LONG]}, returns="a text")
        book.llm(state, "a system prompt", "question", completion=LONG, cost="0.25")
        book.add(state, LLMEvent(prompt="text", completion={"role": "assistant", "content": "x"}, model="m"))
        book.action(state, params=["no object"])
        book.error(state, tool, "it broke")
        book.end(state, "Fail", "it broke")
    return book


def test_what_v2_knows_is_equal(recorded: Book, tmp_path: Path) -> None:
    """What v2 knows of sessions and events is, exported and taken in again, the same, also the second time."""
    other = tmp_path / "other.db"
    export(recorded.path, None, "v2", tmp_path / "all.json")
    done = take_in(other, [tmp_path / "all.json"])
    assert (done.sessions, done.events, done.skipped) == (2, 10, 0)
    for view, columns in FIELDS.items():
        sql = f"SELECT {columns} FROM {view} ORDER BY session_id, seq"
        assert query(other, sql) == query(recorded.path, sql), view
    sql = "SELECT id, init_us, end_us, end_state, end_state_reason, tags, video FROM sessions"
    assert query(other, sql) == query(recorded.path, sql)
    before = stored(other)
    assert take_in(other, [tmp_path / "all.json"]).is_nothing
    assert stored(other) == before


def test_who_contributed_is_not_told(recorded: Book, tmp_path: Path) -> None:
    """The sessions of a file that names no process have an owner whose pid is 0, as those of the collector."""
    export(recorded.path, "last", "v2", tmp_path / "one.json")
    take_in(tmp_path / "other.db", [tmp_path / "one.json"])
    assert query(tmp_path / "other.db", "SELECT pid, program, exit FROM owners") == [(0, "import", "end")]


def written(folder: Path, value: Any) -> Path:
    """A file."""
    file = folder / "v2.json"
    file.write_text(json.dumps(value, indent=1))
    return file


def body(**lists: Any) -> dict[str, Any]:
    """A session with some rows."""
    return {"session": {"id": SESSION, "init_timestamp": "2026-01-31T12:00:00", "tags": '["a"]'}, **lists}


def test_rows_without_ids(tmp_path: Path) -> None:
    """A row without an id gets one made of what it says: taken in twice, it is there once, and two rows are two."""
    row = {"name": "search", "init_timestamp": "2026-01-31T12:00:00"}
    rows = [{**row, "params": f'{{"n": {number}}}'} for number in (1, 2)]
    file = written(tmp_path, body(tools=rows))
    other = tmp_path / "other.db"
    assert take_in(other, [file]).events == 2
    assert take_in(other, [file]).is_nothing
    assert query(other, "SELECT name, params FROM tools") == [("search", '{"n":1}'), ("search", '{"n":2}')]


def test_what_has_no_column(tmp_path: Path) -> None:
    """Fields that no column is for are kept; what a call cost is what the source reports."""
    row = {"model": "gpt-4o", "prompt": None, "cost": 0.1, "strange": [1], "init_timestamp": "2026-01-31T12:00:00"}
    take_in(tmp_path / "other.db", [written(tmp_path, body(llms=[row]))])
    assert query(tmp_path / "other.db", "SELECT extra, cost_pusd, cost_source FROM events") == [
        ('{"strange":[1]}', 10**11, "reported")
    ]


def test_a_wrong_row_is_named(tmp_path: Path) -> None:
    """A row with a value that cannot be meant is named by its place in the file, and left out; a session that is none
    is named as well."""
    good = {"name": "good", "init_timestamp": "2026-01-31T12:00:00"}
    bodies = [body(tools=[good, {**good, "id": "none"}, {"name": "never"}, 7]), {"session": {"id": 7}}, body(llms=3)]
    done = take_in(tmp_path / "other.db", [written(tmp_path, bodies)])
    assert [place for _, place, _ in done.wrong] == [
        "$[0].tools[1]", "$[0].tools[2]", "$[0].tools[3]", "$[1]", "$[2].llms",
    ]  # fmt: skip
    assert (done.events, done.partial) == (1, [SESSION] * 2)
    assert len(said(tmp_path / "other.db")["tools"]) == 1
