"""Many processes that make one database at the same moment."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tests.reliability.conftest import Spawn
from tests.reliability.tools.crash import SESSION, Program, acks, check, listen, query, scaled

OPENERS = 16


def _ready(openers: list[Program], number: int) -> bool:
    """Whether all have said for the nth time that they are ready."""
    return all(len(program.said("ready")) >= number for program in openers)


def test_one_of_many_first_openers_makes_the_database(project: Path, spawn: Spawn) -> None:
    """Of processes that record into a database that is not there yet, one makes it and none complains; each finds its
    events stored."""
    rounds = scaled(6)
    openers = [
        spawn(
            """
import sys
for number in range(int(sys.argv[2])):
    me = Actor(f"round{number}/.agentops/agentops.db", sys.argv[1])
    say("ready")
    order()
    me.many(5)
    me.recorder.close()
""",
            SESSION,
            rounds,
        )
        for _ in range(OPENERS)
    ]
    for number in range(1, rounds + 1):
        listen(openers, partial(_ready, openers, number))
        for program in openers:
            program.tell()
    assert [program.finish() for program in openers] == [""] * OPENERS

    promised = acks(*openers)
    truth = check(promised, *(f"round{number}/.agentops/agentops.db" for number in range(rounds)))
    assert truth.events.total() == len(promised) == OPENERS * 5 * rounds
    assert truth.sessions == [SESSION] * rounds
    for number in range(rounds):
        db = f"round{number}/.agentops/agentops.db"
        assert query(db, "SELECT count(*) FROM about WHERE key = 'generation'") == [(1,)]
        stored = query(db, "SELECT value FROM about WHERE key = 'generation'")[0][0]
        assert Path(f"{db}-generation").read_text().strip() == stored
