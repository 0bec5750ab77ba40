"""A restored database, uploaded to a collector, which takes a session that is there already for a new one."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agentops_local.recovery.backup import make
from agentops_local.recovery.restore import restore
from tests.server.running import in_process
from tests.sync.driving import MAKERS, Machine, VirtualClock, error, tool
from tests.sync.running import query


@pytest.mark.parametrize("known", [False, True], ids=["target unknown to the backup", "target known"])
def test_nothing_is_doubled(tmp_path: Path, known: bool) -> None:
    """What was uploaded after the backup is not there twice, errors included; what is recorded later arrives."""
    there = tmp_path / "collector" / "agentops.db"
    with in_process(there) as url:
        server = cast("Any", SimpleNamespace(url=url, api_key="0190a000-0000-4000-8000-000000000001"))
        with closing(Machine(tmp_path / "machine", server, VirtualClock())) as machine:
            if known:
                machine.session().record(tool())
                machine.drain()
            session = machine.session()
            for number in range(30):
                for make_one in MAKERS.values():
                    session.record(make_one(number))
            make(machine.file, machine.file.with_name("saved.db"))
            machine.drain()
            machine.stop()
            restore(machine.file, machine.file.with_name("saved.db"))
            session.record(error("at last"))
            session.end_session("Success")
            machine.drain()
            assert set(machine.states()) == {"done"}
    what = (
        "SELECT kind, coalesce(details, hex(id)) FROM events WHERE session IN (SELECT seq FROM sessions WHERE id = ?)"
    )
    found = Counter(query(there, what, str(session.session_id)))
    assert set(found.values()) == {1}
    assert found.total() == 4 * 30 + 1
