"""Places that cannot serve, as several processes or a running one meet them. What is refused, and why, is in
tests/store/test_refused.py."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from agentops_local.store.location import fallback_database
from tests.reliability.conftest import Spawn
from tests.reliability.scorecard import Score
from tests.reliability.tools.crash import DB, SESSION, acks, check, query

WRITER = """
import sys
me = Actor(*sys.argv[1:])
me.many(5)
me.llm("w", 1, 2)
me.recorder.close()
me.many(5)
say("path", me.database.path)
me.leave()
"""


def _make(version: int = 0, application: int = 0, table: str = "things") -> None:
    Path(DB).parent.mkdir()
    with closing(sqlite3.connect(DB)) as connection:
        connection.execute(f"CREATE TABLE {table} (a)")
        connection.executemany(f"INSERT INTO {table} VALUES (?)", [(n,) for n in range(100)])
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute(f"PRAGMA application_id = {application}")
        connection.commit()


def _make_in_wal() -> None:
    """Another program's database whose last commits are in its WAL; closing it must not be ours to do."""
    _make()
    source = f"""
import os, sqlite3
connection = sqlite3.connect({DB!r}, isolation_level=None)
connection.execute("PRAGMA journal_mode = wal")
connection.execute("INSERT INTO things VALUES (1000)")
os._exit(0)
"""
    subprocess.run(["python3", "-c", source], check=True)
    assert Path(f"{DB}-wal").stat().st_size > 0


OURS = 0x41474F4C
NOT_OURS: dict[str, tuple[Callable[[], None], str]] = {
    "a newer version": (lambda: _make(version=99, application=OURS), "upgrade agentops-local"),
    "another program's": (lambda: _make(version=3), "of another program"),
    "another program's, marked": (lambda: _make(version=1, application=0x1234), "of another program"),
    "another program's, with a WAL": (_make_in_wal, "of another program"),
}


def _state() -> dict[str, str]:
    # The index of a WAL is shared memory: whoever reads touches it.
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in Path(DB).parent.iterdir()
        if path.name.startswith("agentops.db") and not path.name.endswith((".lock", "-shm"))
    }


@pytest.mark.parametrize("kind", NOT_OURS)
def test_a_file_that_is_not_ours_is_left_as_it_is(project: Path, spawn: Spawn, score: Score, kind: str) -> None:
    """A database of another program, or of a newer version of this one, is not changed by a single byte; events go to
    the user's data folder, which is said once."""
    make, words = NOT_OURS[kind]
    make()
    before = _state()
    program = spawn(WRITER, DB, SESSION)
    log = program.finish().splitlines()
    fallback = fallback_database(project / DB)
    assert check(acks(program), fallback, score=score, cases=1).events.total() == 11
    assert _state() == before
    assert program.said("path") == [["path", str(fallback)]]
    assert not acks(program, word="kept")
    assert len(log) == 1, log
    assert words in log[0]
    assert str(fallback) in log[0]


def test_a_database_that_cannot_be_written_any_more(project: Path, spawn: Spawn, score: Score) -> None:
    """A database that becomes read-only is left as it is, and what follows is stored in the user's data folder."""
    folder = project / DB
    program = spawn(
        """
import sys
me = Actor(*sys.argv[1:])
while order():
    me.many(5)
    me.recorder.close()
    say("done")
say("path", me.database.path)
me.leave()
""",
        DB,
        SESSION,
    )
    program.tell()
    program.expect("done")
    before = acks(program)
    folder = folder.parent
    mounted = True
    if os.geteuid():
        (project / DB).chmod(0o444)
        folder.chmod(0o555)
    else:
        path = str(folder)
        for command in (["mount", "--bind", path, path], ["mount", "-o", "remount,bind,ro", path]):
            mounted = mounted and not subprocess.run(command, capture_output=True).returncode
    try:
        if not mounted:
            pytest.skip("root may write everywhere, and a read-only mount cannot be made here")
        program.tell()
        program.expect("done", 2)
        log = program.finish()
    finally:
        if os.geteuid():
            folder.chmod(0o755)
        else:
            subprocess.run(["umount", "--lazy", folder], capture_output=True)
    after = acks(program)[5:]
    assert len(after) == 5
    fallback = fallback_database(project / DB)
    check(after, fallback, score=score, cases=1)
    check(before, DB, score=score, cases=0)
    assert log.count("recording to") == 1


def test_many_fall_back_to_one_place(project: Path, spawn: Spawn, score: Score) -> None:
    """Processes that cannot use a place meet again in the same other one."""
    _make(version=99, application=OURS)
    programs = [spawn(WRITER, DB, SESSION) for _ in range(4)]
    for program in programs:
        program.finish()
    truth = check(acks(*programs), fallback_database(project / DB), score=score, cases=1)
    assert truth.sessions == [SESSION]
    assert truth.events.total() == 44


@pytest.mark.parametrize("left", range(7))
def test_few_descriptors_left(project: Path, spawn: Spawn, score: Score, left: int) -> None:
    """A program that has used up its file descriptors goes on; once it has closed some, all its events are stored in
    the database that was chosen."""
    program = spawn(
        """
import os, resource, sys
hurry()
db, session, left = sys.argv[1:]
me = Actor(db, session)
me.tool()  # whatever is imported is imported
me.recorder.close()
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
taken = []
try:
    while True:
        taken.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
for _ in range(int(left)):
    os.close(taken.pop())
me.many(10)
for descriptor in taken:
    os.close(descriptor)
me.many(5)
say("path", me.database.path)
me.leave()
""",
        DB,
        SESSION,
        left,
    )
    log = program.finish()
    print(log)
    assert program.said("path") == [["path", str(project / DB)]]
    assert program.said("left")[0][2] == "0"
    truth = check(acks(program) + acks(program, word="kept"), DB, score=score, cases=1)
    assert truth.events.total() == 16
    assert query(DB, "SELECT count(*) FROM sessions") == [(1,)]
