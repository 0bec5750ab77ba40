"""The database, or what belongs to it, is taken away while processes have it open."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.reliability.conftest import Spawn
from tests.reliability.scorecard import Score
from tests.reliability.tools.crash import DB, SESSION, Program, acks, check, examine

FOLDER = Path(DB).parent
OTHER = "0190a000-0000-7000-8000-000000000002"

# With every order: some events.
WRITER = """
import sys
me = Actor(*sys.argv[1:])
number = 0
while order():
    number += 1
    me.many(7)
    me.llm("w", 1, number)
    me.error()
    say("done")
me.leave()
"""


def _unlink(*ends: str) -> None:
    for end in ends:
        Path(DB + end).unlink(missing_ok=True)


def _rename(*ends: str) -> None:
    for end in ends:
        if Path(DB + end).exists():
            Path(DB + end).rename(f"elsewhere.db{end}")


def _replace_by_empty() -> None:
    Path("new").touch()
    Path("new").replace(DB)


AWAY: dict[str, Callable[[], object]] = {
    "removed": lambda: _unlink(""),
    "removed with its WAL": lambda: _unlink("", "-wal", "-shm"),
    "removed with all beside it": lambda: _unlink("", "-wal", "-shm", ".lock", "-generation"),
    "folder removed": lambda: shutil.rmtree(FOLDER),
    "replaced by an empty file": _replace_by_empty,
}
RENAMED: dict[str, tuple[Callable[[], object], str]] = {
    "renamed": (lambda: _rename(""), "elsewhere.db"),
    "renamed with its WAL": (lambda: _rename("", "-wal", "-shm"), "elsewhere.db"),
    "folder renamed": (lambda: FOLDER.rename("elsewhere"), "elsewhere/agentops.db"),
}
STILL_THERE: dict[str, Callable[[], object]] = {
    "WAL removed": lambda: _unlink("-wal"),
    "shared memory removed": lambda: _unlink("-shm"),
    "WAL and shared memory removed": lambda: _unlink("-wal", "-shm"),
    "lock removed": lambda: _unlink(".lock"),
    "generation removed": lambda: _unlink("-generation"),
}

many = pytest.mark.parametrize("writers", [1, 3])


def start(spawn: Spawn, count: int) -> list[Program]:
    """So many programs that have recorded something, one after the other."""
    programs = [spawn(WRITER, DB, SESSION) for _ in range(count)]
    for _ in range(2):
        record(programs)
    return programs


def record(programs: list[Program], may_wait: bool = False) -> list[str]:
    """Has each record something, one after the other; the ids of that."""
    before = {*acks(*programs), *acks(*programs, word="kept")}
    for program in programs:
        turn = len(program.said("done")) + 1
        program.tell()
        program.expect("done", turn)
    assert may_wait or not acks(*programs, word="kept")
    return [event for event in acks(*programs) + acks(*programs, word="kept") if event not in before]


def finish(programs: list[Program]) -> str:
    """Waits for their ends; what stands in their logs."""
    return "".join(program.finish() for program in programs)


@many
@pytest.mark.parametrize("how", AWAY)
def test_a_removed_database_is_begun_anew(project: Path, spawn: Spawn, score: Score, how: str, writers: int) -> None:
    """The next event notices that the file is gone, and is stored in a new one; so is all that follows."""
    programs = start(spawn, writers)
    AWAY[how]()
    after = record(programs) + record(programs)
    log = finish(programs)
    truth = check(after, DB, score=score)
    assert truth.events.total() == len(after)
    assert truth.sessions == [SESSION]
    assert log.count("while it was open") == writers
    assert "cannot be" not in log


@many
@pytest.mark.parametrize("how", RENAMED)
def test_a_renamed_database_is_whole(project: Path, spawn: Spawn, score: Score, how: str, writers: int) -> None:
    """A database that is renamed while it is open takes with it all that was acknowledged, without its WAL; what
    follows is stored in a new one."""
    rename, name = RENAMED[how]
    programs = start(spawn, writers)
    before = acks(*programs)
    rename()
    after = record(programs) + record(programs)
    log = finish(programs)
    shutil.copy(name, "alone.db")
    assert check(before, "alone.db", score=score).events.total() == len(before)
    assert check(after, DB, score=score).events.total() == len(after)
    assert log.count("while it was open") == writers


@many
@pytest.mark.parametrize("how", STILL_THERE)
def test_what_lies_beside_a_database_may_vanish(
    project: Path, spawn: Spawn, score: Score, how: str, writers: int
) -> None:
    """Nothing that was acknowledged is lost when the WAL, its index or the lock are removed under open connections."""
    programs = start(spawn, writers)
    STILL_THERE[how]()
    record(programs)
    record(list(reversed(programs)))
    finish(programs)
    assert check(acks(*programs), DB, score=score).events.total() == len(acks(*programs))


@many
def test_a_database_put_in_the_place_of_another(project: Path, spawn: Spawn, score: Score, writers: int) -> None:
    """A database that takes the place of the open one keeps its own rows: the old WAL is not played into it. The open
    one's events go on there."""
    other = spawn(WRITER, "other/agentops.db", OTHER)
    record([other])
    finish([other])
    programs = start(spawn, writers)
    Path("other/agentops.db").replace(DB)
    after = record(programs) + record(programs)
    finish(programs)
    truth = check(acks(other) + after, DB, score=score)
    assert truth.sessions == [SESSION, OTHER]
    assert truth.events.total() == len(acks(other)) + len(after)


