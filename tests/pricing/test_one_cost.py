"""One cost for everybody: the program, the tables, the command line and the server."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal

import pytest

from agentops_local.event import LLMEvent
from tests.fakes.agentops_api import AgentOpsAPI
from tests.reliability.conftest import api, machine, machines
from tests.reliability.tools.crash import query
from tests.sync.driving import Machine

__all__ = ["api", "machine", "machines"]

PROGRAM = """
import sys
from pathlib import Path
from agentops_local.event import LLMEvent
from agentops_local.recorder.recorder import Recorder
from agentops_local.recorder.state import SessionState
from agentops_local.pricing.access import opened
from agentops_local.pricing.catch_up import catch_up

path, session = Path(sys.argv[1]), sys.argv[2]
recorder = Recorder(path)
state = SessionState(session, inherited=True)
for turn in range(120):
    model = ("gpt-4o", "gpt-4o-mini", "unheard of")[turn % 3]
    call = LLMEvent(model=model, provider="openai", prompt_tokens=turn, completion_tokens=1)
    assert recorder.record(state, call, None, None)
    if turn % 40 == 0:
        recorder.price(session)
        with opened(path) as access:
            catch_up(access)
recorder.close()
"""


def test_one_cost(machine: Machine, api: AgentOpsAPI) -> None:
    """However many processes record and price at once, each call is priced once and each model stands in the book once,
    and end_session, get_analytics, the view session_stats and the server say the same cost."""
    session = machine.session()
    command = [sys.executable, "-c", PROGRAM, str(machine.file), str(session.session_id)]
    running = [subprocess.Popen(command) for _ in range(4)]
    assert [process.wait(60) for process in running] == [0] * 4
    session.record(LLMEvent(model="gpt-4.1", provider="openai", prompt_tokens=7, completion_tokens=7))
    machine.run(60)
    there = api.events(str(session.session_id), "llms")
    told = session.get_analytics()
    assert told is not None
    large = sum(Decimal("2.5") * turn + 10 for turn in range(0, 120, 3))
    small = sum(Decimal("0.15") * turn + Decimal("0.6") for turn in range(1, 120, 3))
    expected = (4 * (large + small) + Decimal(70)) / 10**6
    assert session.token_cost == expected
    assert told["Cost"] == session.end_session("Success") == f"{expected:.6f}"
    view = query(machine.file, "SELECT cost, unpriced FROM session_stats")
    assert view == [(pytest.approx(float(expected), abs=1e-12), 160)]
    assert sum((Decimal(str(row["cost"] or 0)) for row in there), Decimal(0)) == expected
    assert query(machine.file, "SELECT count(*), count(DISTINCT model) FROM prices") == [(4, 4)]
