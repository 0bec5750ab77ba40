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


def _start(spawn: Spawn, count: int) -> list[Program]:
    programs = [spawn(WRITER, DB, SESSION) for _ in range(count)]
    for _ in range(2):
        _record(programs)
    return programs


def _record(programs: list[Program], may_wait: bool = False) -> list[str]:
    """Has each record something, one after the other; the ids of that."""
    before = {*acks(*programs), *acks(*programs, word="kept")}
    for program in programs:
        turn = len(program.said("done")) + 1
        program.tell()
        program.expect("done", turn)
    assert may_wait or not acks(*programs, word="kept")
    return [event for event in acks(*programs) + acks(*programs, word="kept") if event not in before]


def _finish(programs: list[Program]) -> str:
    return "".join(program.finish() for program in programs)


@many
@pytest.mark.parametrize("how", AWAY)
def test_a_removed_database_is_begun_anew(project: Path, spawn: Spawn, score: Score, how: str, writers: int) -> None:
    """The next event notices that the file is gone, and is stored in a new one; so is all that follows."""
    programs = _start(spawn, writers)
    AWAY[how]()
    after = _record(programs) + _record(programs)
    log = _finish(programs)
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
    programs = _start(spawn, writers)
    before = acks(*programs)
    rename()
    after = _record(programs) + _record(programs)
    log = _finish(programs)
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
    programs = _start(spawn, writers)
    STILL_THERE[how]()
    _record(programs)
    _record(list(reversed(programs)))
    _finish(programs)
    assert check(acks(*programs), DB, score=score).events.total() == len(acks(*programs))


NEWCOMER = "import sys\nhurry()\n" + WRITER


@many
@pytest.mark.parametrize("how", ["lock removed", "generation removed"])
def test_a_newcomer_where_something_vanished(project: Path, spawn: Spawn, score: Score, how: str, writers: int) -> None:
    """The same with a process that opens the database before the others have noticed anything."""
    programs = _start(spawn, writers)
    STILL_THERE[how]()
    newcomer = spawn(NEWCOMER, DB, SESSION)
    for turn in ([newcomer], programs, [newcomer], programs):
        _record(turn)
    _finish([newcomer, *programs])
    check(acks(newcomer, *programs), DB, score=score)


@many
@pytest.mark.parametrize("how", ["WAL removed", "WAL and shared memory removed"])
def test_a_newcomer_where_the_wal_vanished(project: Path, spawn: Spawn, score: Score, how: str, writers: int) -> None:
    """A process that comes when the WAL is gone finds a database that cannot be read, or an older one; it keeps its
    events until the others have noticed, and what any of them stores from then on is not lost."""
    programs = _start(spawn, writers)
    STILL_THERE[how]()
    newcomer = spawn(NEWCOMER, DB, SESSION)
    promised = _record([newcomer], may_wait=True)
    for turn in (programs, [newcomer], programs):
        promised += _record(turn, may_wait=True)
    _finish([newcomer, *programs])
    check(promised, DB, score=score)


TIDY = """
import sys
from agentops_local.store import file
file.WAL_SIZE = 1  # it empties the WAL with every second event, and begins it anew
"""


@pytest.mark.parametrize(
    ("newcomers", "writers"),
    [
        pytest.param(NEWCOMER, 1, id="appends-1"),
        pytest.param(NEWCOMER, 3, id="appends-3"),
        pytest.param(TIDY + WRITER, 1, id="empties the WAL-1"),
    ],
)
@pytest.mark.parametrize("stays", [True, False], ids=["stays", "goes"])
@pytest.mark.parametrize("go_on", [True, False], ids=["others go on", "others end"])
def test_a_newcomer_where_the_index_vanished(
    project: Path, spawn: Spawn, score: Score, writers: int, newcomers: str, stays: bool, go_on: bool
) -> None:
    """Where the index of the WAL was removed, a process that comes makes another. Whatever it has stored by that is
    neither overwritten nor put back by those who still have the old one, be it that they record or only end."""
    programs = _start(spawn, writers)
    STILL_THERE["shared memory removed"]()
    newcomer = spawn(newcomers, DB, SESSION)
    _record([newcomer])
    _record([newcomer])
    if not stays:
        _finish([newcomer])
    if go_on:
        for turn in (programs, [newcomer] * stays, programs):
            _record(turn)
    _finish(programs + [newcomer] * stays)
    check(acks(newcomer, *programs), DB, score=score)


@many
@pytest.mark.parametrize("go_on", [True, False], ids=["others go on", "others end"])
def test_a_newcomer_where_wal_and_index_vanished(
    project: Path, spawn: Spawn, score: Score, writers: int, go_on: bool
) -> None:
    """Where a database has lost its WAL and the index of that, what a newcomer stores in it is not mixed with pages
    that others still have in the old WAL."""
    first = spawn(WRITER, DB, SESSION)
    _record([first])
    _finish([first])  # and so all of this is in the file itself
    programs = _start(spawn, writers)
    STILL_THERE["WAL and shared memory removed"]()
    newcomer = spawn(WRITER, DB, SESSION)
    promised = acks(first) + _record([newcomer]) + _record([newcomer])
    if go_on:
        for turn in (programs, [newcomer], programs):
            promised += _record(turn)
    _finish([*programs, newcomer])
    check(promised, DB, score=score)


