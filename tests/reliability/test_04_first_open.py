"""Many processes that make one database at the same moment."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.reliability.conftest import Spawn
from tests.reliability.scorecard import Score
from tests.reliability.tools.crash import SESSION, Program, acks, check, listen, query, scaled

OPENERS = 16

# With each round a database that nobody has opened yet.
OPENER = """
import sys
for number in range(int(sys.argv[2])):
    me = Actor(f"round{number}/.agentops/agentops.db", sys.argv[1])
    say("ready")
    order()
    me.tool()
    me.recorder.close()
"""


def _ready(openers: list[Program], number: int) -> bool:
    """Whether all have said for the nth time that they are ready."""
    return all(len(program.said("ready")) >= number for program in openers)


@pytest.mark.slow
def test_one_of_many_first_openers_makes_the_database(project: Path, spawn: Spawn, score: Score) -> None:
    """Of processes that record into a database that is not there yet, one makes it and none complains; each finds its
    event stored."""
    rounds = scaled(100)
    openers = [spawn(OPENER, SESSION, rounds) for _ in range(OPENERS)]
    for number in range(1, rounds + 1):
        listen(openers, partial(_ready, openers, number))
        for program in openers:
            program.tell()
    errors = [program.finish() for program in openers]

    databases = [f"round{number}/.agentops/agentops.db" for number in range(rounds)]
    promised = acks(*openers)
    truth = check(promised, *databases, score=score)
    assert errors == [""] * OPENERS
    assert truth.events.total() == len(promised) == OPENERS * rounds
    assert truth.sessions == [SESSION] * rounds
    for db in databases:
        stored = query(db, "SELECT value FROM about WHERE key = 'generation'")
        assert stored == [(Path(f"{db}-generation").read_text().strip(),)]
