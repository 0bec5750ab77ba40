"""The whole test, in a folder of its own beside the database, which is gone afterwards."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from agentops_local.analytics.finding import Finding, Level
from agentops_local.crash_test.killing import Tally, kill_for
from agentops_local.crash_test.power import COMMITS, judge, measure


def crash_test(
    database: Path, seconds: float, commits: int = COMMITS, told: Callable[[int], object] = lambda _: None
) -> Generator[Finding, None, None]:
    """Tests the disk on which a database is, or would be; the database itself is not touched.

    Args:
        seconds: for how long programs are killed.
        commits: of each kind, for the power cut.
        told: after each kill, how many there were.

    Raises:
        killing.Failed, OSError, sqlite3.Error: the test could not be made.
    """
    with _folder(database) as folder:
        seed = random.randrange(1 << 32)  # noqa: S311 - no secret
        yield _killed(kill_for(seconds, folder / "killed.db", random.Random(seed), told=told))  # noqa: S311 - as above
        yield from judge(measure(folder, commits))


@contextmanager
def _folder(database: Path) -> Iterator[Path]:
    place = next(level for level in database.parents if level.is_dir())
    folder = Path(tempfile.mkdtemp(prefix=".crash-test-", dir=place))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _killed(tally: Tally) -> Finding:
    counts = (
        f"{tally.kills} kills, {tally.acknowledged:,} acknowledged events, {tally.lost:,} lost, {tally.torn:,} torn"
    )
    if tally.is_good:
        text = f"A killed process loses nothing here: {counts}; the database is sound"
    elif tally.damage:
        text = f"A killed process damages the database here ({tally.kills} kills): {tally.damage}"
    else:
        text = f"A killed process does not keep its events here: {counts}, {tally.doubled:,} doubled"
    return Finding(Level.FINE if tally.is_good else Level.PROBLEM, "killed", text, asdict(tally))
