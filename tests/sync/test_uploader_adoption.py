"""A copy of a database, uploaded after the database itself."""

from __future__ import annotations

import shutil

import pytest

from agentops_sync import outbox
from tests.fakes.agentops_api import AgentOpsAPI
from tests.sync.conftest import Machines
from tests.sync.driving import MAKERS, VirtualClock, ids_there, tool


@pytest.mark.parametrize("piece", [2000, 100])
def test_a_copy_doubles_nothing(
    machines: Machines, api: AgentOpsAPI, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    """What another copy of the database has uploaded is found on the server, errors too, and not sent again, in however
    many pieces it is noted; what came to this copy alone is sent."""
    monkeypatch.setattr(outbox, "_PIECE", piece)
    clock = VirtualClock(api)
    first, copy = machines("first", clock=clock), machines("copy", clock=clock)
    session = first.session()
    for number in range(600):
        session.record(MAKERS["errors"](number))
    for make in MAKERS.values():
        session.record(make("more"))
    session.end_session("Success")
    first.recorder.close()
    copy.file.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(first.file, copy.file)
    first.drain()
    assert len(ids_there(api, session, "errors")) == 601
    copy.drain()
    for kind in MAKERS:
        assert len(ids_there(api, session, kind)) == (601 if kind == "errors" else 1), kind
    assert copy.states() == {"done": 604}
    late = copy.session(id=session.session_id)
    late.record(tool("late"))
    copy.drain()
    assert len(ids_there(api, session, "tools")) == 2
    assert copy.states() == {"done": 605}
