"""The scorecard: which faults we claim to survive, and what the last run of the battery found.

A row is a fault; its tests are the files `test_NN_*.py` of this folder, and nothing else says which test belongs to
which row. What a test counts it gives to the fixture `score`, before it asserts anything, so that a red row shows its
figures too. The table is printed at the end of every run in which a row's test took part; `--scorecard PATH` keeps it
as JSON.

This is a pytest plugin, loaded by `tests/conftest.py`. With pytest-xdist the figures travel with the reports.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sqlite3
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

import pytest

_FIGURES = ("tried", "lost", "doubled", "torn")
_ROW_OF = re.compile(r"tests/reliability/test_(\d\d)_")


class Row(NamedTuple):
    """A fault.

    Attributes:
        fault: what happens.
        unit: what `tried` counts.
        must: what has to hold; that no test of the row fails always has to.
    """

    fault: str
    unit: str
    must: str


ROWS = {
    1: Row("SIGKILL at any moment, two writers", "acknowledged events", "nothing acknowledged lost, torn or doubled"),
    2: Row("power cut", "disk images", "`power`: nothing lost; `process`: never corrupt"),
    3: Row("fork, in every shape", "acknowledged events", "nothing lost, whoever forks and whoever ends first"),
    4: Row("sixteen first openers at once", "acknowledged events", "one schema, every event stored"),
    5: Row("sixteen writers", "acknowledged events", "none refused, worst wait under 2 s, shares within 3 : 1"),
    6: Row("a second descriptor on the database", "opens seen by strace", "none but SQLite's own"),
    7: Row("SQLite's WAL-reset bug", "rounds", "our checkpoints lose nothing; the control does"),
    8: Row("full disk", "events", "nothing acknowledged lost, losses counted exactly, uploading goes on"),
    9: Row("I/O errors", "events", "nothing acknowledged lost or torn, no exception in the program"),
    10: Row("removed, renamed, replaced files", "events", "noticed by the next event, nothing lost after that"),
    11: Row("corrupt files", "damaged files", "put aside, a new store at once, 99 % of what is readable salvaged"),
    12: Row("hostile payloads", "payloads", "always strict JSON within its limits, never an exception"),
    13: Row("anything in any order (state machine)", "steps", "the database equals the model"),
    14: Row("readers that never close", "events", "WAL bounded, emptied within 5 s after"),
    15: Row("wall clock set by days", "events", "the order holds, no wait is cut short"),
    16: Row("upload through a storm, daemon killed", "events", "none lost, doubled, given up or falsely done"),
    17: Row("one session, kind or key in trouble", "events", "the others done within 1.2 times requests and time"),
    18: Row("a day without a server", "events", "at most 400 requests, then all of it, 100 events a second"),
    19: Row("tokens, keys, sessions that are gone", "cases", "the state that the table demands, nothing sent twice"),
    20: Row("answers of every kind", "cases", "the outcome that the table demands; the key stays with its host"),
    21: Row("two machines, one session", "events", "each row once, one creation, the owner's state"),
    22: Row("fidelity of the look-alike server", "recorded cases", "all equal to the real routes"),
    23: Row("attackers", "attempts", "no secret found, every forged request refused, no crash"),
    24: Row("older and newer databases", "databases", "older: nothing lost; newer: not touched"),
    25: Row("signal handlers that record, fork or raise", "moments, events", "nothing acknowledged lost or doubled"),
    26: Row("places that cannot be used", "cases", "recording goes on elsewhere, and says so"),
    27: Row(
        "gunicorn, celery, Jupyter, asyncio, multiprocessing",
        "acknowledged events",
        "nothing lost, each under its session and process; who went without a word, and only who did, shows so",
    ),
    28: Row("resources over a long life", "events", "memory flat, no descriptor, connection or thread leaked"),
}


@dataclass
class Result:
    """What became of a row."""

    tried: int = 0
    lost: int = 0
    doubled: int = 0
    torn: int = 0
    passed: int = 0
    failed: int = 0
    skipped: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def take(self, other: Result) -> None:
        """Adds another run of the same row."""
        for name in (*_FIGURES, "passed", "failed", "skipped", "seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def verdict(self) -> str:
        """RED if anything failed, else ok, or why nothing was tried."""
        if self.failed:
            return "RED"
        if not self.passed:
            return "skipped: " + "; ".join(sorted(set(self.skipped)))
        return "ok" if not self.skipped else f"ok, {len(self.skipped)} skipped"


class Score:
    """Takes the figures of one test."""

    def __init__(self, properties: list[tuple[str, object]]) -> None:
        self._properties = properties

    def add(self, tried: int, lost: int = 0, doubled: int = 0, torn: int = 0) -> None:
        """Adds to the row of this test."""
        self._properties.append(("score", (tried, lost, doubled, torn)))


@pytest.fixture
def score(request: pytest.FixtureRequest) -> Score:
    """Where a test of the battery puts its figures, before it asserts that they are good."""
    return Score(request.node.user_properties)


# The plugin ---------------------------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where the scorecard is kept."""
    parser.addoption("--scorecard", metavar="PATH", help="keep the scorecard of the reliability battery as JSON")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The time limits of the tests are for the usual number of repetitions, not for those of a soak."""
    if float(os.environ.get("AGENTOPS_TEST_SCALE", "1")) > 1:
        for item in items:
            if row_of(item.nodeid) is not None:
                item.add_marker(pytest.mark.timeout(0), append=False)


def pytest_configure(config: pytest.Config) -> None:
    """Listens to the reports of this run."""
    config.pluginmanager.register(_Listener(config), "scorecard")


class _Listener:
    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._results: dict[int, Result] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        number = row_of(report.nodeid)
        if number is None:
            return
        result = self._results.setdefault(number, Result())
        result.seconds += report.duration
        if report.failed:
            result.failed += 1
        elif report.skipped and not hasattr(report, "wasxfail"):
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            result.skipped.append(reason.removeprefix("Skipped: "))
        elif report.when == "call":
            result.passed += 1
        if report.when == "teardown":
            for name, figures in report.user_properties:
                if name == "score" and isinstance(figures, (list, tuple)):
                    for key, value in zip(_FIGURES, figures, strict=True):
                        setattr(result, key, getattr(result, key) + value)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self._results:
            return
        terminalreporter.section("scorecard")
        for line in table(self._results):
            terminalreporter.write_line(line)
        path = self._config.getoption("--scorecard")
        if path is not None:
            save(Path(path), self._results)


def row_of(nodeid: str) -> int | None:
    """The row that a test belongs to."""
    match = _ROW_OF.search(nodeid)
    return None if match is None else int(match[1])


def table(results: dict[int, Result]) -> list[str]:
    """The scorecard, for a terminal."""
    lines = [f"{'':>2}  {'fault':<52} {'tried':>9}  {'':<20} {'lost':>5} {'doubled':>7} {'torn':>5} {'s':>6}  verdict"]
    for number, result in sorted(results.items()):
        row = ROWS[number]
        lines.append(
            f"{number:>2}  {row.fault:<52} {result.tried:>9,}  {row.unit:<20} {result.lost:>5} {result.doubled:>7} "
            f"{result.torn:>5} {result.seconds:>6.1f}  {result.verdict}"
        )
    return lines


def save(path: Path, results: dict[int, Result]) -> None:
    """Keeps the scorecard, with what it was measured on."""
    kept = {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "system": platform.system(),
        "rows": {number: {**asdict(result), "verdict": result.verdict} for number, result in sorted(results.items())},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
