"""A celery worker whose pool is forked, recycled and killed; a folder is its broker."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from agentops_local.analytics.owners import Status
from tests.reliability.conftest import Spawn
from tests.reliability.scorecard import Score
from tests.reliability.tools.crash import DB, query, scaled, seed
from tests.reliability.tools.promises import keep

pytest.importorskip("celery", reason="needs celery")

SENDER = """
import random, sys
from tests.reliability.programs.tasks import agentops, perish, work
count, chance = map(int, sys.argv[1:])
dice = random.Random(chance)
for number in range(count):
    work.delay(number)
    if number % 15 == 9:
        perish.delay(dice.randrange(3, 60))
agentops.end_session("Success", "all are sent")
"""
WORKER = """
import sys
from tests.reliability.programs.tasks import app
app.worker_main(sys.argv[1:])
"""
ARGUMENTS = (
    "worker --pool=prefork --concurrency=2 --max-tasks-per-child=12 --loglevel=INFO --logfile=worker.log "
    "--without-gossip --without-mingle --without-heartbeat"
)


@pytest.mark.parametrize("init", ["in the worker", "in each child"])
def test_celery(project: Path, spawn: Spawn, score: Score, init: str) -> None:
    """Whether the session is begun in the worker or in each child of its pool, what a task recorded before its child
    was recycled or killed is there; a child that was recycled has said goodbye, one that was killed has not."""
    start = seed()
    (project / "broker").mkdir()
    count = scaled(60)
    spawn(SENDER, count, start, begin="").finish()
    environment = {"AGENTOPS_TEST_INIT": "child"} if init == "in each child" else {}
    worker = spawn(WORKER, *ARGUMENTS.split(), environment=environment, begin="")
    worker.until(lambda: len(worker.said("did")) == count)
    worker.send(signal.SIGTERM)
    worker.finish()
    log = (project / "worker.log").read_text()
    assert "agentops_local" not in log, log
    ends = keep(worker.lines, score)
    killed = {int(line[1]) for line in worker.said("perishes")}
    print(f"{count} tasks, {len(ends.processes)} processes, {len(killed)} killed; seed {start}")
    assert not worker.said("refused")
    assert {pid for pid, exit_ in ends.processes.items() if exit_ is None} == killed
    states = [row[0] for row in query(DB, "SELECT end_state FROM sessions")]
    assert states == ["Success"] + ["Indeterminate"] * (len(states) - 1)
    if init == "in the worker":
        assert list(ends.sessions.values()) == [Status.ENDED] * 2  # the sender's, and the worker's
    else:
        assert len(ends.sessions) == len(ends.processes)
        assert Status.RUNNING not in ends.sessions.values()
