"""Proof that the battery can fail: each seeded bug must turn a row red, and without it the same rows are green.

`python -m tests.reliability.mutate` copies the project, runs the rows that are to find the bugs, seeds the bugs one at
a time and runs their rows again. A bug counts as found only if a test of its rows failed; that the code no longer
imports, or that no test ran, is no proof.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.reliability.mutations import MUTATIONS, Mutation
from tests.reliability.scorecard import ROWS

ROOT = Path(__file__).parents[2]
_LONGEST = 600  # seconds for the rows of one bug


def main() -> None:
    """Prints a line for each bug; the exit code is 1 if one of them survives."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="TEXT", default="", help="the bugs whose name holds this text")
    parser.add_argument("--trust", action="store_true", help="do not run the rows without a bug first")
    given = parser.parse_args()
    chosen = [one for one in MUTATIONS if given.only in one.name]
    with tempfile.TemporaryDirectory(prefix="mutate-") as folder:
        copy = Path(folder) / "project"
        _copy(copy)
        if not given.trust:
            _show("no bug", *_green(copy, sorted({row for one in chosen for row in one.rows})))
        survived = [one.name for one in chosen if not _is_found(copy, one)]
    print(f"{len(chosen) - len(survived)} of {len(chosen)} bugs found")
    raise SystemExit(bool(survived or not chosen))


def _green(copy: Path, rows: list[int]) -> tuple[str, float]:
    begun = time.monotonic()
    results = run(copy, rows, stop=False)
    red = [number for number in rows if number not in results or results[number]["failed"]]
    if red:
        raise SystemExit(f"rows {red} are red, or ran nothing, without any bug: mend that first")
    idle = [number for number in rows if not results[number]["passed"]]
    if idle:
        print(f"rows {idle} cannot run here: {[results[number]['verdict'] for number in idle]}")
    return "green", time.monotonic() - begun


def _is_found(copy: Path, bug: Mutation) -> bool:
    begun = time.monotonic()
    with _seeded(copy, bug):
        for row in bug.rows:
            if run(copy, [row], stop=True).get(row, {}).get("failed"):
                _show(bug.name, f"row {row} red ({ROWS[row].fault})", time.monotonic() - begun)
                return True
    _show(bug.name, f"SURVIVED rows {', '.join(map(str, bug.rows))}", time.monotonic() - begun)
    return False


def _show(name: str, verdict: str, seconds: float) -> None:
    print(f"{name:<58} {verdict} [{seconds:.0f} s]", flush=True)


def run(copy: Path, rows: Iterable[int], stop: bool) -> dict[int, dict]:
    """Runs the tests of some rows in a copy of the project; what came of each row."""
    files = [str(file) for row in rows for file in sorted((copy / "tests/reliability").glob(f"test_{row:02}_*.py"))]
    card = copy / "scorecard.json"
    card.unlink(missing_ok=True)
    options = ["-n", "2", "-q", "-p", "no:cacheprovider", "--scorecard", str(card), *(["-x"] if stop else [])]
    # Before the checkout, which an editable installation has put on the path.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(copy), str(copy / "sync")))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *files],
        cwd=copy, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_LONGEST,
    )  # fmt: skip
    if not card.exists():
        raise SystemExit(f"no test ran:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return {int(row): result for row, result in json.loads(card.read_text())["rows"].items()}


@contextmanager
def _seeded(copy: Path, bug: Mutation) -> Iterator[None]:
    file = copy / bug.file
    text = file.read_text(encoding="utf-8")
    if text.count(bug.before) != 1:
        raise SystemExit(f"{bug.name}: {bug.file} holds {bug.before!r} {text.count(bug.before)} times: look at it anew")
    file.write_text(text.replace(bug.before, bug.after), encoding="utf-8")
    try:
        yield
    finally:
        file.write_text(text, encoding="utf-8")


def _copy(target: Path) -> None:
    """The files of the project, those not yet committed as well."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        source = ROOT / name
        if source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)


if __name__ == "__main__":
    main()
