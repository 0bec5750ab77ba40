"""A notebook whose kernel is interrupted, restarted and killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentops_local.analytics.owners import Status
from tests.reliability.conftest import Spawn
from tests.reliability.scorecard import Score
from tests.reliability.tools.crash import DB, query, scaled, seed
from tests.reliability.tools.promises import keep

pytest.importorskip("ipykernel", reason="needs ipykernel")
pytest.importorskip("jupyter_client", reason="needs jupyter_client")

NOTEBOOK = """
import sys
from tests.reliability.programs.notebook import main
main(*map(int, sys.argv[1:]))
"""
ENDS = {
    "died": (0, "Indeterminate", None, 0),
    "Success": (1, "Success", None, 0),
    "exit": (1, "Indeterminate", "its process ended without end_session()", 1),
}


def test_a_notebook(project: Path, spawn: Spawn, score: Score) -> None:
    """What cells record is there, though the kernel is interrupted in the midst of recording, and restarted by SIGKILL;
    `init()` in a cell that is run again goes on with the session, and each session tells truly how it ended."""
    start = seed()
    notebook = spawn(NOTEBOOK, scaled(15), start, begin="")
    notebook.finish()
    ends = keep(notebook.lines, score)
    print(f"{len(notebook.said('ack'))} events, {scaled(15)} interrupts; seed {start}")
    assert not notebook.said("refused")
    wanted = {session: how for _, session, how in notebook.said("session")}
    rows = query(DB, "SELECT id, end_us IS NOT NULL, end_state, end_state_reason, auto_ended FROM sessions")
    found = {row[0]: row[1:] for row in rows}
    assert found == {session: ENDS[how] for session, how in wanted.items()}
    assert ends.sessions == {session: Status.DIED if how == "died" else Status.ENDED for session, how in wanted.items()}