def test_a_removed_index_that_the_program_itself_keeps(project: Path, spawn: Spawn, score: Score) -> None:
    """All connections of a process share one index. While another one of the program, which is not ours, keeps a
    removed one in use, events wait in memory, for there is no way around it; then they are stored."""
    program = spawn(
        """
        import sqlite3, sys
        hurry()
        me = Actor(*sys.argv[1:])
        me.many(3)
        own = sqlite3.connect(sys.argv[1])
        own.execute("SELECT count(*) FROM events").fetchone()
        say("ready")
        order()
        me.many(3)
        own.close()
        me.many(3)
        me.leave()
        """,
        DB,
        SESSION,
    )
    program.expect("ready")
    STILL_THERE["shared memory removed"]()
    newcomer = spawn(WRITER, DB, SESSION)
    _record([newcomer])
    program.tell()
    log = program.finish()
    _record([newcomer])
    _finish([newcomer])
    kept = acks(program, word="kept")
    check(acks(newcomer, program) + kept, DB, score=score)
    assert len(kept) == 3
    assert log.count("not ours goes on with it") == 1, log


def test_a_collector_lets_go_of_a_removed_index(project: Path, spawn: Spawn, score: Score) -> None:
    """A collector closes the readers it has in reserve, for each of them would keep a removed index in use, and stores
    what it is sent by the new one."""
    collector = spawn(
        """
        import os, sys
        from pathlib import Path
        from uuid import uuid4
        from agentops_local.server.sqlite_store import SqliteStore
        from agentops_local.server.store import LOCAL, EventFields, SessionFields
        store = SqliteStore(Path(sys.argv[1]))
        store.create_session(LOCAL, sys.argv[2], SessionFields())
        while order():
            event = EventFields(uuid4(), "tools", 1, frozenset(), name="sent")
            store.add_events(LOCAL, sys.argv[2], [event])
            say("ack", os.getpid(), event.id)
            say("holds", len(store.export(LOCAL, sys.argv[2]).tools))
            say("done")
        store.close()
        """,
        DB,
        SESSION,
    )
    _record([collector])
    STILL_THERE["shared memory removed"]()
    newcomer = spawn(WRITER, DB, SESSION)
    for turn in ([newcomer], [collector], [newcomer], [collector]):
        _record(turn)
    _finish([newcomer, collector])
    check(acks(newcomer, collector), DB, score=score)
    assert collector.said("holds") == [["holds", "1"], ["holds", "9"], ["holds", "17"]]


@many
def test_a_database_put_in_the_place_of_another(project: Path, spawn: Spawn, score: Score, writers: int) -> None:
    """A database that takes the place of the open one keeps its own rows: the old WAL is not played into it. The open
    one's events go on there."""
    other = spawn(WRITER, "other/agentops.db", OTHER)
    _record([other])
    _finish([other])
    programs = _start(spawn, writers)
    Path("other/agentops.db").replace(DB)
    after = _record(programs) + _record(programs)
    _finish(programs)
    truth = check(acks(other) + after, DB, score=score)
    assert truth.sessions == [SESSION, OTHER]
    assert truth.events.total() == len(acks(other)) + len(after)


@pytest.mark.parametrize("closed", [False, True])
def test_a_restored_backup(project: Path, spawn: Spawn, score: Score, closed: bool) -> None:
    """When an older copy of the database takes its place, numbers that were learnt since are not trusted: no event is
    put into the session of somebody else."""
    first = spawn(WRITER, DB, SESSION)
    _record([first])
    with closing(sqlite3.connect(DB)) as source, closing(sqlite3.connect("backup.db")) as copy:
        source.backup(copy)
    second = spawn(
        """
import sys
me = Actor(*sys.argv[1:3])
me.many(3)
if sys.argv[3] == "True":
    me.recorder.close()
say("ready")
order()
me.many(3)
me.leave()
""",
        DB,
        OTHER,
        closed,
    )
    second.expect("ready")
    _finish([first])
    if closed:
        shutil.copy("backup.db", "copy.db")
        Path("copy.db").replace(DB)
    else:
        Path("backup.db").replace(DB)
    # A third takes, in the restored database, the numbers that the second had before.
    third_session = "0190a000-0000-7000-8000-000000000003"
    if closed:
        third = spawn(WRITER, DB, third_session)
        _record([third])
        _finish([third])
    second.tell()
    second.finish()
    with closing(sqlite3.connect(DB)) as connection:
        found = connection.execute(
            "SELECT session_id, count(*) FROM payloads WHERE id IN (SELECT value FROM json_each(?)) GROUP BY 1",
            [json.dumps(acks(second)[3:])],
        ).fetchall()
    assert found == [(OTHER, 3)]
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
    _record([second])
    _finish([second])
    print("the same inode" if Path(DB).stat().st_ino == old else "another inode")
    first.tell()
    first.finish()
    with closing(sqlite3.connect(DB)) as connection:
        found = dict(connection.execute("SELECT session_id, count(*) FROM payloads GROUP BY 1").fetchall())
    assert found == {OTHER: 9, SESSION: 3}
    examine(DB)
