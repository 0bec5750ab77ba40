"""Nobody but SQLite opens the database: closing a second descriptor of it, anywhere in the process, would cancel the
locks that SQLite holds, and other processes would then delete or overwrite what was acknowledged."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.fakes.agentops_api import AgentOpsAPI
from tests.reliability.conftest import Spawn
from tests.reliability.scorecard import Score
from tests.reliability.tools.crash import DB, ROOT, SESSION, acks, check
from tests.reliability.tools.powercut.trace import can_trace

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


# A process that records runs every command that reads or writes the database, in itself and besides, and is killed.
COMMANDS = """
import os, subprocess, sys
from click import ClickException
from agentops_local.cli import cli
from agentops_local.store import file
from agentops_sync.cli import cli as sync
db, session, server = sys.argv[1:]
sys.stdout = open(os.devnull, "w")  # what the commands print
file.WAL_SIZE = 30_000  # every few events there is a checkpoint
here = ("--db", db)
other, old = session[:-1] + "2", session[:-1] + "3"
for each in (other, old):
    ended = Actor(db, each, quiet=True)
    ended.many(3)
    ended.recorder.close()
me = Actor(db, session)

def both(command, program, *words):
    code = 0
    try:
        code = command.main([*words, *here], standalone_mode=False) or 0
    except ClickException as error:
        code = error.exit_code
    except SystemExit as end:
        code = end.code
    me.many(2)
    done = subprocess.run([sys.executable, "-m", program, *words, *here], capture_output=True)
    say("ran", program, words[0], code, done.returncode)
    me.llm("w", 1, 3)

for words in (
    ["sessions"], ["show", session], ["stats", "--json"], ["doctor", "--full"], ["backup"], ["backup", "copy.db"],
    ["rm", "--force", other], ["prune", "--older-than", "1h", "--unknown"], ["rm", "--rewrite", "--force", old],
):
    both(cli, "agentops_local.cli", *words)
for words in (["once", "--endpoint", server], ["status", "--endpoint", server]):
    both(sync, "agentops_sync", *words)
me.many(20)
die()
"""


def test_python_never_opens_the_database(project: Path, spawn: Spawn, score: Score) -> None:
    """None of our Python code opens the database, its WAL or the index of that, whatever happens to them."""
    program = spawn(LIFE, project / DB, SESSION)
    program.finish()
    opened = program.said("opened")[0][1:]
    score.add(0, torn=len(opened))
    assert opened == []
    # The last life began after the damage: its events are all that must be there.
    check(acks(program)[-9:], DB)


def _opens(program: str, *arguments: object, code: int = 0) -> tuple[list[str], list[list[str]]]:
    """How a program, and all that it starts, opens the database, and what it says."""
    reason = can_trace()
    if reason is not None:
        pytest.skip(reason)
    command = [
        *("strace", "-f", "-y", "-s", "4096", "-e", "trace=open,openat,openat2,creat", "-o", "trace"),
        *(sys.executable, "-c", f"from tests.reliability.tools.inside import *\n{program}", *map(str, arguments)),
    ]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    lines = Path("trace").read_text(errors="replace").splitlines()
    opens = [line for line in lines if re.search(r'agentops\.db(-wal|-shm)?"', line) and "ENOENT" not in line]
    return opens, [line.split() for line in done.stdout.splitlines()]


def _strangers(opens: list[str]) -> list[str]:
    """Those that are not SQLite's: it opens with O_NOFOLLOW and O_CLOEXEC, and nothing that has to be new."""
    return [line for line in opens if "O_NOFOLLOW" not in line or "O_CLOEXEC" not in line or "O_EXCL" in line]


def test_nothing_opens_the_database_but_sqlite(project: Path, score: Score) -> None:
    """Seen from the kernel, each descriptor of the database is opened the way SQLite does it (with O_NOFOLLOW, by the
    full name), and none besides."""
    opens, _ = _opens(LIFE, project / DB, SESSION)
    strangers = _strangers(opens)
    score.add(len(opens), torn=len(strangers))
    assert len(opens) > 20
    assert strangers == []


def test_no_command_opens_the_database_but_sqlite(
    project: Path, api: AgentOpsAPI, score: Score, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does any command, within the process that records or beside it, the daemon included; and when that process
    is killed after all of them, nothing is lost."""
    monkeypatch.setenv("AGENTOPS_API_KEY", api.api_key)
    opens, said = _opens(COMMANDS, project / DB, SESSION, api.url, code=-signal.SIGKILL)
    strangers = _strangers(opens)
    ran = [line[1:] for line in said if line[:1] == ["ran"]]
    print(ran)
    score.add(len(opens), torn=len(strangers))
    assert strangers == []
    assert len(opens) > 50
    assert [line[2] for line in ran] == ["0"] * 10 + ["1"], "status: the session that records is not done"
    check([line[2] for line in said if line[:1] == ["ack"]], DB)
    assert api.events(SESSION, "tools")


def test_a_copy_cancels_no_locks(project: Path, spawn: Spawn, score: Score) -> None:
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
