"""What may come in the midst of our own code: a fork, an interruption, another event. Signal handlers bring them, and
Python runs those after calls; here they come after a call that is drawn by lot."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from tests.reliability.conftest import Spawn
from tests.reliability.scorecard import Score
from tests.reliability.tools.crash import SESSION, check, query, scaled, seed

# Runs `scene` for many numbers, each with a database of its own. Words said: what was said, of whom, what, which.
STAGE = """
import fcntl, os, random, signal, sys
session, begun, seed, times = sys.argv[1], sys.argv[2] == "begun", int(sys.argv[3]), int(sys.argv[4])

class Player(Actor):
    def record(self, event):
        stored = self.recorder.record(self.state, event, None, None)
        say("ack" if stored else "kept", os.getpid(), event.id, number)
        return stored

def play():
    me = Player(f"n{number}/agentops.db", session)
    if begun:
        me.many(1)
        if number % 2:
            me.recorder.close()
    total = scene(me)
    me.many(1)
    me.recorder.close()
    say("unstored", me.database.unstored)
    return total

def run():
    global number
    number = 10**9  # too many: counts them
    total = play()
    say("total", total)
    for number in sorted(random.Random(seed).sample(range(1, total), min(times, total - 1))):
        play()
"""

SCENES = {
    "fork": """
def scene(me):
    pids = []
    alive, end = os.pipe()

    def fork():
        pid = os.fork()
        if pid:
            pids.append(pid)
            return
        sys.setprofile(None)
        try:
            if number % 3:
                os.close(end)
                os.read(alive, 1)  # until the parent has closed the database
            me.many(2)
            me.recorder.close()
            os._exit(me.database.unstored)
        except BaseException:
            import traceback; traceback.print_exc()
        os._exit(99)

    ended = after_call(number, fork)
    me.llm("w", 1, 2)
    me.tool()
    total = ended()
    me.recorder.close()
    os.close(end)
    os.close(alive)
    for pid in pids:
        assert os.waitpid(pid, 0)[1] == 0
    return total

run()
""",
    "record": """
def scene(me):
    ended = after_call(number, lambda: me.llm("w", 2, 1))
    me.llm("w", 1, 2)
    me.error()
    me.tool()
    me.recorder.close()
    return ended()

run()
""",
    "change": """
from agentops_local.recorder import writes

def scene(me):
    ended = after_call(number, lambda: me.llm("w", 2, 1))
    me.recorder.change(writes.add_tags(me.state, ["first"]))
    me.recorder.change(writes.add_agent(me.state, "0190a000-0000-7000-8000-00000000000a", "Ann"))
    me.recorder.change(writes.add_tags(me.state, ["second"]))
    me.state.end_us, me.state.end_state = me.state.init_us + 1, "Success"
    me.recorder.change(writes.end(me.state))
    me.recorder.close()
    return ended()

run()
""",
    "interrupt": """
def scene(me):
    interrupted = []

    def interrupt():
        interrupted.append(True)
        raise KeyboardInterrupt

    ended = after_call(number, interrupt)
    seen = 0
    for record in (lambda: me.llm("w", 1, 2), me.error, me.tool, me.recorder.close):
        try:
            record()
        except KeyboardInterrupt:
            seen += 1
            free = os.open(me.database._file.lock.path, os.O_RDWR | os.O_CREAT) if me.database.path.exists() else -1
            if free >= 0:
                fcntl.flock(free, fcntl.LOCK_EX | fcntl.LOCK_NB)  # or others would wait for it in vain
                os.close(free)
    total = ended()
    assert seen == len(interrupted), f"{number}: {seen} of {len(interrupted)} interruptions came through"
    return total

run()
""",
}


@pytest.mark.parametrize("begun", ["new", "begun"])
@pytest.mark.parametrize("scene", SCENES)
def test_at_any_moment(project: Path, spawn: Spawn, score: Score, scene: str, begun: str) -> None:
    """A fork, a further event or Ctrl-C at any moment loses nothing that was acknowledged or put off
    and stores nothing twice; an interruption comes through to the program, and the next event is stored. An event in
    the midst of a change of the session costs nothing of that."""
    chances = seed()
    times = scaled({"fork": 60, "record": 100, "change": 60, "interrupt": 150}[scene])
    program = spawn(STAGE + SCENES[scene], SESSION, begun, chances, times)
    errors = program.finish()
    promised: defaultdict[str, list[str]] = defaultdict(list)
    for line in program.said("ack") + program.said("kept"):
        promised[line[3]].append(line[2])
    print(f"{len(promised)} of {program.said('total')[0][1]} moments, seed {chances}\n{errors}")
    at = {line[1]: line[2] for line in program.said("at")}
    for number, events in promised.items():
        print(f"call {number}, {at.get(number)}")
        truth = check(events, f"n{number}/agentops.db", score=score, cases=1)
        assert truth.sessions == [SESSION]
        assert len(set(truth.owners)) == len(truth.owners)
        if scene == "change":
            row = query(f"n{number}/agentops.db", "SELECT tags, end_state FROM sessions")
            assert row == [('["first", "second"]', "Success")]
            assert ("Ann",) in query(f"n{number}/agentops.db", "SELECT name FROM agents")
    assert {line[1] for line in program.said("unstored")} == {"0"}
    assert errors == ""
