"""Fifty threads that record at once, and the exit of the process in the midst of some."""

from __future__ import annotations

from pathlib import Path

from agentops_local.analytics.owners import Status
from tests.reliability.conftest import Spawn
from tests.reliability.programs.threaded import THREADS
from tests.reliability.scorecard import Score
from tests.reliability.tools.crash import DB, query, scaled
from tests.reliability.tools.promises import keep

THREADED = """
import sys
from tests.reliability.programs.threaded import main
main(int(sys.argv[1]))
"""


def test_fifty_threads(project: Path, spawn: Spawn, score: Score) -> None:
    """What threads record is there, in the course of the right calls, also of those that die of an exception, that are
    cut off by the exit of the process, or that run while it exits; what comes after the session's end is refused."""
    count = scaled(20)
    program = spawn(THREADED, count, begin="")
    log = program.finish()
    ends = keep(program.lines, score)
    print(f"{len(program.said('ack'))} events, {len(program.said('refused'))} refused at the exit")
    assert len(program.said("died")) == THREADS / 5
    astray = """
    SELECT e.id FROM payloads e LEFT JOIN payloads p ON p.id = e.parent_id WHERE e.name = 'note' AND (
        p.name IS NOT 'turn' OR json_extract(p.params, '$.name') IS NOT json_extract(e.params, '$.name')
        OR json_extract(p.params, '$.number') IS NOT json_extract(e.params, '$.number'))
    """
    assert query(DB, astray) == []
    kinds = dict(query(DB, "SELECT action_type, count(*) FROM actions GROUP BY 1"))
    assert kinds["turn"] == count * (THREADS + 8)
    assert kinds["timer"] == kinds["at exit"] == kinds["main is over"] == 1
    assert "after the session" not in kinds
    assert program.said("refused")
    told = ("the event is not recorded", "record() does nothing")
    assert [line for line in log.splitlines() if not any(words in line for words in told)] == []
    assert query(DB, "SELECT end_state, auto_ended FROM sessions") == [("Indeterminate", 1)]
    assert list(ends.sessions.values()) == [Status.ENDED]
    assert list(ends.processes.values()) == ["end"]
