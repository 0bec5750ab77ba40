"""A thousand tasks that record at once."""

from __future__ import annotations

from pathlib import Path

from agentops_local.analytics.owners import Status
from tests.reliability.conftest import Spawn
from tests.reliability.programs.tasked import SESSIONS
from tests.reliability.scorecard import Score
from tests.reliability.tools.crash import DB, query, scaled
from tests.reliability.tools.promises import keep

TASKED = """
import sys
from tests.reliability.programs.tasked import main
main(int(sys.argv[1]))
"""
_NUMBERS = "json_extract(p.params, '$.number') IS NOT json_extract(e.params, '$.number')"
_FROM = "SELECT e.id, e.params, p.name, p.params FROM payloads e LEFT JOIN payloads p ON p.id = e.parent_id"
_ASTRAY = f"""
{_FROM} WHERE e.name = 'note' AND (p.name IS NOT json_extract(e.params, '$.inside') OR {_NUMBERS}
                                   OR e.session_id <> json_extract(e.params, '$.wanted'))
"""
_TOOLS_ASTRAY = f"{_FROM} WHERE e.name = 'inner' AND (p.name IS NOT 'outer' OR {_NUMBERS})"


def test_a_thousand_tasks(project: Path, spawn: Spawn, score: Score) -> None:
    """Of a thousand tasks at once, in three sessions, each event is there under its session and in the course of the
    very call that recorded it: from coroutines, their threads, their tasks, and from those that are cancelled."""
    count = scaled(1000)
    program = spawn(TASKED, count, begin="")
    assert program.finish() == ""
    ends = keep(program.lines, score)
    assert query(DB, _ASTRAY) == []
    assert query(DB, _TOOLS_ASTRAY) == []
    cancelled = int(program.expect("cancelled")[1])
    assert query(DB, "SELECT count(*) FROM actions WHERE action_type = 'outer'") == [(count,)]
    assert query(DB, "SELECT error_type, count(*) FROM errors GROUP BY 1") == [("CancelledError", cancelled)]
    assert query(DB, "SELECT DISTINCT parent_id FROM actions WHERE action_type = 'plain'") == [(None,)]
    assert list(ends.sessions.values()) == [Status.ENDED] * SESSIONS
    assert list(ends.processes.values()) == ["end"]
