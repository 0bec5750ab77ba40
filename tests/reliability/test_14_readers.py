"""Readers that stay, of which each keeps the WAL from being emptied; and that ours never do."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.reliability.conftest import Spawn
from tests.reliability.scorecard import Score
from tests.reliability.tools.crash import DB, SESSION, Program, acks, await_stop, check, flat

MB = 1 << 20
ALARM = 64 * MB
WAL = Path(f"{DB}-wal")

# With every order some megabytes, or small events at the pace of a program that has other things to do.
WRITER = """
import os, sys, time
from agentops_local.store import file
file.WAL_SIZE = int(sys.argv[3]) or file.WAL_SIZE
me = Actor(*sys.argv[1:3])
me.many(3)
say("ready")
while word := order():
    if word == "slowly":
        time.sleep(0.02)
        me.tool()
    else:
        for _ in range(int(word) * 10):
            me.tool(os.urandom(50_000).hex())
    say("done")
me.leave()
"""

READERS = {
    "a cursor": "reading = connection.execute('SELECT id FROM events')\nreading.fetchone()",
    "a transaction": "connection.execute('BEGIN')\nconnection.execute('SELECT count(*) FROM events').fetchall()",
    "a read that is stopped": """
        def stop():
            say("reading")
            os.kill(os.getpid(), signal.SIGSTOP)

        connection.create_function("stop", 0, stop)
        connection.execute("SELECT stop() FROM events LIMIT 1").fetchall()
    """,
}
READER = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
{}
say("reading")
order()
"""


def _write(writer: Program, what: str) -> int:
    """Has it record something; the size of the WAL after that."""
    turn = len(writer.said("done")) + 1
    writer.tell(what)
    writer.expect("done", turn)
    return WAL.stat().st_size


@pytest.mark.parametrize("kind", READERS)
def test_a_reader_that_stays(project: Path, spawn: Spawn, score: Score, kind: str) -> None:
    """While a reader stays recording goes on, and a WAL over 64 MB is told of; when the reader has gone the WAL is
    emptied within five seconds, however little is recorded."""
    writer = spawn(WRITER, DB, SESSION, 0)
    writer.expect("ready")
    reader = spawn(READER.format(flat(READERS[kind])), DB)
    reader.expect("reading")
    if "stopped" in kind:
        await_stop(reader.pid)
    size = 0
    while size < ALARM + 4 * MB:
        size = _write(writer, "6")
    told = writer.errors().count("a reader that stays open keeps the WAL")
    reader.send(signal.SIGCONT)
    reader.close()
    gone = time.monotonic()
    while size > MB and time.monotonic() < gone + 5:
        size = _write(writer, "slowly")
    print(f"emptied {time.monotonic() - gone:.1f} s after")
    writer.finish()
    check(acks(writer), DB, score=score)
    assert not acks(writer, word="kept")
    assert told == 1
    assert size <= MB
