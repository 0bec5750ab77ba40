"""A web server whose workers are forked, recycled, reloaded and killed."""

from __future__ import annotations

import json
import os
import random
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from agentops_local.analytics.owners import Status
from tests.reliability.conftest import Spawn
from tests.reliability.scorecard import Score
from tests.reliability.tools.crash import DB, Program, query, scaled, seed
from tests.reliability.tools.promises import keep
from tests.reliability.tools.visitors import Visitors

pytest.importorskip("gunicorn", reason="needs gunicorn")

GUNICORN = """
import sys
from gunicorn.app.wsgiapp import run
sys.argv[0] = "gunicorn"
run()
"""
ARGUMENTS = (
    "-c python:tests.reliability.programs.gunicorn_settings --workers 2 --max-requests 40 --max-requests-jitter 20 "
    "--no-control-socket --log-level warning tests.reliability.programs.site:app"
)


def _through_a_storm(server: Program, dice: random.Random, kills: int) -> tuple[Visitors, set[int]]:
    """Visits a server while workers are killed, and it is told to begin them anew; returns who was killed."""
    killed: set[int] = set()
    with Visitors(int(server.expect("listening")[1])) as visitors:
        for number in range(kills):
            heard = len(server.said("ack")) + dice.randrange(100, 400)
            server.until(lambda: len(server.said("ack")) >= heard)  # noqa: B023 - called here and now
            if number % 3 == 2:
                server.send(signal.SIGHUP)
                continue
            victim = int(server.said("ack")[-1][1])
            if victim not in killed:
                killed.add(victim)
                with suppress(ProcessLookupError):  # it has just been recycled
                    os.kill(victim, signal.SIGKILL)
        loaded = len(server.said("ack")) + 400
        server.until(lambda: len(server.said("ack")) >= loaded)
    return visitors, killed


@pytest.mark.parametrize("worker", ["sync", "gthread"])
@pytest.mark.parametrize("init", ["in the master", "in each worker"])
def test_gunicorn(project: Path, spawn: Spawn, score: Score, worker: str, init: str) -> None:
    """Whether the session is begun before the fork or in each worker, what was recorded before a worker was killed,
    recycled or reloaded is there, and what had an answer is, too; the rows tell who went without a word."""
    start = seed()
    preload = ["--preload"] if init == "in the master" else []
    threads = ["--threads", "3"] if worker == "gthread" else []
    server = spawn(GUNICORN, *preload, "--worker-class", worker, *threads, *ARGUMENTS.split(), begin="")
    visitors, killed = _through_a_storm(server, random.Random(start), scaled(6))
    server.send(signal.SIGTERM)
    server.finish()
    ends = keep(server.lines, score)
    tools = {json.loads(row[0])["path"] for row in query(DB, "SELECT params FROM tools WHERE name = 'answer'")}
    assert set(visitors.answered) <= tools
    processes = {int(line[1]) for line in server.said("ack")}
    print(f"{len(visitors.answered)} answers, {visitors.broken} broken off; {len(processes)} workers; seed {start}")
    assert not server.said("refused")
    silent = {pid for pid, exit_ in ends.processes.items() if exit_ is None}
    assert silent <= killed
    if init == "in the master":
        assert list(ends.sessions.values()) == [Status.ENDED]
        assert query(DB, "SELECT end_state, auto_ended FROM sessions") == [("Indeterminate", 1)]
    else:
        assert len(ends.sessions) == len(ends.processes)
        assert list(ends.sessions.values()).count(Status.DIED) == len(silent)
        assert set(ends.sessions.values()) <= {Status.ENDED, Status.DIED}
