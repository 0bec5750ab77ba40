from __future__ import annotations

import json
from pathlib import Path

from tests.sdk.records import Programs, Records

PROGRAMS = Path(__file__).with_name("programs")


def run(programs: Programs, name: str) -> None:
    """Runs one of the programs, which must say nothing of its own."""
    ended = programs.run(PROGRAMS / name)
    assert ended.out == ""
    assert "deprecated" in ended.err or ended.err == ""


def test_the_basic_program(programs: Programs, records: Records) -> None:
    """The shortest program of the documentation leaves its session, its events and its error behind."""
    run(programs, "basic.py")
    session = records.row("SELECT * FROM sessions")
    assert (session["end_state"], session["end_state_reason"]) == ("Success", "greeted")
    assert session["tags"] == '["quick-start", "weather"]'
    assert records.rows("SELECT kind, action_type, params, returns, logs FROM actions ORDER BY seq") == [
        {
            "kind": "greeting",
            "action_type": None,
            "params": '{"name":"Ada"}',
            "returns": "Hello, Ada",
            "logs": None,
        },
        {"kind": "actions", "action_type": "looked up", "params": None, "returns": None, "logs": "nothing found"},
    ]
    assert records.row("SELECT name, returns FROM tools") == {"name": "search", "returns": '["sunny"]'}
    error = records.row("SELECT error_type, code, details, logs FROM errors")
    assert "in <module>" in error.pop("logs")
    assert error == {"error_type": "TimeoutError", "code": "504", "details": "the weather service is slow"}
    assert records.row("SELECT events, tools, actions, errors FROM session_stats") == {
        "events": 4,
        "tools": 1,
        "actions": 1,
        "errors": 1,
    }


def test_the_program_with_decorators(programs: Programs, records: Records) -> None:
    """Decorated functions leave their calls behind, nested as they happened, failures with their errors."""
    run(programs, "decorators.py")
    actions = records.rows("SELECT id, action_type, params, returns, parent_id FROM actions ORDER BY seq")
    assert [row["action_type"] for row in actions] == ["old_style", "report", "publish"]
    report = actions[1]
    assert json.loads(report["params"]) == {"numbers": [6, 7]}
    assert json.loads(report["returns"]) == {"product": 42, "sum": 13}
    assert actions[0]["parent_id"] == report["id"]
    tools = records.rows("SELECT id, name, returns, parent_id FROM tools ORDER BY seq")
    assert [(row["name"], row["returns"]) for row in tools] == [("multiply", "42"), ("divide", None)]
    assert tools[0]["parent_id"] == report["id"]
    assert records.row("SELECT error_type, trigger_event_id FROM errors") == {
        "error_type": "ZeroDivisionError",
        "trigger_event_id": tools[1]["id"],
    }


def test_the_program_with_agents(programs: Programs, records: Records) -> None:
    """What several agents do stands under their names, one within the other's call under its own."""
    run(programs, "agents.py")
    names = records.column("SELECT name FROM agents ORDER BY seq")
    assert names == ["Default Agent", "researcher", "novelist", "critic"]
    calls = records.rows("SELECT agent_name, prompt FROM llms ORDER BY seq")
    assert [tuple(row.values()) for row in calls] == [
        ("researcher", "Summarise a book about bees"),
        ("novelist", "Write about bees in short"),
        ("critic", "Summarise a book about style"),
    ]
    assert records.column("SELECT agent_name FROM tools ORDER BY seq") == ["researcher", "critic"]
    actions = records.rows("SELECT action_type, kind, agent_name FROM actions ORDER BY seq")
    assert [tuple(row.values()) for row in actions] == [
        ("write", "actions", "novelist"),
        (None, "nobody's", "Default Agent"),
    ]


def test_the_program_with_two_sessions(programs: Programs, records: Records) -> None:
    """Two sessions at once keep their events apart, however they are told which is meant."""
    run(programs, "sessions.py")
    events = "SELECT kind, name FROM payloads WHERE session_id = ? ORDER BY seq"
    first, second = records.rows("SELECT id, tags, end_state, end_state_reason FROM sessions ORDER BY seq")
    assert (first["tags"], first["end_state"]) == ('["first"]', "Success")
    assert (second["tags"], second["end_state"]) == ('["second"]', "Fail")
    assert second["end_state_reason"] == "ran out of words"
    assert [tuple(row.values()) for row in records.rows(events, first["id"])] == [
        ("by hand", None),
        ("actions", "work"),
        ("in the block", None),
    ]
    assert [tuple(row.values()) for row in records.rows(events, second["id"])] == [
        ("actions", "work"),
        ("llms", None),
        ("actions", "chat"),
        ("actions", "work"),
    ]
    assert records.column("SELECT returns FROM actions WHERE action_type = 'work' ORDER BY seq") == [
        "ONE",
        "TWO",
        "THREE",
    ]


def test_the_program_with_llm_calls(programs: Programs, records: Records) -> None:
    """LLM calls recorded by hand leave their whole prompts, tokens and cost behind, and each message once."""
    run(programs, "llm.py")
    calls = records.rows("SELECT * FROM llms ORDER BY seq")
    assert [len(json.loads(row["prompt"])) for row in calls[:3]] == [2, 4, 6]
    assert json.loads(calls[2]["prompt"])[-1] == {"role": "user", "content": "When?"}
    assert json.loads(calls[2]["completion"]) == {"role": "assistant", "content": "Now."}
    assert [(row["prompt_tokens"], row["completion_tokens"], row["cost"]) for row in calls[:3]] == [
        (8, 2, 0.0001),
        (16, 2, 0.0001),
        (24, 2, 0.0001),
    ]
    assert (calls[3]["prompt"], calls[3]["cost"]) == ("too long", None)
    assert records.row("SELECT error_type, trigger_event_id, trigger_event_type FROM errors") == {
        "error_type": "RateLimit",
        "trigger_event_id": calls[3]["id"],
        "trigger_event_type": "llms",
    }
    assert records.value("SELECT count(*) FROM messages") == 8
    stats = records.row("SELECT llms, unpriced, prompt_tokens, round(cost, 6) AS cost FROM session_stats")
    assert stats == {"llms": 4, "unpriced": 1, "prompt_tokens": 48, "cost": 0.0003}
