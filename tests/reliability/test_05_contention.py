"""Many writers, and one that stops in the midst of a write."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.reliability.conftest import Spawn
from tests.reliability.scorecard import Score
from tests.reliability.tools.crash import DB, SESSION, acks, await_stop, check, listen, scaled

# They begin at one moment and stop at another: the clock is the same for all processes. What was stored is said at the
# end, for a pipe that is full would stop a writer in its stead.
WRITER = """
import os, sys, time
from agentops_local.event import ToolEvent
me = Actor(*sys.argv[1:3], quiet=True)
me.tool("whatever is imported is imported")
say("ready")
begin, end = map(float, order().split())
time.sleep(begin - time.monotonic())
told, worst, now = {True: [], False: []}, 0.0, begin
while now < end:
    event = ToolEvent(name="step", params={"pid": os.getpid(), "value": now})
    before = time.monotonic()
    stored = me.record(event)
    now = time.monotonic()
    worst = max(worst, now - before)
    told[stored].append(event.id)
for stored, word in ((True, "ack"), (False, "kept")):
    for event in told[stored]:
        say(word, os.getpid(), event)
say("worst", worst)
me.leave()
"""


@pytest.mark.slow
def test_many_writers(project: Path, spawn: Spawn, score: Score) -> None:
    """However many processes write at once, none is refused, none waits for long, and none gets much more than another:
    every event is stored when `record` returns."""
    writers = [spawn(WRITER, DB, SESSION) for _ in range(16)]
    listen(writers, lambda: all(program.said("ready") for program in writers))
    begin = time.monotonic() + 0.5
    for program in writers:
        program.tell(f"{begin} {begin + scaled(6)}")
    errors = [program.finish() for program in writers]
    counts = sorted(len(program.said("ack")) for program in writers)
    worst = max(float(program.expect("worst")[1]) for program in writers)
    print(f"{sum(counts)} events; shares from {counts[0]} to {counts[-1]}; the longest wait {worst * 1000:.0f} ms")
    truth = check(acks(*writers), DB, score=score)
    assert errors == [""] * 16
    assert not acks(*writers, word="kept")
    assert truth.events.total() == sum(counts) + 16
    assert worst < 2
    assert counts[-1] <= 3 * counts[0]


def test_a_stopped_writer_stops_no_other(project: Path, spawn: Spawn, score: Score) -> None:
    """While a stopped process holds the writers' lock the others go on, their events in memory and counted; when it
    goes on, all of them are stored, in order."""
    stopped = spawn(
        """
import os, signal, sys
from agentops_local.recorder.writes import SessionWrite
me = Actor(*sys.argv[1:])
me.many(3)
say("stopping")
me.recorder.change(SessionWrite(me.state, lambda connection, place: os.kill(os.getpid(), signal.SIGSTOP)))
me.many(3)
me.leave()
""",
        DB,
        SESSION,
    )
    other = spawn(
        """
import sys
hurry()
me = Actor(*sys.argv[1:])
order()
me.many(20)
say("unstored", me.database.unstored)
order()
me.many(20)
me.leave()
""",
        DB,
        SESSION,
    )
    stopped.expect("stopping")
    await_stop(stopped.pid)
    other.tell()
    assert other.expect("unstored")[1] == "20"
    stopped.send(signal.SIGCONT)
    assert stopped.finish() == ""
    other.tell()
    log = other.finish().splitlines()
    assert len(log) == 2, log
    assert "is a writer stopped or hung?" in log[0]
    assert "20 waiting writes are stored, 0 events were lost" in log[1]
    kept = acks(other, word="kept")
    assert len(kept) == 20
    truth = check(acks(stopped, other) + kept, DB, score=score)
    order = [event for event in truth.events if event in {*kept, *acks(other)}]
    assert order == kept + acks(other)


def test_a_stopped_writer_keeps_a_fork_waiting_no_longer_than_a_write(
    project: Path, spawn: Spawn, score: Score
) -> None:
    """A fork beside a stopped writer goes through, and neither side loses what it recorded before."""
    stopped = spawn(
        """
import os, signal, sys
from agentops_local.recorder.writes import SessionWrite
me = Actor(*sys.argv[1:])
say("stopping")
me.recorder.change(SessionWrite(me.state, lambda connection, place: os.kill(os.getpid(), signal.SIGSTOP)))
me.leave()
""",
        DB,
        SESSION,
    )
    forker = spawn(
        """
import os, sys
hurry()
me = Actor(*sys.argv[1:])
me.many(5)
say("recorded")
order()
me.many(5)
pid = os.fork()
if pid == 0:
    me.many(5)
    say("child")
    while me.database.unstored:
        me.tool()
    os._exit(0)
me.many(5)
say("parent")
assert os.waitpid(pid, 0)[1] == 0
me.leave()
""",
        DB,
        SESSION,
    )
    forker.expect("recorded")
    stopped.expect("stopping")
    await_stop(stopped.pid)
    forker.tell()
    forker.expect("child")
    forker.expect("parent")
    stopped.send(signal.SIGCONT)
    stopped.finish()
    forker.finish()
    check(acks(forker) + acks(forker, word="kept"), DB, score=score)
