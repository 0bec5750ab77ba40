"""The battery for as long as one likes: `make soak SECONDS=3600`.

Row after row in any order, again and again, each time from another seed and with the repetitions multiplied, until the
time is up. What the rows found is added up in one scorecard, printed after each round. It goes on after a red row, and
keeps what that said with the seed that shows it again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.reliability.scorecard import ROWS, Result, save, table

ROOT = Path(__file__).parents[2]


def main() -> None:
    """Runs the rows; the exit code is 1 if one was ever red."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600, help="no row is begun after so many (default 3600)")
    parser.add_argument("--scale", type=float, default=3, help="times the usual number of repetitions (default 3)")
    parser.add_argument("--rows", type=int, nargs="*", default=sorted(ROWS), help="those alone")
    parser.add_argument("--keep", type=Path, default=ROOT / "build" / "soak", help="where what was red is kept")
    given = parser.parse_args()
    given.keep.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + given.seconds
    results: dict[int, Result] = {}
    rounds = 0
    while time.monotonic() < end:
        rounds += 1
        for row in random.sample(given.rows, len(given.rows)):  # else a short soak would only know the first
            if time.monotonic() >= end:
                break
            seed = random.randrange(1 << 32)
            _run(row, seed, given.scale, results, given.keep)
        print(f"\nafter round {rounds}, {max(0.0, end - time.monotonic()):.0f} s left", *table(results), sep="\n")
        save(given.keep / "scorecard.json", results)
    raise SystemExit(any(result.failed for result in results.values()))


def _run(row: int, seed: int, scale: float, results: dict[int, Result], keep: Path) -> None:
    files = sorted(map(str, (ROOT / "tests" / "reliability").glob(f"test_{row:02}_*.py")))
    if not files:
        return
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        card = Path(folder) / "scorecard.json"
        options = ["-n", "2", "-q", "-p", "no:cacheprovider", "--scorecard", str(card)]
        command = [sys.executable, "-m", "pytest", *options, *files]
        chances = {"AGENTOPS_TEST_SEED": str(seed), "AGENTOPS_TEST_SCALE": str(scale)}
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **chances}, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        found = json.loads(card.read_text())["rows"].get(str(row)) if card.exists() else None
    result = results.setdefault(row, Result())
    if found is None:
        result.failed += 1  # it did not even begin
    else:
        found.pop("verdict")
        result.take(Result(**found))
    if done.returncode:
        log = keep / f"row-{row:02}-seed-{seed}.log"
        again = " ".join(f"{name}={value}" for name, value in chances.items())
        log.write_text(f"{again} {' '.join(command)}\n\n{done.stdout}\n{done.stderr}", encoding="utf-8")
        print(f"row {row} is red: {log}", flush=True)


if __name__ == "__main__":
    main()
