"""The descriptors, connections and threads of a process that records, however often it begins anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.conftest import Spawn
from tests.reliability.programs.descriptors import WARM
from tests.reliability.programs.soak import Resources
from tests.reliability.scorecard import Score
from tests.reliability.test_28_memory import swift
from tests.reliability.tools.crash import scaled
from tests.reliability.tools.promises import keep

__all__ = ["swift"]  # the place in memory

MANY = """
import sys
from tests.reliability.programs.descriptors import main
main(sys.argv[1], int(sys.argv[2]))
"""
COUNTS = {"sessions": 1000, "threads": 1000, "forks": 1000, "generations": 60}


@pytest.mark.slow
@pytest.mark.parametrize("what", COUNTS)
def test_nothing_is_left_open(swift: Path, spawn: Spawn, score: Score, what: str) -> None:
    """After a thousand sessions, threads or forks a process holds the descriptors that it held before, one connection,
    and no thread that it did not start; and so does each child, and each child's child."""
    count = scaled(COUNTS[what])
    program = spawn(MANY, what, count, begin="")
    assert program.finish() == ""
    keep(program.lines, score)
    before = Resources(*map(int, program.expect("before")[1:]))
    after = Resources(*map(int, program.expect("after")[1:]))
    children = [tuple(map(int, line[1:])) for line in program.said("child")]
    print(f"{count} {what}: {before.descriptors} descriptors before, {after.descriptors} after")
    assert len(children) == (count + WARM if what in ("forks", "generations") else 0)
    assert after.descriptors <= before.descriptors
    assert (before.threads, before.databases) == (after.threads, after.databases) == (1, 1)
    assert set(children) <= {(before.descriptors, 1, 1)}