@pytest.mark.parametrize("closed", [False, True])
def test_a_restored_backup(project: Path, spawn: Spawn, score: Score, closed: bool) -> None:
    """When an older copy of the database takes its place, numbers that were learnt since are not trusted: no event is
    put into the session of somebody else, and no prompt goes on from somebody else's messages."""
    first = spawn(WRITER, DB, SESSION)
    record([first])
    with closing(sqlite3.connect(DB)) as source, closing(sqlite3.connect("backup.db")) as copy:
        source.backup(copy)
    second = spawn(
        """
import sys
me = Actor(*sys.argv[1:3])
me.many(3)
me.llm("second", 1, 1)
if sys.argv[3] == "True":
    me.recorder.close()
say("ready")
order()
me.llm("second", 1, 2)
me.many(3)
me.leave()
""",
        DB,
        OTHER,
        closed,
    )
    second.expect("ready")
    finish([first])
    if closed:
        shutil.copy("backup.db", "copy.db")
        Path("copy.db").replace(DB)
    else:
        Path("backup.db").replace(DB)
    # A third takes, in the restored database, the numbers that the second had before.
    third_session = "0190a000-0000-7000-8000-000000000003"
    if closed:
        third = spawn(WRITER, DB, third_session)
        record([third])
        finish([third])
    second.tell()
    second.finish()
    with closing(sqlite3.connect(DB)) as connection:
        found = connection.execute(
            "SELECT session_id, count(*) FROM payloads WHERE id IN (SELECT value FROM json_each(?)) GROUP BY 1",
            [json.dumps(acks(second)[4:])],
        ).fetchall()
    assert found == [(OTHER, 4)]
    examine(DB)


def test_a_new_file_with_the_number_of_the_old(project: Path, spawn: Spawn, score: Score) -> None:
    """A new database that somebody else made, be it on the very inode of the old one, is not taken for that."""
    first = spawn(
        """
import sys
me = Actor(*sys.argv[1:])
me.many(3)
me.recorder.close()
say("ready")
order()
me.many(3)
me.leave()
""",
        DB,
        SESSION,
    )
    first.expect("ready")
    old = Path(DB).stat().st_ino
    shutil.rmtree(FOLDER)
    second = spawn(WRITER, DB, OTHER)
    record([second])
    finish([second])
    print("the same inode" if Path(DB).stat().st_ino == old else "another inode")
    first.tell()
    first.finish()
    with closing(sqlite3.connect(DB)) as connection:
        found = dict(connection.execute("SELECT session_id, count(*) FROM payloads GROUP BY 1").fetchall())
    assert found == {OTHER: 9, SESSION: 3}
    examine(DB)
