"""The index of the WAL is removed at an awkward moment."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType

import pytest

from agentops_local.event import ToolEvent
from agentops_local.recorder.recorder import Recorder
from agentops_local.recorder.state import SessionState
from agentops_local.store import database
from agentops_local.store.watch import Watch
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


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_a_file_that_vanishes_while_the_database_is_opened(project: Path, suffix: str) -> None:
    """Where the WAL or its index is removed in the midst of opening, the database is opened once more: the program does
    not leave it for the user's data folder."""
    recorder, state = Recorder(project / DB), SessionState(SESSION)
    recorder.start(state)
    recorder.close()

    def meanwhile(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code is Watch.begin.__code__:
            sys.setprofile(None)
            Path(f"{project / DB}{suffix}").unlink()

    sys.setprofile(meanwhile)
    event = ToolEvent(name="step")
    assert recorder.record(state, event, None, None)
    assert recorder.database.path == project / DB
    recorder.close()
    check([str(event.id)], project / DB)
