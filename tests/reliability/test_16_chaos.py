"""The whole of it, in a storm: see `tools/chaos.py`. `python -m benchmarks.chaos` does more of the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.tools.chaos import storm

EVENTS = 480


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 7))
def test_a_storm_of_faults_and_kills(seed: int, project: Path) -> None:
    """Whatever fails and whenever the daemon is killed, each good event arrives once, nothing is called done that is
    not there, nothing good is given up, and the statistics are wrong by the refused requests only."""
    figures = storm(project, seed, EVENTS)
    print(figures)
    assert figures.wrong == {}
