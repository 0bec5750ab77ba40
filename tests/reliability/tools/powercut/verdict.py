"""What SQLite makes of a disk after a power cut, opened the normal way: it recovers the database as it always does."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.reliability.tools.powercut.disk import images
from tests.reliability.tools.powercut.operations import Run

_MEMORY = Path("/dev/shm")  # images are made and read by the thousand, and need no disk


def place(files: dict[str, bytes | None], folder: Path) -> None:
    """Makes an empty folder into an image. The index of the WAL is left away: SQLite never believes one that it finds
    without a process that has it open, and its contents were not traced."""
    for path, content in files.items():
        if content is None:
            (folder / path).mkdir()
        elif not path.endswith("-shm"):
            (folder / path).write_bytes(content)


@contextmanager
def placed(files: dict[str, bytes | None]) -> Iterator[Path]:
    """A folder that holds an image, for as long as the block lasts."""
    folder = Path(tempfile.mkdtemp(prefix="power-cut-", dir=_MEMORY if _MEMORY.is_dir() else None))
    try:
        place(files, folder)
        yield folder
    finally:
        shutil.rmtree(folder)


def rows(db: Path, *queries: str) -> list[list[str]]:
    """The first column of each query, after the whole file was found sound; nothing where there is no such file or
    table.

    Raises:
        sqlite3.DatabaseError: the file is corrupt.
    """
    if not db.exists():
        return [[] for _ in queries]
    with closing(sqlite3.connect(db, isolation_level=None)) as connection:
        for check, good in (("integrity_check", [("ok",)]), ("foreign_key_check", [])):
            found = connection.execute(f"PRAGMA {check}").fetchall()
            if found != good:
                raise sqlite3.DatabaseError(f"{check}: {found[:3]}")
        return [_column(connection, query) for query in queries]


def _column(connection: sqlite3.Connection, query: str) -> list[str]:
    try:
        return [str(row[0]) for row in connection.execute(query)]
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return []
        raise


@dataclass
class Figures:
    """What came of the images of one run.

    Attributes:
        lossy: images in which something acknowledged is missing. lost: how much is missing in the worst of them.
        disordered: images whose rows are not the first ones of the run.
        corrupt: images that are damaged.
        examples: for a few of these, the cut, the manner and what was found.
    """

    images: int = 0
    lossy: int = 0
    lost: int = 0
    disordered: int = 0
    corrupt: int = 0
    examples: list[str] = field(default_factory=list)


# What has survived in the folder of an image: rows, whose order counts, and whatever else may have been promised.
Read = Callable[[Path], tuple[list[str], Iterable[str]]]


def judge(
    run: Run,
    count: int,
    seed: int,
    read: Read,
    promised: list[tuple[int, str]],
    order: list[str],
    keep: Path | None = None,
) -> Figures:
    """Looks at so many images of a run.

    Args:
        promised: the names of what was acknowledged, each with the number of the operation that said so, in order.
        order: the names of all rows that the run stored, in order.
        keep: a folder to be made, for the first image that is bad.
    """
    figures = Figures()
    moments = [moment for moment, _ in promised]
    for cut, manner, files in images(run, count, seed):
        figures.images += 1
        due = {name for _, name in promised[: bisect_left(moments, cut)]}
        bad = _look(figures, files, read, due, order)
        if bad and len(figures.examples) < 5:
            figures.examples.append(f"cut before operation {cut}, unsynced: {manner}: {bad}")
        if bad and keep is not None:
            keep.mkdir()
            place(files, keep)
            keep = None
    return figures


def _look(figures: Figures, files: dict[str, bytes | None], read: Read, due: set[str], order: list[str]) -> str | None:
    """Counts what is wrong with an image, and says it."""
    with placed(files) as folder:
        try:
            there, facts = read(folder)
        except sqlite3.DatabaseError as error:
            figures.corrupt += 1
            return str(error)
    missing = due.difference(there, facts)
    if missing:
        figures.lossy += 1
        figures.lost = max(figures.lost, len(missing))
        return f"{len(missing)} are missing, {min(missing)} for one"
    if there != order[: len(there)]:
        figures.disordered += 1
        return "what is there are not the first rows of the run"
    return None
