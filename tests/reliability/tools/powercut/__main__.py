"""Cuts the power of any program that writes an SQLite database, and tells what was lost.

The program says `ack NAME` on standard output, a line, once NAME is committed; the query gives the names back. Example:

    python -m tests.reliability.tools.powercut --db notes.db --rows "SELECT id FROM notes ORDER BY rowid" \
        -- python notes.py
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

from tests.reliability.tools.powercut.trace import can_trace, record
from tests.reliability.tools.powercut.verdict import judge, rows


def main() -> int:
    """Returns 1 when something acknowledged was lost, or an image was corrupt."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.reliability.tools.powercut",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--folder", type=Path, default=Path(), help="the folder to watch, whole; default: the current")
    parser.add_argument("--db", required=True, help="the database, by its path in the folder")
    parser.add_argument("--rows", required=True, metavar="SQL", help="the names of what is stored, oldest first")
    parser.add_argument("--images", type=int, default=1500, help="how many disks to look at (%(default)s)")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="repeats the same disks")
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="make this folder, and put the first bad disk there"
    )
    parser.add_argument("command", nargs="+", help="after --")
    given = parser.parse_args()
    if reason := can_trace():
        parser.error(reason)
    run = record(given.command, given.folder)
    sys.stderr.write(run.errors)
    if run.code:
        parser.error(f"the program ended with {run.code}")
    promised = [(moment, words[-1]) for moment, words in run.lines("ack")]
    [order] = rows(given.folder / given.db, given.rows)

    def survivors(disk: Path) -> tuple[list[str], tuple[str, ...]]:
        return rows(disk / given.db, given.rows)[0], ()

    figures = judge(run, given.images, given.seed, survivors, promised, order, given.keep)
    print(
        f"{len(run.operations)} operations, {len(promised)} acknowledged, {figures.images} images (seed {given.seed}): "
        f"{figures.lossy} lossy ({figures.lost} lost in the worst), {figures.disordered} disordered, "
        f"{figures.corrupt} corrupt"
    )
    print("\n".join(figures.examples))
    return int(bool(figures.lossy or figures.corrupt))


if __name__ == "__main__":
    sys.exit(main())
