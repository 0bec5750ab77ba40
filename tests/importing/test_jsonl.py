"""What is exported as JSON Lines and taken in again."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from agentops_local import clock
from agentops_local.event import ActionEvent, LLMEvent
from agentops_local.exporting import export
from agentops_local.importing import Refused, take_in
from tests.analytics.recording import LONG, Book
from tests.importing.looking import query, said, sound, stored
from tests.recovery.old import make_old

PARTS = ("llms", "tools", "actions", "errors", "session_stats", "scored")


@pytest.fixture
def full(book: Book) -> Book:
    """Everything of which the tables know, the odd ones among them: prompts that are no lists, JSON nulls, agents,
    parents, a price that is no longer there, processes that have died, an end that came by itself."""
    make_old(book.path, 3)
    state = book.session("odd", 'a "tag"')
    state.agent_names["0197a1b2-0000-7000-8000-000000000001"] = "a name"
    tool = book.tool(state, params={"a": [1, 2.5, None, "ü \U0001f600", 10**18]}, returns="text")
    for prompt, completion in (
        ("plain text", "said"), ("1", 1), ([], None), (None, {"role": "assistant", "content": None}),
        ([{"role": "user", "content": "q"}, "no message"], [1, 2]), ({"role": "user"}, {"content": "b", "role": "a"}),
    ):  # fmt: skip
        book.add(state, LLMEvent(prompt=prompt, completion=completion, thread_id="thread", provider="openai",  # type: ignore[arg-type]
                                 model="m", cache_read_tokens=3, reasoning_tokens=0, cost=0.1), tool)  # fmt: skip
    book.llm(state, "a system prompt", LONG, completion=LONG)
    book.add(state, ActionEvent(action_type="look", screenshot="data:image/png;base64," + "A" * 5000, logs=["x", LONG]))
    book.add(state, ActionEvent(event_type="apis", action_type="call"))
    book.error(state, tool, "it broke")
    book.change("UPDATE events SET params = 'null', extra = '{\"more\":[1]}' WHERE kind = 'actions'")
    plain, more = ('{"role":"assistant","content":"said"' + end for end in ("}", ',"more":1}'))
    book.change("UPDATE messages SET content = ? WHERE content = ? AND hash IS NULL", more, plain)
    insert = "INSERT INTO prices VALUES (7, 'openai', 'm', 0, 5, '{\"input\":\"1\"}', 'priced', 'a book', 6, 8)"
    book.change(insert)
    book.change("UPDATE events SET cost_pusd = 3, cost_source = 'priced', price = 7 WHERE model = 'm'")
    book.change("UPDATE sessions SET auto_ended = 1, end_us = init_us + 5, video = 'v.mp4', joined = 1, key_hash = 'k'")
    book.change("UPDATE owners SET exit = 'error', end_us = start_us + 1 WHERE seq % 2")
    return book


def same(one: Path, other: Path) -> None:
    """Two databases say the same."""
    ours, theirs = said(one, *PARTS), said(other, *PARTS)
    for name, rows in ours.items():
        assert rows == theirs[name], name


@pytest.mark.parametrize("once", [False, True], ids=["prompts whole", "each message once"])
def test_a_round_trip_loses_nothing(full: Book, tmp_path: Path, once: bool) -> None:
    """What was exported and taken in is equal to what was recorded: in every view row for row, in its order; the
    sessions, their processes and agents; prices. Taken in twice, not a row changes."""
    file, other = tmp_path / "all.jsonl", tmp_path / "other.db"
    export(full.path, None, "jsonl", file, each_message_once=once)
    done = take_in(other, [file])
    assert (done.skipped, done.partial, done.sessions) == (0, [], 4)
    same(full.path, other)
    sound(other)
    prices = "SELECT provider, model, from_us, until_us, rates, kind, source, looked_us, ended_us FROM prices"
    assert query(other, prices) == query(full.path, prices)
    messages = "SELECT text FROM message_texts ORDER BY text"
    assert query(other, messages) == query(full.path, messages)
    assert '{"role":"assistant","content":"said","more":1}' in {row[0] for row in query(other, messages)}
    before = stored(other)
    again = take_in(other, [file])
    assert again.is_nothing
    assert again.there == done.events
    assert stored(other) == before


def test_what_was_exported_is_what_is_there(full: Book, tmp_path: Path) -> None:
    """An export taken into the database that it is of changes nothing."""
    export(full.path, None, "jsonl", tmp_path / "all.jsonl")
    before = stored(full.path)
    assert take_in(full.path, [tmp_path / "all.jsonl"]).is_nothing
    assert stored(full.path) == before


def exported(book: Book, folder: Path) -> list[Any]:
    """The lines of an export of two sessions of three events."""
    for name in ("first", "second"):
        state = book.session(name)
        for number in range(3):
            book.tool(state, str(number))
        book.end(state)
    export(book.path, None, "jsonl", folder / "lines.jsonl")
    return [json.loads(line) for line in (folder / "lines.jsonl").read_text().splitlines()]


def written(folder: Path, lines: list[Any]) -> Path:
    """A file of some lines."""
    file = folder / "changed.jsonl"
    file.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
    return file


def test_a_wrong_line_is_named(book: Book, tmp_path: Path) -> None:
    """A line that is no JSON, or has a value that cannot be meant, is named by its number and left out; its session
    counts as partial, the others are whole, and what is not known is passed over."""
    lines = exported(book, tmp_path)
    lines[1]["id"] = "no id"
    lines[2]["init_timestamp"] = "yesterday"
    lines[6] = "{broken\n"
    lines.insert(4, {"type": "of later versions"})
    other = tmp_path / "other.db"
    done = take_in(other, [written(tmp_path, lines)])
    assert [(place, reason.split(" ")[0]) for _, place, reason in done.wrong] == [
        ("line 2", "id"), ("line 3", "init_timestamp"), ("line 8", "it"), ("line 6", "the"),
    ]  # fmt: skip
    assert (done.skipped, done.events, done.new_sessions) == (4, 3, 2)
    assert sorted(done.partial) == sorted(row[0] for row in query(other, "SELECT id FROM sessions"))


def test_the_rest_comes_later(book: Book, tmp_path: Path) -> None:
    """A file that was cut short gives what is there, and tells that the session is partial; the whole file then brings
    the rest, and no event twice."""
    lines = exported(book, tmp_path)
    other = tmp_path / "other.db"
    done = take_in(other, [written(tmp_path, lines[:-1])])
    assert (done.events, done.skipped, done.partial) == (5, 1, [lines[4]["id"]])
    assert "2 events and says that there are 3" in done.wrong[0][2]
    done = take_in(other, [tmp_path / "lines.jsonl"])
    assert (done.events, done.there, done.partial) == (1, 5, [])
    assert {name: sorted(rows) for name, rows in said(other).items()} == {
        name: sorted(rows) for name, rows in said(book.path).items()
    }


def test_strict_takes_all_or_nothing(book: Book, tmp_path: Path) -> None:
    """With `strict` a file with a single wrong line is refused by its place, and nothing of it is written."""
    lines = exported(book, tmp_path)
    lines[-1]["kind"] = None
    other = tmp_path / "other.db"
    with pytest.raises(Refused, match="line 8: kind is missing"):
        take_in(other, [written(tmp_path, lines)], strict=True)
    assert not other.exists()
    assert take_in(other, [tmp_path / "lines.jsonl"], strict=True).events == 6


def test_a_session_that_cannot_be_read(book: Book, tmp_path: Path) -> None:
    """Of a session whose own line is wrong nothing is written, and each of its lines is told."""
    lines = exported(book, tmp_path)
    lines[0]["format"] = 99
    done = take_in(tmp_path / "other.db", [written(tmp_path, lines)])
    assert (done.skipped, done.new_sessions, done.events) == (4, 1, 3)
    assert "upgrade" in done.wrong[0][2]


def test_compressed_and_cut(book: Book, tmp_path: Path) -> None:
    """A compressed file is taken in as it is; one that was cut short says so, and its last session is partial."""
    exported(book, tmp_path)
    whole = gzip.compress((tmp_path / "lines.jsonl").read_bytes())
    (tmp_path / "whole.gz").write_bytes(whole)
    (tmp_path / "cut.gz").write_bytes(whole[:-40])
    assert take_in(tmp_path / "whole.db", [tmp_path / "whole.gz"]).events == 6
    done = take_in(tmp_path / "cut.db", [tmp_path / "cut.gz"])
    assert done.skipped
    assert any("cut short" in reason for _, _, reason in done.wrong)


def test_what_a_source_says_of_costs(book: Book, tmp_path: Path) -> None:
    """A cost that is told without its source counts as reported; a call without one is unpriced."""
    state = {"type": "session", "format": 1, "id": str(clock.new_id()), "init_timestamp": "2026-01-31T12:00:00Z"}
    call = {"type": "event", "kind": "llms", "init_timestamp": "2026-01-31T12:00:00Z", "model": "m"}
    file = written(
        tmp_path, [state, {**call, "id": str(clock.new_id()), "cost": "0.5"}, {**call, "id": str(clock.new_id())}]
    )
    assert take_in(tmp_path / "other.db", [file]).events == 2
    assert query(tmp_path / "other.db", "SELECT cost, cost_source FROM llms") == [(0.5, "reported"), (None, None)]
