"""A server of the asynchronous kind, whose workers are spawned and killed."""

from __future__ import annotations

import json
import os
import random
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from tests.reliability.conftest import Spawn
from tests.reliability.scorecard import Score
from tests.reliability.tools.crash import DB, query, scaled, seed
from tests.reliability.tools.promises import keep
from tests.reliability.tools.visitors import Visitors

pytest.importorskip("uvicorn", reason="needs uvicorn")

UVICORN = """
import socket
import uvicorn
from tests.reliability.programs.telling import say
listener = socket.create_server(("127.0.0.1", 0))
say("listening", listener.getsockname()[1])
uvicorn.run("tests.reliability.programs.site:asgi", fd=listener.fileno(), workers=2, log_level="error")
"""


def test_uvicorn(project: Path, spawn: Spawn, score: Score) -> None:
    """Each worker has a session of its own; what was recorded before it was killed is there, and what had an answer."""
    start = seed()
    dice = random.Random(start)
    server = spawn(UVICORN, begin="")
    port = int(server.expect("listening")[1])
    server.expect("loaded", 2)
    with Visitors(port) as visitors:
        for _ in range(scaled(3)):
            heard = len(server.said("ack")) + dice.randrange(100, 400)
            server.until(lambda: len(server.said("ack")) >= heard)  # noqa: B023 - called here and now
            with suppress(ProcessLookupError):
                os.kill(int(server.said("ack")[-1][1]), signal.SIGKILL)
        server.expect("loaded", 3)  # at least one was replaced
        server.expect("ack", len(server.said("ack")) + 300)
    server.send(signal.SIGTERM)
    server.finish()
    ends = keep(server.lines, score)
    print(
        f"{len(visitors.answered)} answers, {visitors.broken} broken off; {len(ends.processes)} workers; seed {start}"
    )
    tools = {json.loads(row[0])["path"] for row in query(DB, "SELECT params FROM tools WHERE name = 'answer'")}
    assert set(visitors.answered) <= tools
    assert not server.said("refused")
    assert len(ends.sessions) == len(ends.processes) == len(server.said("loaded"))
