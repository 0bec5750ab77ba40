"""Forks in a signal handler, which may have interrupted a write of the very thread that forks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.reliability.conftest import Spawn
from tests.reliability.scorecard import Score
from tests.reliability.test_03_fork import FORK, HOWS
from tests.reliability.tools.crash import DB, SESSION, acks, check, flat, query, scaled

HANDLER = """
from agentops_local.recorder.writes import SessionWrite
pids = []

def in_child():
    me.many(3)
    me.leave()

def handler(number, frame):
    me.tool("handler, before")
    pids.append(fork(in_child))
    me.tool("handler, after")

signal.signal(signal.SIGUSR1, handler)
"""

MOMENTS = {
    "between writes": """
        me.many(3)
        signal.raise_signal(signal.SIGUSR1)
        me.many(3)
    """,
    "in a transaction": """
        me.many(3)
        once = [True]

        def change(connection, place):
            if once:
                once.clear()
                signal.raise_signal(signal.SIGUSR1)

        me.recorder.change(SessionWrite(me.state, change))
        me.many(3)
    """,
    "in the first transaction": """
        once = [True]

        def change(connection, place):
            if once:
                once.clear()
                signal.raise_signal(signal.SIGUSR1)

        me.recorder.change(SessionWrite(me.state, change))
        me.many(3)
    """,
    "while the database is made": """
        import agentops_local.store.connection as opening
        text = opening.schema_text
        once = [True]

        def schema_text():
            if once:
                once.clear()
                signal.raise_signal(signal.SIGUSR1)
            return text()

        opening.schema_text = schema_text
        me.many(3)
    """,
    "while the database is opened": """
        import agentops_local.store.connection as opening
        me.many(3)
        me.recorder.close()
        look = opening._look_for_damage
        once = [True]

        def look_for_damage(connection):
            if once:
                once.clear()
                signal.raise_signal(signal.SIGUSR1)
            return look(connection)

        opening._look_for_damage = look_for_damage
        me.many(3)
    """,
    "while another thread writes": """
        me.many(3)
        done = []

        def work():
            while not done:
                me.tool("x" * 20_000)

        thread = threading.Thread(target=work)
        thread.start()
        for _ in range(3 if how == "c" else 5):
            signal.raise_signal(signal.SIGUSR1)
        done.append(True)
        thread.join()
        me.many(3)
    """,
}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("how", HOWS)
def test_a_fork_in_a_handler(project: Path, spawn: Spawn, score: Score, how: str, moment: str) -> None:
    """A signal handler may fork whatever it has interrupted: each event of each process is stored once, those it
    recorded in the midst of a write too."""
    program = spawn(
        FORK + HANDLER + flat(MOMENTS[moment]) + "\nsay('codes', *map(reap, pids))\nme.leave()\n", DB, SESSION, how
    )
    errors = program.finish()
    if how == "c" and "thread" in moment:
        # What the other thread held in C at that moment is held for ever: the child may hang, or be refused.
        check(acks(program), DB, score=score)
        return
    truth = check(acks(program) + acks(program, word="kept"), DB, score=score)
    assert truth.sessions == [SESSION]
    assert errors == ""
    assert set(program.said("codes")[0][1:]) == {"0"}
    assert len(set(truth.owners)) == len(truth.owners)


def test_forks_at_any_moment(project: Path, spawn: Spawn, score: Score) -> None:
    """A handler that forks a hundred times while the thread below it records loses no event of anybody."""
    program = spawn(
        FORK
        + """
pids = []

def handler(number, frame):
    if len(pids) < int(sys.argv[4]):
        me.tool("handler")
        pids.append(fork(lambda: me.many(3) or me.leave()))
        signal.setitimer(signal.ITIMER_REAL, 0.003)

me.many(1)
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.003)
while len(pids) < int(sys.argv[4]):
    me.llm("w", 1, len(pids) % 8)
    me.tool()
say("codes", *map(reap, pids))
me.leave()
""",
        DB,
        SESSION,
        "os",
        scaled(100),
    )
    errors = program.finish()
    truth = check(acks(program) + acks(program, word="kept"), DB, score=score)
    print(f"{truth.events.total()} events of {len(truth.owners)} processes\n{errors}")
    assert set(program.said("codes")[0][1:]) == {"0"}
    assert {line[2] for line in program.said("left")} == {"0"}


def test_a_child_does_not_write_what_its_parent_keeps(project: Path, spawn: Spawn, score: Score) -> None:
    """Events that wait in memory when a process forks are stored by it and not by its child, and the same holds for
    the count of those that found no room."""
    program = spawn(
        FORK
        + """
import fcntl
from agentops_local.store.waiting import WaitingRoom
me.many(3)
hurry()
me.database._file.set_patience(True)
me.database.waiting = WaitingRoom(most_writes=10)
held = os.open(db + ".lock", os.O_RDWR)
fcntl.flock(held, fcntl.LOCK_EX)
me.many(14)

def child():
    say("unstored", me.database.unstored)
    os.close(held)
    me.many(3)  # kept as well: the parent still holds the lock
    me.leave()

pid = fork(child)
say("parent", me.database.unstored)
assert reap(pid) == 0
fcntl.flock(held, fcntl.LOCK_UN)
me.many(3)
me.leave()
""",
        DB,
        SESSION,
        "os",
    )
    program.finish()
    kept = [line for line in program.said("kept") if line[1] == str(program.pid)]
    truth = check(acks(program) + [line[2] for line in kept[:10]], DB, score=score)
    assert program.said("unstored") == [["unstored", "0"]]
    assert program.said("parent") == [["parent", "14"]]
    assert truth.lost == 4
    rows = query(DB, "SELECT pid, params FROM events e JOIN owners o ON o.seq = e.owner")
    assert all(pid == json.loads(params)["pid"] for pid, params in rows)
