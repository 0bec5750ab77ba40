"""The memory of a process that records for a long time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reliability.conftest import Spawn
from tests.reliability.programs.soak import Resources
from tests.reliability.scorecard import Score
from tests.reliability.tools.crash import DB, Program, query, scaled

SOAK = """
import sys
from tests.reliability.programs.soak import main
main(*map(int, sys.argv[1:]))
"""
STEPS = 15
WARM = 5  # steps until what is remembered of conversations, sessions and statements has found its size
# What may be added after that: pages that the allocator could not give back, and per event less than one pointer,
# so that the soak sees even a list that grows by an entry each.
SLACK = 1 << 20
SLOPE = 4
OBJECTS = 1000  # so many more or fewer are alive from one moment to another


@pytest.fixture
def swift(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project in memory, where there is such a place: what is measured is not the disk."""
    shared = Path("/dev/shm")
    if not shared.is_dir():
        yield project
        return
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        monkeypatch.chdir(folder)
        yield Path(folder)


def _slope(steps: list[Resources]) -> float:
    """Bytes an event, by the straight line that lies closest."""
    count = len(steps)
    x = sum(step.events for step in steps) / count
    y = sum(step.bytes for step in steps) / count
    return sum((s.events - x) * (s.bytes - y) for s in steps) / sum((s.events - x) ** 2 for s in steps)


def _soak(program: Program) -> list[Resources]:
    """What a program held after each step, beginning when it was warm."""
    assert program.finish() == ""
    steps = [Resources(*map(int, line)) for line in program.lines]
    warm = steps[WARM:]
    print(
        f"{steps[-1].events:,} events in {steps[-1].events // 100:,} sessions; RSS {steps[0].bytes / 2**20:.1f} MiB at "
        f"the beginning, {warm[0].bytes / 2**20:.2f} after {warm[0].events:,} events, {warm[-1].bytes / 2**20:.2f} at "
        f"the end: {_slope(warm):+.2f} bytes an event; {warm[-1].objects - warm[0].objects:+} objects"
    )
    return warm


def _grew(warm: list[Resources]) -> bool:
    """Whether memory did not stay within its bound."""
    events = warm[-1].events - warm[0].events
    return warm[-1].bytes - warm[0].bytes > SLACK + SLOPE * events


@pytest.mark.slow
def test_memory_is_flat(swift: Path, spawn: Spawn, score: Score) -> None:
    """However many events, conversations, sessions and agents have passed through a process, its memory has the size
    that it had when it was warm, with one connection, no thread and no descriptor more."""
    count = scaled(100_000)
    program = spawn(SOAK, count, STEPS, begin="")
    warm = _soak(program)
    stored = query(DB, "SELECT count(*) FROM events")[0][0]
    score.add(warm[-1].events, lost=warm[-1].events - stored)
    assert stored == warm[-1].events >= count
    assert not _grew(warm)
    assert abs(warm[-1].objects - warm[0].objects) <= OBJECTS
    assert {(step.descriptors, step.threads, step.databases) for step in warm} == {(warm[0].descriptors, 1, 1)}


def test_a_leak_would_be_seen(swift: Path, spawn: Spawn, score: Score) -> None:
    """The measurement sees a leak of 300 bytes an event, all of it: else the law above would prove nothing."""
    leak = 300
    warm = _soak(spawn(SOAK, 20_000, STEPS, begin="", environment={"AGENTOPS_TEST_LEAK": str(leak)}))
    score.add(warm[-1].events, lost=warm[-1].events - query(DB, "SELECT count(*) FROM events")[0][0])
    assert _grew(warm)
    assert warm[-1].bytes - warm[0].bytes >= leak * (warm[-1].events - warm[0].events)


def test_agents_that_are_gone_take_no_memory(swift: Path, spawn: Spawn, score: Score) -> None:
    """A program that makes an agent for each request does not grow with the agents that it has dropped."""
    count = scaled(30_000)
    program = spawn("import sys\nfrom tests.reliability.programs.soak import agents\nagents(11_000, int(sys.argv[1]))",
                    count, begin="")  # fmt: skip
    assert program.finish() == ""
    warm, end = (Resources(*map(int, line)) for line in program.lines)
    grown = end.bytes - warm.bytes
    print(f"{count:,} agents, {grown:+,} bytes: {grown / count:+.1f} an agent")
    score.add(0)  # no event is recorded
    assert grown <= SLACK
    assert end.objects - warm.objects <= OBJECTS
