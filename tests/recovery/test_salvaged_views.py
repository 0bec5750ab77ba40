"""What a reader sees of salvaged events in a database that has rows of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

from agentops_local import analytics
from agentops_local.event import LLMEvent, ToolEvent
from agentops_local.recorder.recorder import Recorder
from agentops_local.recorder.state import SessionState
from agentops_local.recovery.repair import Repair
from tests.recovery.old import SESSIONS, SHARED, make_old
from tests.reliability.tools.crash import DB, query

VIEWS = {
    "llms": "id, session_id, agent_id, thread_id, prompt, completion, model, prompt_tokens, cost, params, returns, "
    "init_timestamp, end_timestamp, agent_name, extra",
    "tools": "id, session_id, agent_id, name, logs, params, returns, init_timestamp, end_timestamp, parent_id, extra",
    "actions": "id, session_id, agent_id, action_type, logs, screenshot, params, returns, init_timestamp, kind",
    "errors": "id, session_id, trigger_event_id, trigger_event_type, error_type, code, details, logs, timestamp",
    "scored": "session_id, event_id, name, kind, value, remark, author, timestamp",
}


def test_every_view_shows_them_as_they_were(project: Path, tmp_path: Path) -> None:
    """Moved behind the rows of a database in use, every number that one row holds of another still leads to what it
    led to: prompts, completions, long texts, agents, triggers are as they were, and so are those that were there."""
    old, path = tmp_path / "agentops.db", project / DB
    make_old(old)
    path.parent.mkdir()
    recorder = Recorder(path)
    state = SessionState(SESSIONS[0], tags=["new"])
    recorder.start(state)
    prompt: list[object] = [{"role": "system", "content": SHARED}]
    for turn in range(7):
        prompt.append({"role": "user", "content": f"new {turn}"})
        recorder.record(state, LLMEvent(prompt=list(prompt), completion=f"new answer {turn}"), None, None)
        recorder.record(state, ToolEvent(name="new", returns=f"new {turn} " * 500), None, None)
    recorder.close()
    before = {view: query(path, f"SELECT {columns} FROM {view} ORDER BY seq") for view, columns in VIEWS.items()}
    shutil.copy(old, f"{path}.damaged-by-hand")
    done = Repair(path).run()
    assert not done.failed
    for view, columns in VIEWS.items():
        sql = f"SELECT {columns} FROM {view} ORDER BY seq"
        assert query(path, sql) == before[view] + query(old, sql), view
    chained = "SELECT count(*) FROM messages WHERE parent = id - 1 AND hash IS NULL"
    assert query(path, "SELECT count(*) FROM messages WHERE hash IS NULL AND parent IS NOT id - 1") == [(0,)]
    assert query(path, chained)[0][0] > query(old, chained)[0][0] > 0
    sql = "SELECT count(*) FROM egress"
    assert query(path, sql) == query(old, sql) != [(0,)]


def test_what_was_said_since_stays(project: Path, tmp_path: Path) -> None:
    """What an author has said of a session in the new database is not said otherwise by the damaged one, and no score
    or note is there twice."""
    old, path = tmp_path / "agentops.db", project / DB
    make_old(old, 2)
    path.parent.mkdir()
    recorder = Recorder(path)
    recorder.start(SessionState(SESSIONS[0]))
    recorder.close()
    analytics.score(SESSIONS[0], "helpful", 0, author="somebody", db=path)
    shutil.copy(old, f"{path}.damaged-by-hand")
    assert not Repair(path).run().failed
    sql = "SELECT session_id, event_id, name, author, count(*) FROM scored GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4"
    assert query(path, sql) == query(old, sql)
    helpful = "SELECT value FROM scored WHERE session_id = ? AND name = 'helpful'"
    assert query(path, helpful, SESSIONS[0]) == [(0.0,)]
    assert query(path, helpful, SESSIONS[1]) == query(old, helpful, SESSIONS[1])
