"""Events that are recorded in the midst of the recording of another: from signal handlers, finalizers, callbacks, and
at the very end of the process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.conftest import Spawn
from tests.reliability.scorecard import Score
from tests.reliability.tools.crash import DB, SESSION, acks, check, flat, scaled

BEGIN = """
import atexit, gc, os, signal, sys, threading, time, weakref
from agentops_local.recorder.writes import SessionWrite
me = Actor(*sys.argv[1:3])
amount = int(sys.argv[3])
"""

SHAPES = {
    "a storm of signals": """
        count = 0

        def handler(number, frame):
            global count
            count += 1
            me.llm("handler", 1, count % 4)

        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        done = 0
        while count < amount:
            me.llm("main", 1, done % 8)
            me.error()
            done += 2
        signal.setitimer(signal.ITIMER_REAL, 0)
        say("expected", count + done)
        me.leave()
    """,
    "a storm of signals around reads": """
        count = 0

        def handler(number, frame):
            global count
            count += 1
            me.tool(count)

        signal.signal(signal.SIGALRM, handler)
        me.tool()
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        while count < amount:
            found = me.recorder.read(lambda c: c.execute("SELECT count(*) FROM events").fetchone()[0])
            assert found > 0
        signal.setitimer(signal.ITIMER_REAL, 0)
        say("expected", count + 1)
        me.leave()
    """,
    "a storm of signals around opening and closing": """
        count = 0

        def handler(number, frame):
            global count
            count += 1
            me.tool(count)

        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        done = 0
        while count < amount:
            me.tool()
            me.recorder.close()
            done += 1
        signal.setitimer(signal.ITIMER_REAL, 0)
        say("expected", count + done)
        me.leave()
    """,
    "finalizers under garbage collection": """
        gc.set_threshold(20, 2, 2)

        class Dying:
            def __init__(self):
                self.cycle = self
            def __del__(self):
                me.tool("dying")

        for _ in range(amount):
            Dying()
            me.llm("w", 1, 3)
        gc.collect()
        say("expected", 2 * amount)
        me.leave()
    """,
    "callbacks of weak references": """
        class Thing:
            pass

        kept = []
        for _ in range(amount):
            thing = Thing()
            thing.cycle = thing
            kept.append(weakref.ref(thing, lambda _: me.tool("gone")))
            me.tool()
        del thing
        gc.collect()
        say("expected", 2 * amount)
        me.leave()
    """,
    "within a transaction": """
        def change(connection, place):
            for index in range(50):
                me.llm("w", 1, index)
                me.error()

        me.recorder.change(SessionWrite(me.state, change))
        say("expected", 100)
        me.leave()
    """,
    "within an SQLite callback": """
        me.tool()
        connection = me.database._file._connection
        connection.set_trace_callback(lambda sql: me.tool("traced") if sql.startswith("BEGIN") else None)
        for turn in range(10):
            me.llm("w", 1, turn)
        connection.set_trace_callback(None)
        say("expected", 1 + 10 + 10)
        me.leave()
    """,
    "atexit": """
        atexit.register(lambda: me.leave())
        atexit.register(lambda: me.many(5))
        me.many(5)
        say("expected", 10)
    """,
    "the end of the interpreter": """
        class Last:
            def __del__(self):
                me.many(5)
                me.recorder.close()

        me.many(5)
        last = Last()
        say("expected", 10)
    """,
    "threads that outlive the main thread": """
        def work():
            time.sleep(0.05)
            me.many(50)
            me.recorder.close()

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        me.many(5)
        say("expected", 205)
    """,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_recording_in_the_midst_of_recording(project: Path, spawn: Spawn, score: Score, shape: str) -> None:
    """Every event is stored once, whatever it has interrupted."""
    program = spawn(BEGIN + flat(SHAPES[shape]), DB, SESSION, scaled(600))
    log = program.finish()
    events = acks(program) + acks(program, word="kept")
    print(f"{len(acks(program))} stored at once, {len(events) - len(acks(program))} put off")
    truth = check(events, DB, score=score)
    assert truth.events.total() == int(program.said("expected")[0][1]) == len(events)
    assert truth.lost == 0
    assert log == ""
    assert all(line[2] == "0" for line in program.said("left"))


def test_daemon_threads_at_the_end(project: Path, spawn: Spawn, score: Score) -> None:
    """What daemon threads were told is stored is there, though the end of the process cuts them off anywhere."""
    program = spawn(
        BEGIN
        + """
