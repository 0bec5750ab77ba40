"""Forks of a process that records: by Python, by multiprocessing, and by C code that knows no hooks of Python's."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.conftest import Spawn
from tests.reliability.scorecard import Score
from tests.reliability.tools.crash import DB, SESSION, acks, check, flat

HOWS = ("os", "multiprocessing", "c")

# `fork(child)` runs `child` in a forked process that ends with it, and returns its pid.
FORK = """
import ctypes, multiprocessing, os, signal, sys, threading, time
db, session, how = sys.argv[1:4]
me = Actor(db, session)

def fork(child):
    if how == "multiprocessing":
        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        return process.pid
    # PyDLL keeps the GIL, as an extension that forks does.
    pid = os.fork() if how == "os" else ctypes.PyDLL(None).fork()
    if pid:
        return pid
    try:
        if how == "c":
            signal.alarm(3)  # what another thread held in C at that moment is held for ever
        child()
    except BaseException as error:
        import traceback; traceback.print_exc()
        os._exit(1)
    os._exit(0)

def reap(pid):
    # multiprocessing collects its children itself, now and then
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:
        return 0

def child():
    me.many(10)
    me.leave()
"""

SHAPES = {
    "idle": """
        me.many(5)
        for pid in [fork(child) for _ in range(3)]:
            me.many(5)
            assert reap(pid) == 0
        me.many(5)
    """,
    "before the first write": """
        pids = [fork(child) for _ in range(3)]
        me.many(5)
        assert [reap(pid) for pid in pids] == [0, 0, 0]
    """,
    "child exits first": """
        me.many(5)
        assert reap(fork(lambda: me.many(10))) == 0
        me.many(5)
    """,
    "child exits without recording": """
        me.many(5)
        assert reap(fork(lambda: None)) == 0
        me.many(5)
    """,
    "parent exits first": """
        me.many(5)
        alive, end = os.pipe()

        def orphan():
            os.close(end)
            me.many(5)
            os.read(alive, 1)
            me.many(5)
            me.leave()

        fork(orphan)
        me.many(5)
        me.leave()
        os._exit(0)
    """,
    "parent is killed": """
        me.many(5)
        alive, end = os.pipe()

        def orphan():
            os.close(end)
            os.read(alive, 1)
            me.many(10)
            me.leave()

        fork(orphan)
        me.many(5)
        os._exit(0)
    """,
    "grandchild": """
        me.many(5)

        def middle():
            me.many(5)
            fork(child)
            me.many(5)
            os._exit(0)

        assert reap(fork(middle)) == 0
        me.many(5)
    """,
    "threads": """
        me.many(5)
        done = []

        def work():
            while not done:
                me.tool("x" * 20_000)

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        codes = [reap(fork(child)) for _ in range(4 if how == "c" else 10)]
        done.append(True)
        for thread in threads:
            thread.join()
        me.many(5)
        say("codes", *codes)
    """,
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("how", HOWS)
def test_every_process_keeps_its_events(project: Path, spawn: Spawn, score: Score, how: str, shape: str) -> None:
    """Whoever forks, however, and whoever ends first: what each process was told is stored is there, once."""
    program = spawn(FORK + flat(SHAPES[shape]) + "\nme.leave()\n", DB, SESSION, how)
    errors = program.finish()
    truth = check(acks(program), DB, score=score)
    assert truth.sessions == [SESSION]
    if (how, shape) == ("c", "threads"):
        # What the other thread held in C at that moment is held for ever: such a child may hang, and promises nothing.
        print(f"the children's ends: {program.said('codes')[0][1:]}")
        return
    assert errors == ""
    pids = {line[1] for line in program.said("ack")}
    assert sorted(map(str, truth.owners)) == sorted(pids)
    assert truth.events.total() == len(acks(program))
    assert all(line[2] == "0" for line in program.said("left"))
    assert all(set(line[1:]) == {"0"} for line in program.said("codes"))


def test_no_fork_falls_into_an_import(project: Path, spawn: Spawn, score: Score) -> None:
    """A fork waits for an import that a recording thread is making: else the child would hang at its own first use."""
    Path("slow.py").write_text("from __main__ import begun, forked\nbegun.set()\nforked.wait(0.5)\n")
    program = spawn(
        """
        import os, signal, sys
        from agentops_local.forks import import_whole
        sys.path.insert(0, os.curdir)
        begun, forked = threading.Event(), threading.Event()
        me = Actor(*sys.argv[1:])
        thread = threading.Thread(target=import_whole, args=["slow"])
        thread.start()
        begun.wait()
        pid = os.fork()
        forked.set()
        if not pid:
            signal.alarm(20)
            import_whole("slow")
            me.many(1)
            me.leave()
            os._exit(0)
        thread.join()
        say("code", os.waitpid(pid, 0)[1])
        """,
        DB,
        SESSION,
    )
    program.finish()
    assert program.said("code") == [["code", "0"]]
    check(acks(program), DB, score=score)
