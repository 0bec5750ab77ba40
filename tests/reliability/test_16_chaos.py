"""The whole of it, in a storm: see `tools/chaos.py`. `python -m benchmarks.chaos` does more of the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.scorecard import Score
from tests.reliability.tools import chaos_collector
from tests.reliability.tools.chaos import storm
from tests.reliability.tools.crash import scaled, seed

EVENTS = 480
FIRST = seed(otherwise=1)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(FIRST, FIRST + scaled(6)))
def test_a_storm_of_faults_and_kills(number: int, project: Path, score: Score) -> None:
    """Whatever fails and whenever the daemon is killed, each good event arrives once, nothing is called done that is
    not there, nothing good is given up, and the statistics are wrong by the refused requests only."""
    figures = storm(project, number, EVENTS)
    print(figures)
    score.add(figures.events, lost=figures.lost, doubled=figures.doubled, torn=figures.altered)
    assert figures.wrong == {}


@pytest.mark.slow
@pytest.mark.parametrize("number", range(FIRST, FIRST + scaled(2)))
def test_a_storm_before_the_collector(number: int, project: Path, score: Score) -> None:
    """The same through the fault proxy to a real collector, which is killed as well: its database ends up with every
    event, session and agent of the one that was recorded into, and with nothing else."""
    figures = chaos_collector.storm(project, number, EVENTS // 2)
    print(figures)
    score.add(figures.events, lost=figures.lost, doubled=figures.doubled, torn=figures.altered)
    assert figures.wrong == {}
    assert figures.faults > 30, "that was no storm"
