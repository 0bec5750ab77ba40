"""The index of the WAL is removed under more than one connection of a program."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentops_local.event import ToolEvent
from agentops_local.recorder.recorder import Recorder
from agentops_local.recorder.state import SessionState
from agentops_local.store import database
from tests.reliability.tools.crash import DB, SESSION, check


def test_two_recorders_of_a_program_lose_the_index(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the index of the WAL is removed, each recorder of a program goes on once all have let go of it, though the
    new index has the inode of the old one; nothing is left unstored."""
    monkeypatch.setattr(database, "_RETRY_AFTER", 0.0)
    recorders = [Recorder(project / DB) for _ in range(2)]
    state = [SessionState(SESSION) for _ in recorders]
    events = []
    for turn in range(4):
        for number, recorder in enumerate(recorders):
            events.append(ToolEvent(name="step", params=turn))
            stored = recorder.record(state[number], events[-1], None, None)
            assert stored or turn == 1
        if turn == 0:
            Path(f"{project / DB}-shm").unlink()
    assert [recorder.database.unstored for recorder in recorders] == [0, 0]
    for recorder in recorders:
        recorder.close()
    check([str(event.id) for event in events], project / DB)
