"""The WAL of an open database, or the index of that, is taken away, and a process comes that has not seen them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.reliability.conftest import Spawn
from tests.reliability.scorecard import Score
from tests.reliability.test_10_moved import STILL_THERE, WRITER, finish, many, record, start
from tests.reliability.tools.crash import DB, SESSION, acks, check

NEWCOMER = "import sys\nhurry()\n" + WRITER


@many
@pytest.mark.parametrize("how", ["lock removed", "generation removed"])
def test_a_newcomer_where_something_vanished(project: Path, spawn: Spawn, score: Score, how: str, writers: int) -> None:
    """The same with a process that opens the database before the others have noticed anything."""
    programs = start(spawn, writers)
    STILL_THERE[how]()
    newcomer = spawn(NEWCOMER, DB, SESSION)
    for turn in ([newcomer], programs, [newcomer], programs):
        record(turn)
    finish([newcomer, *programs])
    check(acks(newcomer, *programs), DB, score=score)


@many
@pytest.mark.parametrize("how", ["WAL removed", "WAL and shared memory removed"])
def test_a_newcomer_where_the_wal_vanished(project: Path, spawn: Spawn, score: Score, how: str, writers: int) -> None:
    """A process that comes when the WAL is gone finds a database that cannot be read, or an older one; it keeps its
    events until the others have noticed, and what any of them stores from then on is not lost."""
    programs = start(spawn, writers)
    STILL_THERE[how]()
    newcomer = spawn(NEWCOMER, DB, SESSION)
    promised = record([newcomer], may_wait=True)
    for turn in (programs, [newcomer], programs):
        promised += record(turn, may_wait=True)
    finish([newcomer, *programs])
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
    programs = start(spawn, writers)
    STILL_THERE["shared memory removed"]()
    newcomer = spawn(newcomers, DB, SESSION)
    record([newcomer])
    record([newcomer])
    if not stays:
        finish([newcomer])
    if go_on:
        for turn in (programs, [newcomer] * stays, programs):
            record(turn)
    finish(programs + [newcomer] * stays)
    check(acks(newcomer, *programs), DB, score=score)


@many
@pytest.mark.parametrize("stays", [True, False], ids=["stays", "goes"])
@pytest.mark.parametrize("go_on", [True, False], ids=["others go on", "others end"])
def test_a_newcomer_where_a_used_up_wal_vanished(
    project: Path, spawn: Spawn, score: Score, writers: int, stays: bool, go_on: bool
) -> None:
    """Where another program has moved all of the WAL into the database, and the WAL was removed then, a newcomer can
    begin another one: what it stores there is not taken for what stood at the same place of the old one."""
    programs = start(spawn, writers)
    with closing(sqlite3.connect(DB)) as connection:
        connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
    STILL_THERE["WAL removed"]()
    newcomer = spawn(WRITER, DB, SESSION)
    record([newcomer])
    record([newcomer])
    if not stays:
        finish([newcomer])
    if go_on:
        for turn in (programs, [newcomer] * stays, programs):
            record(turn)
    finish(programs + [newcomer] * stays)
    check(acks(newcomer, *programs), DB, score=score)


@many
@pytest.mark.parametrize("go_on", [True, False], ids=["others go on", "others end"])
def test_a_newcomer_where_wal_and_index_vanished(
    project: Path, spawn: Spawn, score: Score, writers: int, go_on: bool
) -> None:
    """Where a database has lost its WAL and the index of that, what a newcomer stores in it is not mixed with pages
    that others still have in the old WAL."""
    first = spawn(WRITER, DB, SESSION)
    record([first])
    finish([first])  # and so all of this is in the file itself
    programs = start(spawn, writers)
    STILL_THERE["WAL and shared memory removed"]()
    newcomer = spawn(WRITER, DB, SESSION)
    promised = acks(first) + record([newcomer]) + record([newcomer])
    if go_on:
        for turn in (programs, [newcomer], programs):
            promised += record(turn)
    finish([*programs, newcomer])
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
    record([newcomer])
    program.tell()
    log = program.finish()
    record([newcomer])
    finish([newcomer])
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
    record([collector])
    STILL_THERE["shared memory removed"]()
    newcomer = spawn(WRITER, DB, SESSION)
    for turn in ([newcomer], [collector], [newcomer], [collector]):
        record(turn)
    finish([newcomer, collector])
    check(acks(newcomer, collector), DB, score=score)
    assert collector.said("holds") == [["holds", "1"], ["holds", "9"], ["holds", "17"]]
