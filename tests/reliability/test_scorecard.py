"""The battery itself: its rows have tests, its figures are kept, its seeded bugs still find their place."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.reliability.mutations import MUTATIONS, Mutation
from tests.reliability.scorecard import ROWS, Result, row_of, save, table

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests" / "reliability"


def test_each_row_has_tests_and_each_test_a_row() -> None:
    """Every row has a file of tests, and every numbered file belongs to a row."""
    numbers = {int(match[1]) for file in FOLDER.glob("test_*.py") if (match := re.match(r"test_(\d\d)_", file.name))}
    assert numbers == set(ROWS)


@pytest.mark.parametrize(
    ("result", "verdict"),
    [
        (Result(passed=3), "ok"),
        (Result(passed=3, skipped=["no strace"]), "ok, 1 skipped"),
        (Result(skipped=["no strace", "no strace"]), "skipped: no strace"),
        (Result(passed=99, failed=1), "RED"),
        (Result(failed=1, skipped=["no strace"]), "RED"),
    ],
)
def test_one_failure_makes_a_row_red(result: Result, verdict: str) -> None:
    """A row is red as soon as one of its tests fails, and is never called ok if none could run."""
    assert result.verdict == verdict
    assert table({1: result})[1].endswith(f"  {verdict}")


def test_the_row_of_a_test_is_in_its_name() -> None:
    """A test belongs to the row that its file is named after; one elsewhere to none."""
    assert row_of("tests/reliability/test_07_wal_reset.py::test_x[1]") == 7
    assert row_of("tests/store/test_07_x.py::test_x") is None


def test_runs_add_up(tmp_path: Path) -> None:
    """Of several runs of a row every figure is added up, and what is kept is what was counted."""
    total = Result(tried=5, lost=1, passed=1)
    total.take(Result(tried=7, doubled=2, torn=3, failed=1, skipped=["x"], seconds=0.5))
    assert total == Result(12, 1, 2, 3, 1, 1, ["x"], 0.5)
    save(tmp_path / "folder" / "card.json", {4: total})
    kept = json.loads((tmp_path / "folder" / "card.json").read_text())["rows"]["4"]
    assert (kept["tried"], kept["lost"], kept["doubled"], kept["torn"], kept["verdict"]) == (12, 1, 2, 3, "RED")


@pytest.mark.parametrize("bug", MUTATIONS, ids=lambda bug: bug.name)
def test_each_seeded_bug_has_its_place(bug: Mutation) -> None:
    """The text that a bug changes stands in its file exactly once, and the rows that are to find it exist."""
    assert (ROOT / bug.file).read_text(encoding="utf-8").count(bug.before) == 1
    assert bug.before != bug.after
    assert set(bug.rows) <= set(ROWS)


def test_the_figures_in_the_docs_are_of_a_whole_run() -> None:
    """The run whose figures the docs show tried every row, and none was red."""
    rows = json.loads((ROOT / "docs" / "scorecard.json").read_text(encoding="utf-8"))["rows"]
    assert set(map(int, rows)) == set(ROWS)
    assert [number for number, row in rows.items() if row["failed"] or not row["tried"]] == []
