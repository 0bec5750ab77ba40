"""Readers that stay, of which each keeps the WAL from being emptied; and that ours never do."""

from __future__ import annotations

import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.fakes.agentops_api import AgentOpsAPI
from tests.reliability.conftest import Spawn
from tests.reliability.scorecard import Score
from tests.reliability.tools.crash import DB, SESSION, Program, acks, await_stop, check, flat, scaled
from tests.sync.running import Running

MB = 1 << 20
ALARM = 64 * MB
LEAST = 1 * MB  # with which a writer empties the WAL beside our readers; in life it is 16 MB
MOST = 8 * MB  # and what it may grow to while they read; beside one that never lets go it would be all of
RECORDED = 30  # MB

# With every order some megabytes, or small events at the pace of a program that has other things to do.
WRITER = """
import os, sys, time
from agentops_local.store import file
file.WAL_SIZE = int(sys.argv[3]) or file.WAL_SIZE
me = Actor(*sys.argv[1:3])
me.many(3)
say("ready")
while word := order():
    largest = 0
    for _ in range(1 if word == "slowly" else int(word) * 10):
        if word == "slowly":
            time.sleep(0.02)
            me.tool()
        else:
            me.tool(os.urandom(50_000).hex())
        size = os.stat(f"{me.database.path}-wal").st_size
        largest = max(largest, size)
    say("done", size, largest)
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


def _write(writer: Program, what: str) -> tuple[int, int]:
    """Has it record something; the size of the WAL after that, and the largest meanwhile."""
    turn = len(writer.said("done")) + 1
    writer.tell(what)
    _, size, largest = writer.expect("done", turn)
    return int(size), int(largest)


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
        size, _ = _write(writer, "6")
    told = writer.errors().count("a reader that stays open keeps the WAL")
    reader.send(signal.SIGCONT)
    reader.close()
    gone = time.monotonic()
    while size > MB and time.monotonic() < gone + 5:
        size, _ = _write(writer, "slowly")
    print(f"emptied {time.monotonic() - gone:.1f} s after")
    writer.finish()
    check(acks(writer), DB, score=score)
    assert not acks(writer, word="kept")
    assert told == 1
    assert size <= MB


# Each reads as often as it can, as one of our programs does, until there is a file `stop`; then it rests, with all that
# it has open.
OURS = {
    "the command line": """
        from click.testing import CliRunner
        from agentops_local.cli import cli
        commands = (["sessions"], ["show", session], ["show", session, "--json"], ["stats"], ["stats", session])

        def read():
            for command in commands:
                done = CliRunner().invoke(cli, ["--db", db, *command])
                assert done.exit_code == 0, done.output
    """,
    "tail": """
        from agentops_local.analytics.feed import Feed
        from agentops_local.analytics.whole import whole_events
        feed = Feed(Path(db), whole_events, already=None)

        def read():
            for event in feed.poll():
                len(event["params"])
            feed.ends()
    """,
    "a program that asks for its figures": """
        import agentops_local
        agentops_local.init(db=db, auto_start_session=False)
        me = agentops_local.start_session()

        def read():
            assert me.get_analytics() is not None
    """,
    "the collector": """
        from agentops_local.server.sqlite_store import SqliteStore
        from agentops_local.server.store import LOCAL
        store = SqliteStore(Path(db))

        def read():
            store.check()
            store.projects()
            assert store.totals(LOCAL, session) is not None
            assert store.export(LOCAL, session) is not None
    """,
}
READING = """
import os, sys
from pathlib import Path
db, session = sys.argv[1:]
{}
read()
say("ready")
times = 0
while not os.path.exists("stop"):
    read()
    times += 1
say("resting", times)
order()
"""


def _let_go_of(db: str) -> bool:
    """Whether nobody keeps the WAL from being emptied now: what a moment does not end, a cursor left open does."""
    with closing(sqlite3.connect(db, timeout=1)) as connection:
        blocked, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return int(blocked) == 0


@pytest.mark.parametrize("kind", OURS)
def test_our_own_readers(project: Path, spawn: Spawn, score: Score, kind: str) -> None:
    """Whatever of ours reads, and however often, leaves no cursor and no transaction open: the WAL stays bounded beside
    it, and can be emptied when it rests."""
    writer = spawn(WRITER, DB, SESSION, LEAST)
    writer.expect("ready")
    reader = spawn(READING.format(flat(OURS[kind])), DB, SESSION)
    reader.expect("ready")
    largest = max(_write(writer, "1")[1] for _ in range(scaled(RECORDED)))
    Path("stop").touch()
    times = int(reader.expect("resting")[1])
    _write(writer, "slowly")
    free = _let_go_of(DB)
    assert reader.finish() == ""
    writer.finish()
    print(f"read {times} times; the WAL had {largest / MB:.1f} MB at most")
    check(acks(writer), DB, score=score)
    assert free
    assert times > 0
    assert largest <= MOST


def test_the_daemon_as_a_reader(project: Path, spawn: Spawn, score: Score, api: AgentOpsAPI) -> None:
    """While agentops-sync uploads what is recorded the WAL stays bounded, and when it waits for more it can be
    emptied."""
    writer = spawn(WRITER, DB, SESSION, LEAST)
    writer.expect("ready")
    with Running.on(Path(DB).absolute(), api) as daemon:
        largest = max(_write(writer, "1")[1] for _ in range(scaled(RECORDED)))
        daemon.until(lambda: len(api.events(SESSION, "tools")) == len(acks(writer)))
        _write(writer, "slowly")
        free = _let_go_of(DB)
        daemon.stop()
    writer.finish()
    print(f"the WAL had {largest / MB:.1f} MB at most")
    check(acks(writer), DB, score=score)
    assert free
    assert largest <= MOST
