"""What the benchmarks share: a place to work in, a recorded session, times, processes, and how figures are shown."""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter_ns
from typing import Any

import agentops_local
from agentops_local.session import Session

ROOT = Path(__file__).resolve().parent.parent
MODES = ("process", "power")

Row = tuple[object, ...]
Message = dict[str, str]

_WORDS = (
    "the agent asks for a flight from Boston to Denver on the morning of May and pays with a gift card which does not "
    "cover the fare so the tool answers that another method is needed before the booking can be made"
).split()


# The place ---------------------------------------------------------------------------------------------------------


def options(description: str | None) -> argparse.ArgumentParser:
    """The command line that all benchmarks have in common."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    parser.add_argument("--dir", type=Path, default=Path(), help="a folder on the disk to measure (default: here)")
    return parser


def clean(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without settings of ours, in which a fault of ours is raised instead of swallowed."""
    kept = {name: value for name, value in environment.items() if not name.startswith("AGENTOPS_")}
    return {**kept, "AGENTOPS_LOCAL_STRICT": "1"}


@contextmanager
def workplace(parent: Path) -> Iterator[Path]:
    """A temporary folder, removed at the end. No setting of the caller's reaches what is measured in it."""
    cleaned = clean(os.environ)
    os.environ.clear()
    os.environ.update(cleaned)
    folder = Path(tempfile.mkdtemp(prefix="benchmark-", dir=parent.resolve()))
    try:
        yield folder
    finally:
        agentops_local.end_all_sessions()  # one left open would end with the process, and make its database anew
        shutil.rmtree(folder, ignore_errors=True)


# What is recorded --------------------------------------------------------------------------------------------------


class Texts:
    """Words without end, the same in each run.

    Args:
        seed: other words for another number.
    """

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)  # noqa: S311 - no secret

    def text(self, size: int) -> str:
        """A new text of this many characters."""
        words = self._random.choices(_WORDS, k=size // 3)
        return f"{self._random.getrandbits(48):012x} {' '.join(words)}"[:size].ljust(size, ".")

    def message(self, role: str, low: int, high: int) -> Message:
        """A new chat message."""
        return {"role": role, "content": self.text(self._random.randint(low, high))}


def session(path: Path, power: bool = False) -> Session:
    """A new session in this database. Its look at the host, once a session, is over."""
    agentops_local.init(db=path, durability=MODES[power], auto_start_session=False)
    started = agentops_local.start_session()
    assert started is not None
    assert started.host_env
    return started


# Times -------------------------------------------------------------------------------------------------------------


def timed(call: Callable[..., object], arguments: Iterable[Row]) -> list[int]:
    """Nanoseconds of a call with each of the arguments."""
    times: list[int] = []
    for given in arguments:
        begun = perf_counter_ns()
        call(*given)
        times.append(perf_counter_ns() - begun)
    return times


def quantile(times: Sequence[int], share: float) -> float:
    """The microseconds that this share of the calls stayed within."""
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] / 1000


class Pair:
    """The times of two things measured in turns, round by round.

    A ratio is taken within each round, where both met the same noise; the median over the rounds is reported.
    """

    def __init__(self) -> None:
        self.rounds: list[tuple[list[int], list[int]]] = []

    def add(self, ours: list[int], floor: list[int]) -> None:
        """One round."""
        self.rounds.append((ours, floor))

    def ratio(self, share: float) -> float:
        """Ours over the floor, at this quantile."""
        return median(quantile(ours, share) / quantile(floor, share) for ours, floor in self.rounds)

    def ours(self, share: float) -> float:
        """Microseconds of ours: the median over the rounds."""
        return median(quantile(ours, share) for ours, _ in self.rounds)

    def floor(self, share: float) -> float:
        """Microseconds of the floor: the median over the rounds."""
        return median(quantile(floor, share) for _, floor in self.rounds)

    @property
    def events(self) -> int:
        """How many were timed, on each side."""
        return sum(len(ours) for ours, _ in self.rounds)


# Other processes ---------------------------------------------------------------------------------------------------


def start(function: str, *arguments: object) -> subprocess.Popen[str]:
    """Starts `module:function` in a process of its own; what it returns is printed there as JSON."""
    module, _, name = function.partition(":")
    program = f"import json, sys; from {module} import {name} as f; print(json.dumps(f(*json.loads(sys.argv[1]))))"
    return subprocess.Popen(
        [sys.executable, "-c", program, json.dumps(arguments)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**clean(os.environ), "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])},
    )  # fmt: skip


def ready() -> None:
    """In such a process: everything is set up; waits until all others are."""
    print("ready", flush=True)
    sys.stdin.readline()


def together(function: str, calls: Sequence[Sequence[object]]) -> list[Any]:
    """Runs `function` once in a process each, all beginning at the same moment, and returns what they return."""
    workers = [start(function, *arguments) for arguments in calls]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n", f"{function} failed to begin"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    results = []
    for worker in workers:
        out, _ = worker.communicate()
        assert worker.returncode == 0, f"{function} failed with {worker.returncode}"
        results.append(json.loads(out.splitlines()[-1]))
    return results


# What is shown -----------------------------------------------------------------------------------------------------


def show(title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints a table: the first column to the left, numbers to the right."""
    lines = [list(header), *([_cell(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    print(f"\n{title}\n")
    for line in lines:
        first, *rest = (cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join([first.strip().ljust(widths[0]), *rest]).rstrip())


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2f}" if abs(value) < 10 else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def surroundings() -> str:
    """What the figures hold for."""
    python = ".".join(map(str, sys.version_info[:3]))
    return f"Python {python}, SQLite {sqlite3.sqlite_version}, {os.cpu_count()} cores, {sys.platform}"
