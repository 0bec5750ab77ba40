"""Storms: runs that are uploaded through faults and kills, by the hundred.

Each is the one that `tests/reliability/tools/chaos.py` describes, with a seed of its own: 28 % of the requests meet a
fault, 2 % of the events are poison, the daemon is killed six times. From `unsettled` to `excess` every figure has to be
0; `drift` is by how much the server's statistics count too much, which no client can prevent (docs/sync.md, "What
cannot be exact").
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median

from benchmarks.common import options, show, surroundings, workplace
from tests.reliability.tools.chaos import Figures, storm

_MUST_BE_ZERO = ("unsettled", "lost", "doubled", "altered", "given_up", "false_done", "unfinished", "excess")
_COLUMNS = ("seed", "events", "poisoned", "requests", "stormy", "faults", "kills", *_MUST_BE_ZERO, "drift")


def one(folder: Path, seed: int, events: int, kills: int) -> Figures:
    """One storm, in a folder of its own."""
    place = folder / f"seed-{seed}"
    place.mkdir()
    os.environ["AGENTOPS_LOCAL_CREDENTIALS"] = str(place / "credentials")
    return storm(place, seed, events, kills)


def storms(folder: Path, seeds: range, events: int, kills: int, workers: int) -> Iterator[Figures]:
    """All of them, so many at a time, in the order of their seeds."""
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        waiting = [pool.submit(one, folder, seed, events, kills) for seed in seeds]
        for each in waiting:
            yield each.result()


def main() -> None:
    """Prints a line for each seed, and the sums; the exit code is 1 if anything is wrong."""
    parser = options(__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--events", type=int, default=480)
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--workers", type=int, default=2, help="storms at a time")
    given = parser.parse_args()
    with workplace(given.dir) as folder:
        seeds = range(given.first, given.first + given.seeds)
        found = list(storms(folder, seeds, given.events, given.kills, given.workers))
    sums = {name: sum(getattr(each, name) for each in found) for name in _COLUMNS[1:]}
    wrong = [each for each in found if each.wrong]
    if given.json:
        print(json.dumps({"storms": [each._asdict() for each in found], "sums": sums}))
    else:
        print(f"{len(found)} storms, {given.workers} at a time. {surroundings()}")
        rows = [tuple(getattr(each, name) for name in _COLUMNS) for each in found]
        show("Each storm, and all", _COLUMNS, [*rows, ("all", *sums.values())])
        print(f"\n{median(each.seconds for each in found):.1f} s a storm (median). Wrong: {len(wrong)} storms")
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