def work():
    while True:
        me.llm("w", 1, 2)

for _ in range(4):
    threading.Thread(target=work, daemon=True).start()
me.many(amount)
""",
        DB,
        SESSION,
        scaled(200),
    )
    program.finish()
    check(acks(program), DB, score=score)


INTERRUPTIONS = {
    "in the transaction": """
        me.tool()
        connection_seen = []

        def change(connection, place):
            if not connection_seen:
                connection_seen.append(connection)
                signal.raise_signal(signal.SIGINT)

        try:
            me.recorder.change(SessionWrite(me.state, change))
            say("swallowed")
        except KeyboardInterrupt:
            pass
        me.tool()
        say("expected", 2)
    """,
    "in the first transaction": """
        seen = []

        def change(connection, place):
            if not seen:
                seen.append(True)
                signal.raise_signal(signal.SIGINT)

        try:
            me.recorder.change(SessionWrite(me.state, change))
            say("swallowed")
        except KeyboardInterrupt:
            pass
        say("expected", 0)
    """,
    "in the event's own transaction": """
        import agentops_local.recorder.prompts as prompts
        import agentops_local.recorder.writes as writes
        me.llm("w", 1, 1)
        grow = writes.grow
        def interrupted(*args):
            writes.grow = grow
            found = grow(*args)
            signal.raise_signal(signal.SIGINT)
            return found
        writes.grow = interrupted
        try:
            me.llm("w", 1, 2)
            say("swallowed")
        except KeyboardInterrupt:
            pass
        me.llm("w", 1, 3)
        say("expected", 3)
    """,
    "while it waits for the lock": """
        import fcntl
        me.tool()
        me.recorder.close()
        held = os.open(sys.argv[1] + ".lock", os.O_RDWR)
        fcntl.flock(held, fcntl.LOCK_EX)

        def handler(number, frame):
            fcntl.flock(held, fcntl.LOCK_UN)
            raise KeyboardInterrupt

        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        try:
            me.tool()
            say("swallowed")
        except KeyboardInterrupt:
            pass
        say("expected", 2)
    """,
    "SystemExit": """
        me.tool()
        armed = [True]

        def change(connection, place):
            if armed:
                armed.clear()
                sys.exit(3)

        try:
            me.recorder.change(SessionWrite(me.state, change))
            say("swallowed")
        except SystemExit:
            pass
        me.tool()
        say("expected", 2)
    """,
}


@pytest.mark.parametrize("shape", INTERRUPTIONS)
def test_an_interruption_comes_through(project: Path, spawn: Spawn, score: Score, shape: str) -> None:
    """Ctrl-C in the midst of a write reaches the program; what was being written is stored once all the same."""
    program = spawn(BEGIN + flat(INTERRUPTIONS[shape]) + "\nme.leave()\n", DB, SESSION, 0)
    log = program.finish()
    assert not program.said("swallowed")
    truth = check(acks(program), DB, score=score)
    assert truth.events.total() == int(program.said("expected")[0][1])
    assert truth.sessions == [SESSION]
    assert log == ""


def test_ctrl_c_while_the_database_is_looked_through(project: Path, spawn: Spawn, score: Score) -> None:
    """An exception from a signal handler during the opening is not swallowed, though it may come in a callback of
    SQLite's."""
    program = spawn(
        BEGIN
        + """
import random
for _ in range(20):
    me.tool(os.urandom(60_000).hex())
me.recorder.close()
came = lost = 0

class Boom(BaseException):
    pass

fired = []

def handler(number, frame):
    fired.append(True)
    raise Boom

signal.signal(signal.SIGALRM, handler)
dice = random.Random(1)

def turn():
    signal.setitimer(signal.ITIMER_REAL, dice.uniform(0.0002, 0.01))
    me.tool()
    me.recorder.close()
    while not fired:
        pass

for _ in range(amount):
    fired.clear()
    try:
        turn()
        lost += 1
    except Boom:
        came += 1
say("result", came, lost)
say("expected", 0)
""",
        DB,
        SESSION,
        scaled(150),
    )
    program.finish()
    assert program.said("result") == [["result", str(scaled(150)), "0"]]
    check(acks(program), DB, score=score)
