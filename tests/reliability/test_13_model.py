"""Anything, in any order: processes record, fork, are killed and begin again, sessions end and are erased, a server and
a network fail, the daemon is killed; and after each step the database is what a few lines of plain Python say that it
must be, and what the ledger says is true."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import hypothesis
import pytest
from hypothesis import HealthCheck
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from tests.reliability.scorecard import Score
from tests.reliability.tools.crash import scaled, seed
from tests.reliability.tools.model_base import Base, Tally
from tests.reliability.tools.model_rules import Recording
from tests.reliability.tools.model_stage import Stage
from tests.reliability.tools.model_upload import Uploading

PIECES = 3  # of each test, so that workers can share them
EXAMPLES = 25  # in each piece
STEPS = 40  # in each example


@pytest.fixture
def stage(project: Path) -> Iterator[Stage]:
    """Where processes come from."""
    stage = Stage()
    yield stage
    stage.close()


def run(machine: type[Base], piece: int, stage: Stage, folder: Path, score: Score) -> None:
    """Lets a machine run, always in the same way unless AGENTOPS_TEST_SEED says otherwise."""
    tally = Tally()
    factory = cast("type[RuleBasedStateMachine]", functools.partial(machine, stage, folder, tally))
    number = PIECES * seed(0) + piece
    hypothesis.seed(number)(factory)
    settings = hypothesis.settings(
        max_examples=scaled(EXAMPLES),
        stateful_step_count=STEPS,
        database=None,  # the seed alone decides
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(factory, settings=settings)
    finally:
        print(f"seed {number}, {tally}\n{stage.errors()}")
        score.add(tally.steps, lost=tally.lost, doubled=tally.doubled)


@pytest.mark.slow
@pytest.mark.parametrize("piece", range(PIECES))
def test_recording_in_any_order(stage: Stage, project: Path, score: Score, piece: int) -> None:
    """Whatever processes do and whatever is done to them, the database holds what was acknowledged: sessions, agents,
    processes, tags and ends, and every event once, in order, with its payloads and prompts whole."""
    run(Recording, piece, stage, project, score)


@pytest.mark.slow
@pytest.mark.parametrize("piece", range(PIECES))
def test_uploading_in_any_order(stage: Stage, project: Path, score: Score, piece: int) -> None:
    """Whatever fails beside that, the ledger calls done only what the server holds, and the server holds nothing twice;
    once the network has healed, it holds every good event and every session as the database does."""
    run(Uploading, piece, stage, project, score)
