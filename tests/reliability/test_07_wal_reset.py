"""SQLite's WAL-reset bug: two connections that checkpoint while a third commits. What happens in it, step by step,
stands in tools/wal_reset.py."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import pytest

from agentops_local.analytics.checkup import wal_reset_bug
from tests.reliability.scorecard import Score
from tests.reliability.tools.crash import DB, scaled, seed
from tests.reliability.tools.wal_reset import race


@pytest.mark.slow
@pytest.mark.parametrize("piece", range(2))
def test_our_checkpoints_lose_nothing(project: Path, score: Score, piece: int) -> None:
    """A checkpoint under the writers' lock has no part in the race, even with memory mapping, which we never use: two
    safeguards, each of which is enough."""
    chosen = seed()
    print(f"seed {chosen}")
    outcome = race(project / DB, "ours", scaled(1000), random.Random(f"{chosen} {piece}"), ballast=2, every=500)
    score.add(outcome.rounds, lost=outcome.missing, torn=bool(outcome.broken))
    print(outcome)
    assert not outcome.broken
    assert not outcome.missing


@pytest.mark.skipif(
    not wal_reset_bug(sqlite3.sqlite_version_info), reason=f"SQLite {sqlite3.sqlite_version} does not have the bug"
)
def test_the_race_is_real(project: Path, score: Score) -> None:
    """The same with the checkpoints of SQLite, as it comes, loses what was committed within a hundred rounds: so the
    test above looks where the danger is."""
    chosen = seed()
    print(f"seed {chosen}")
    outcome = race(project / "raced.db", "passive", 100, random.Random(chosen))
    score.add(outcome.rounds)
    print(outcome)
    assert outcome.broken or outcome.missing
