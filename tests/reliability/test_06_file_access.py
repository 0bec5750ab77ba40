"""Nobody but SQLite opens the database: closing a second descriptor of it, anywhere in the process, would cancel the
locks that SQLite holds, and other processes would then delete or overwrite what was acknowledged."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.reliability.conftest import Spawn
from tests.reliability.tools.crash import DB, ROOT, SESSION, acks, check

# All that a process does with a database in its life: makes it, forks, loses it, finds it damaged, copies it.
LIFE = """
import os, shutil, sys
db, session = sys.argv[1:3]
me = Actor(db, session)
opened = []

def watch(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
        path = os.fsdecode(arguments[0])
        if path.endswith(("agentops.db", "agentops.db-wal", "agentops.db-shm")):
            opened.append(path)

sys.addaudithook(watch)

def life():
    me.many(3)
    me.llm("w", 1, 2)
    me.tool(os.urandom(50_000).hex())
    if os.fork() == 0:
        me.many(2)
        me.recorder.close()
        os._exit(len(opened))
    assert os.wait()[1] == 0
    me.many(2)
    me.recorder.read(lambda connection: connection.execute("SELECT count(*) FROM events").fetchone())
    from agentops_local.store.backup import back_up
    me.recorder.read(lambda connection: back_up(connection, me.database.path.with_name("copy.backup")))
    os.unlink(me.database.path.with_name("copy.backup"))
    me.recorder.close()
    me.many(2)

life()
os.rename(db, db + ".old")
me.many(2)
shutil.rmtree(os.path.dirname(db))
life()
me.recorder.close()
size = os.stat(db).st_size
os.truncate(db, 3000)  # by name: no descriptor
life()
say("opened", *opened)
me.leave()
"""


def test_python_never_opens_the_database(project: Path, spawn: Spawn) -> None:
    """None of our Python code opens the database, its WAL or the index of that, whatever happens to them."""
    program = spawn(LIFE, project / DB, SESSION)
    program.finish()
    assert program.said("opened") == [["opened"]]
    # The last life began after the damage: its events are all that must be there.
    check(acks(program)[-9:], DB)


def test_nothing_opens_the_database_but_sqlite(project: Path) -> None:
    """Seen from the kernel, each descriptor of the database is opened the way SQLite does it (with O_NOFOLLOW, by the
    full name), and none besides."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    command = [
        *("strace", "-f", "-y", "-e", "trace=open,openat,openat2,creat", "-o", "trace"),
        *(sys.executable, "-c", f"from tests.reliability.tools.inside import *\n{LIFE}", str(project / DB), SESSION),
    ]
    done = subprocess.run(command, env={**_environment(), "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    if "ptrace" in done.stderr and done.returncode:
        pytest.skip("tracing is forbidden here")
    assert done.returncode == 0, done.stderr
    opens = [
        line
        for line in Path("trace").read_text().splitlines()
        if re.search(r'agentops\.db(-wal|-shm)?"', line) and "ENOENT" not in line
    ]
    assert opens
    strangers = [line for line in opens if "O_NOFOLLOW" not in line or "O_CLOEXEC" not in line]
    assert strangers == []
    made = [line for line in opens if "O_EXCL" in line]
    assert made == []


def _environment() -> dict[str, str]:
    import os

    return dict(os.environ)


def test_a_copy_cancels_no_locks(project: Path, spawn: Spawn) -> None:
    """After a backup was made of an open database, another program that opens and closes it does not take itself for
    the last one, and a SIGKILL loses nothing."""
    program = spawn(
        """
import sys
from agentops_local.store.backup import back_up
me = Actor(*sys.argv[1:])
me.many(20)
me.recorder.read(lambda connection: back_up(connection, me.database.path.with_name("copy.backup")))
me.many(20)
say("copied")
order()
me.many(20)
die()
""",
        DB,
        SESSION,
    )
    program.expect("copied")
    with closing(sqlite3.connect(DB)) as other:
        assert other.execute("SELECT count(*) FROM events").fetchone() == (40,)
    assert Path(f"{DB}-wal").exists()
    program.tell()
    program.until(lambda: False)
    assert len(acks(program)) == 60
    check(acks(program), DB)
    check(acks(program)[:20], Path(DB).with_name("copy.backup"))
