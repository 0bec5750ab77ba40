"""How long a program waits for somebody who keeps the database to himself."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from agentops_local.event import ToolEvent
from agentops_local.recorder.recorder import Recorder
from agentops_local.recorder.state import SessionState
from agentops_local.store import connection, database
from tests.reliability.tools.crash import DB, SESSION, check


@pytest.mark.timeout(15)
def test_a_database_that_cannot_even_be_opened(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another program lets nobody into the database, one event waits for it as long as it may take; those that
    follow try for a moment each, and all are stored when it has gone."""
    first = Recorder(project / DB)
    first.start(SessionState(SESSION))
    first.close()
    recorder, state = Recorder(project / DB), SessionState(SESSION)
    events = [ToolEvent(name="step", params=number) for number in range(4)]
    monkeypatch.setattr(database, "_RETRY_AFTER", 0.0)
    with closing(sqlite3.connect(project / DB, isolation_level=None)) as selfish:
        selfish.execute("PRAGMA locking_mode = EXCLUSIVE")
        selfish.execute("BEGIN EXCLUSIVE")
        selfish.execute("SELECT * FROM about").fetchall()
        monkeypatch.setattr(connection, "BUSY_TIMEOUT", 0.02)
        assert not recorder.record(state, events[0], None, None)
        monkeypatch.setattr(connection, "BUSY_TIMEOUT", 20.0)  # more than this test may take
        assert not any(recorder.record(state, event, None, None) for event in events[1:3])
    assert recorder.record(state, events[3], None, None)
    recorder.close()
    check([str(event.id) for event in events], project / DB)
