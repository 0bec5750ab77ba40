"""Children by `multiprocessing`, in each of its manners."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from agentops_local.analytics.owners import Status
from tests.reliability.conftest import Spawn
from tests.reliability.programs.crowd import COUNT, HOWS
from tests.reliability.scorecard import Score
from tests.reliability.tools.crash import DB, query, scaled, seed
from tests.reliability.tools.promises import keep

CROWD = """
import sys
from tests.reliability.programs.crowd import main
if __name__ == "__main__":
    main(*sys.argv[1:])
"""


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_multiprocessing(project: Path, spawn: Spawn, score: Score, method: str, how: str) -> None:
    """However its children are started, they record into their parent's session and lose nothing, also those that are
    terminated or killed in the midst; all others have said goodbye."""
    killed: set[int] = set()
    for number in range(scaled(1)):
        start = seed() + number
        said = spawn(CROWD, method, how, start, begin="")
        said.finish()
        ends = keep(said.lines, score)
        print(f"{len(said.said('ack'))} events of {len(ends.processes)} processes; seed {start}")
        killed |= {int(line[1]) for line in said.said("ended")}
        assert {pid for pid, exit_ in ends.processes.items() if exit_ is None} == killed
        assert len(said.said("refused")) == 1
        assert list(ends.sessions.values()) == [Status.ENDED] * (number + 1)
        assert query(DB, "SELECT DISTINCT end_state FROM sessions") == [("Success",)]
        if how != "ended":
            assert query(DB, "SELECT count(*) FROM tools WHERE name = 'work'") == [(COUNT * (number + 1),)]
