"""A damaged file that several processes meet. What can be damaged, and how, is in tests/store/test_damage.py."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.reliability.conftest import Spawn
from tests.reliability.scorecard import Score
from tests.reliability.tools.crash import DB, SESSION, acks, check

WRITER = """
import sys
me = Actor(*sys.argv[1:])
number = 0
while order():
    number += 1
    me.many(20)
    me.llm("w", 1, number)
    say("done")
me.leave()
"""


def _overwrite(start: int, content: bytes, end: str = "") -> None:
    with Path(DB + end).open("r+b") as file:
        file.seek(start)
        file.write(content)


def _garbage(count: int) -> bytes:
    return random.Random(7).randbytes(count)


def _middle() -> int:
    return Path(DB).stat().st_size // 2 // 4096 * 4096


def _truncate() -> None:
    with Path(DB).open("r+b") as file:
        file.truncate(_middle() + 100)


DAMAGES: dict[str, Callable[[], object]] = {
    "a first page of zeros": lambda: _overwrite(0, bytes(4096)),
    "garbage in the middle": lambda: _overwrite(_middle(), _garbage(4096)),
    "random bytes": lambda: Path(DB).write_bytes(_garbage(50_000)),
    "truncated": _truncate,
}


def _aside() -> list[Path]:
    """The damaged files that were kept; each may have its WAL beside it."""
    return [path for path in Path(DB).parent.iterdir() if ".damaged-" in path.name and not path.name.endswith("-wal")]


def _recorded(spawn: Spawn, times: int = 3) -> list[str]:
    """A database of some pages, closed, so that no WAL is left; the ids in it."""
    program = spawn(WRITER, DB, SESSION)
    for turn in range(times):
        program.tell()
        program.expect("done", turn + 1)
    program.finish()
    return acks(program)


def test_garbage_in_the_wal(project: Path, spawn: Spawn, score: Score) -> None:
    """A WAL that is garbage from some point on gives back what stands before it; the database goes on."""
    first = spawn(WRITER, DB, SESSION)
    for turn in range(3):
        first.tell()
        first.expect("done", turn + 1)
    first.kill()
    wal = Path(f"{DB}-wal")
    _overwrite(wal.stat().st_size // 2, _garbage(10_000), "-wal")
    second = spawn(WRITER, DB, SESSION)
    second.tell()
    log = second.finish()
    assert log == ""
    truth = check(acks(second), DB)
    stored = [event for event in acks(first) if event in truth.events]
    score.add(1, doubled=truth.events.total() - len(truth.events), torn=stored != acks(first)[: len(stored)])
    assert stored == acks(first)[: len(stored)]
    assert 0 < len(stored) < len(acks(first))


@pytest.mark.parametrize("writers", [1, 3])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_under_open_connections(project: Path, spawn: Spawn, damage: str, writers: int, score: Score) -> None:
    """A file that is damaged while processes have it open costs none of them an exception; what they record after it
    was noticed is in a sound database, and nothing is deleted."""
    programs = [spawn(WRITER, DB, SESSION) for _ in range(writers)]
    for turn in range(3):
        for program in programs:
            program.tell()
            program.expect("done", turn + 1)
    _checkpoint()
    DAMAGES[damage]()
    for turn in range(3, 8):
        for program in programs:
            program.tell()
            program.expect("done", turn + 1)
    log = "".join(program.finish() for program in programs)
    # Whoever opens it next notices, if those who had it in memory did not.
    last = spawn(WRITER, DB, SESSION)
    last.tell()
    log += last.finish()
    print(log)
    score.add(1, lost=len(acks(last, *programs, word="kept")))
    assert log.count("is damaged") == len(_aside())
    assert not acks(last, *programs, word="kept")
    check(acks(last), DB)


def _checkpoint() -> None:
    # In another process it would do, in this one too: it holds no lock of its own that closing could cancel.
    with closing(sqlite3.connect(DB)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def test_many_find_the_damage_at_once(project: Path, spawn: Spawn, score: Score) -> None:
    """Of many processes that meet a damaged file at once one puts it aside; all record into the new one."""
    _recorded(spawn)
    DAMAGES["random bytes"]()
    damaged = Path(DB).read_bytes()
    programs = [spawn(WRITER, DB, SESSION) for _ in range(8)]
    for program in programs:
        program.tell()
    log = "".join(program.finish() for program in programs)
    score.add(1, torn=log.count("is damaged") != 1)
    assert log.count("is damaged") == 1
    assert [path.read_bytes() for path in _aside()] == [damaged]
    assert check(acks(*programs), DB).events.total() == 8 * 21
