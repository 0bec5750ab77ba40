"""A program that starts a program that starts a program."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentops_local.analytics.owners import Status
from tests.reliability.conftest import Spawn
from tests.reliability.scorecard import Score
from tests.reliability.tools.crash import DB, query, scaled
from tests.reliability.tools.promises import keep

CHAIN = """
import os, signal, subprocess, sys
import agentops_local as agentops
from tests.reliability.programs.telling import act, say, think
source, level, depth, how = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
if level == 0:
    os.environ["AGENTOPS_LOCAL_SESSION"] = str(agentops.init().session_id)
for turn in range(20):
    act("down", level=level)
    think(f"level {level}", turn % 5)
if level < depth:
    child = subprocess.Popen([sys.executable, "-c", source, source, str(level + 1), str(depth), how])
    for turn in range(20):
        act("beside", level=level)
    if how == "killed":
        assert child.wait() == (-signal.SIGKILL if level + 1 == depth else 0)
    elif level == 0:
        child.wait()
    else:
        child.returncode = 0  # it is left alone
elif how == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
for turn in range(20):
    act("up", level=level)
if level == 0 and how == "killed":
    agentops.end_session("Success")
"""


@pytest.mark.parametrize("how", ["killed", "left alone"])
def test_a_chain_of_programs(project: Path, spawn: Spawn, score: Score, how: str) -> None:
    """Programs that start one another take part in one session by their environment, and lose nothing: the last of
    them killed, or all of them left alone by those that started them; then the last one that ends, ends it."""
    depth = scaled(4)
    program = spawn(CHAIN, CHAIN, 0, depth, how, begin="")
    assert program.finish() == ""
    ends = keep(program.lines, score)
    assert len(program.said("ack")) == (depth + 1) * 80 - (20 if how == "left alone" else 40)
    assert len(ends.processes) == depth + 1
    assert not program.said("refused")
    assert list(ends.sessions.values()) == [Status.ENDED]
    silent = [exit_ for exit_ in ends.processes.values() if exit_ is None]
    assert len(silent) == (1 if how == "killed" else 0)
    wanted = ("Success", 0) if how == "killed" else ("Indeterminate", 1)
    assert query(DB, "SELECT end_state, auto_ended FROM sessions") == [wanted]
