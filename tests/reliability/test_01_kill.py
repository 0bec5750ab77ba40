"""SIGKILL at any moment."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path

import pytest

from tests.reliability.conftest import Spawn
from tests.reliability.scorecard import Score
from tests.reliability.tools.crash import DB, SESSION, Program, acks, check, listen, scaled, seed

WRITER = """
import sys
db, session, writer, durability = sys.argv[1:]
me = Actor(db, session)
me.database.power = durability == "power"
say("opening")
number = 0
while True:
    number += 1
    for turn in range(8):
        me.llm(writer, number, turn)
        me.tool(turn)
    me.error()
"""

LATEST = 3000  # acknowledged events of a pair; it dies at a random one up to that
DURABILITIES = ("process", "process", "process", "power")  # a piece each, which two workers share


def _went_on(pair: list[Program], target: int) -> bool:
    """Whether both are opening the database or, with a target, have said as much together."""
    if target == 0:
        return all(program.said("opening") for program in pair)
    return sum(len(program.lines) for program in pair) >= target


@pytest.mark.slow
@pytest.mark.parametrize(("piece", "durability"), list(enumerate(DURABILITIES)))
def test_kill_loses_nothing(project: Path, spawn: Spawn, score: Score, piece: int, durability: str) -> None:
    """What was acknowledged before a SIGKILL is there after it: once, whole, in a sound database."""
    chosen = seed()
    print(f"seed {chosen}")
    dice = random.Random(f"{chosen} {piece}")
    promised: list[str] = []
    rounds = scaled(16)
    for number in range(rounds):
        pair = [spawn(WRITER, DB, SESSION, f"w{number}{side}", durability) for side in "ab"]
        # One in six dies while it opens the database, the first of all while it is made.
        target = 0 if number % 6 == 0 else dice.randrange(1, LATEST)
        listen(pair, partial(_went_on, pair, target))
        for program in dice.sample(pair, 2):
            program.kill()
            assert "Traceback" not in program.errors()
        promised += acks(*pair)
    truth = check(promised, DB, score=score)
    print(f"{2 * rounds} kills, {len(promised)} acknowledged, {truth.events.total()} stored")
    assert len(set(promised)) == len(promised)
    assert truth.sessions == [SESSION]
