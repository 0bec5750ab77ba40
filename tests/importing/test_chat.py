"""Runs of chat messages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentops_local.importing import Manner, take_in
from benchmarks import real_runs
from benchmarks.real_runs import Call, ToolCall
from tests.importing.looking import query, sound, stored

FILE = real_runs.data_file()
CALL = {"id": "c1", "type": "function", "function": {"name": "search", "arguments": '{"q": "x"}'}}
MESSAGES: list[dict[str, Any]] = [
    {"role": "system", "content": "help"},
    {"role": "user", "content": "find x"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "found"},
    {"role": "assistant", "content": "there"},
]


def taken(folder: Path, *runs: Any, lines: bool = True, **how: Any) -> Path:
    """A database into which runs were taken, and nothing of them left out."""
    file = folder / "runs"
    file.write_text("".join(json.dumps(run) + "\n" for run in runs) if lines else json.dumps(runs, indent=1))
    assert take_in(folder / "runs.db", [file], **how).skipped == 0
    return folder / "runs.db"


@pytest.mark.parametrize("lines", [True, False], ids=["JSON Lines", "a list"])
@pytest.mark.parametrize("field", ["messages", "traj", None])
def test_a_run(tmp_path: Path, lines: bool, field: str | None) -> None:
    """Each message of the assistant is a call whose prompt is all before it, each result of a tool a tool call, named
    and with the arguments as it was asked for, below the call that asked."""
    db = taken(tmp_path, MESSAGES if field is None else {field: MESSAGES}, lines=lines)
    calls = query(db, "SELECT prompt, completion, id FROM llms ORDER BY seq")
    assert [(json.loads(prompt), json.loads(completion)) for prompt, completion, _ in calls] == [
        (MESSAGES[:2], MESSAGES[2]), (MESSAGES[:4], MESSAGES[4]),
    ]  # fmt: skip
    assert query(db, "SELECT name, params, returns, parent_id FROM tools") == [
        ("search", '{"q":"x"}', "found", calls[0][2])
    ]
    sound(db)


def test_how_a_run_ended(tmp_path: Path) -> None:
    """A reward of 1 is a success and less is none; without one nothing is said. Another field may tell it."""
    rewards = (1.0, 0.0, True, 0.5, None)
    db = taken(tmp_path, *({"messages": MESSAGES, "reward": reward, "n": n} for n, reward in enumerate(rewards)))
    assert query(db, "SELECT end_state, end_state_reason FROM sessions") == [
        ("Success", "reward 1.0"), ("Fail", "reward 0.0"), ("Success", "reward true"), ("Fail", "reward 0.5"),
        ("Indeterminate", None),
    ]  # fmt: skip
    db.unlink()
    taken(tmp_path, {"messages": MESSAGES, "score": 1}, manner=Manner(outcome="score"))
    assert query(db, "SELECT end_state FROM sessions") == [("Success",)]


def test_what_a_run_says_of_itself(tmp_path: Path) -> None:
    """Fields become tags, models are told by the message, the run or whoever takes it in; tokens are taken along."""
    last = {**MESSAGES[4], "model": "of the message", "usage": {"prompt_tokens": 7, "completion_tokens": 2}}
    first = {"messages": [*MESSAGES[:4], last], "task_id": 3, "trial": 0, "model": "of the run"}
    db = taken(tmp_path, first, {"messages": MESSAGES}, manner=Manner(model="given"))
    assert query(db, "SELECT tags FROM sessions") == [('["task_id:3", "trial:0"]',), ("[]",)]
    assert query(db, "SELECT model, prompt_tokens, completion_tokens FROM llms ORDER BY seq") == [
        ("of the run", None, None), ("of the message", 7, 2), ("given", None, None), ("given", None, None),
    ]  # fmt: skip


def test_ids_are_those_of_the_content(tmp_path: Path) -> None:
    """Two equal runs of a file are two sessions; the same file again is the same, wherever it lies and however old it
    is; a run that has an id keeps it."""
    known = "0190a000-0000-7000-8000-0000000000a0"
    runs = [{"messages": MESSAGES}, {"messages": MESSAGES}, {"messages": MESSAGES, "id": known}]
    db = taken(tmp_path, *runs)
    before = stored(db)
    assert len(query(db, "SELECT DISTINCT id FROM sessions")) == 3
    assert query(db, "SELECT id FROM sessions ORDER BY seq DESC LIMIT 1") == [(known,)]
    other = tmp_path / "elsewhere"
    other.write_bytes((tmp_path / "runs").read_bytes())
    again = take_in(db, [other])
    assert again.events == 0
    assert again.there == 9
    assert {**stored(db), "sessions": []} == {**before, "sessions": []}


def test_times_go_on(tmp_path: Path) -> None:
    """Where no time is told, the first message is as old as the file, each later one a millisecond younger, from run
    to run as well; a run that tells when it was begins then."""
    timed = {"messages": MESSAGES, "created_at": "2026-01-31T12:00:00Z"}
    db = taken(tmp_path, {"messages": MESSAGES}, timed, {"messages": MESSAGES, "n": 2})
    modified = (tmp_path / "runs").stat().st_mtime_ns // 1000
    first, second, third = (row[0] for row in query(db, "SELECT init_us FROM sessions ORDER BY seq"))
    assert (first, third) == (modified, modified + 6000)
    assert second == 1769860800000000
    assert query(db, "SELECT init_us - ?, end_us - init_us FROM events WHERE session = 1 ORDER BY seq", first) == [
        (2000, 0), (3000, 0), (4000, 0),
    ]  # fmt: skip


def test_a_wrong_message_is_named(tmp_path: Path) -> None:
    """A message that is none is named by its run and place, and left out; so is a run whose reward is no number."""
    file = tmp_path / "runs"
    file.write_text(
        json.dumps([{"messages": [*MESSAGES, 7, {"role": "assistant", "tool_calls": 3}]},
                    {"messages": MESSAGES, "reward": "good"}, {"none": 1}])
    )  # fmt: skip
    done = take_in(tmp_path / "runs.db", [file])
    assert [place for _, place, _ in done.wrong] == ["$[0], message 5", "$[0], message 6", "$[1]", "$[2]"]
    assert (done.new_sessions, done.events, len(done.partial)) == (1, 3, 1)


@pytest.mark.skipif(FILE is None, reason=f"needs {real_runs.NAME}, which AGENTOPS_LOCAL_REAL_DATA may name")
def test_200_real_runs(tmp_path: Path) -> None:
    """200 real runs are 200 sessions, 84 of them successes: every prompt and completion equal to the source, every
    tool with its arguments and result; and a second time nothing changes."""
    assert FILE is not None
    db = tmp_path / "real.db"
    done = take_in(db, [FILE], strict=True)
    assert (done.new_sessions, done.events, done.skipped) == (200, 2454 + 1164, 0)
    assert take_in(db, [FILE]).is_nothing
    assert query(db, "SELECT end_state, count(*) FROM sessions GROUP BY 1") == [("Fail", 116), ("Success", 84)]
    assert query(db, "SELECT sum(llms), sum(tools), sum(events) FROM session_stats") == [(2454, 1164, 3618)]
    runs = real_runs.load(FILE)
    sessions = [row[0] for row in query(db, "SELECT id FROM sessions ORDER BY seq")]
    for run, session in zip(runs, sessions, strict=True):
        told = list(real_runs.events(run))
        calls = query(db, "SELECT prompt, completion FROM llms WHERE session_id = ? ORDER BY seq", session)
        assert [Call(json.loads(prompt), json.loads(said)) for prompt, said in calls] == [
            one for one in told if isinstance(one, Call)
        ]
        tools = query(db, "SELECT name, params, returns FROM tools WHERE session_id = ? ORDER BY seq", session)
        assert [ToolCall(name, json.loads(params), returns) for name, params, returns in tools] == [
            one for one in told if isinstance(one, ToolCall)
        ]
