"""The wall clock is set by days, while programs record and while the daemon waits."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.fakes.agentops_api import AgentOpsAPI
from tests.reliability.conftest import Spawn
from tests.reliability.scorecard import Score
from tests.reliability.tools.crash import DB, ROOT, query, scaled
from tests.sync.running import Running, environment, recorded

_LIBRARIES = ("faketime/libfaketimeMT.so.1", "libfaketimeMT.so.1")
_PLACES = (f"/usr/lib/{os.uname().machine}-linux-gnu", "/usr/lib", "/usr/lib64/faketime", "/usr/local/lib")
SETTLE = 1.5  # seconds
TIMING = f"settle={SETTLE},settle_errors={SETTLE},backoff=0.05,longest=0.2,poison=0.2,poll=0.05,running=0.5,connect=2"

# A process and its child record into two sessions, one after the other; every few events the clock goes to another day.
PROGRAM = """
import itertools, os, sys
import agentops_local as agentops
from agentops_local import ActionEvent, ErrorEvent, LLMEvent, ToolEvent
from tests.reliability.tools.inside import say

days = itertools.cycle(("+1d", "-1d", "+0", "-1d", "+1d"))

def set_clock():
    clock = os.environ["FAKETIME_TIMESTAMP_FILE"]
    with open(f"{clock}.{os.getpid()}", "w") as file:
        file.write(next(days) + "\\n")
    os.replace(file.name, clock)

@agentops.record_tool("timed")
def timed():
    set_clock()

def record(event):
    set_clock()
    session.record(event)
    say("ack", os.getpid(), event.id)

def work(count):
    for number in range(count):
        for event in (
            LLMEvent(prompt=[{"role": "user", "content": "when?"}], completion="now", model="m"),
            ToolEvent(name="tick"), ActionEvent(action_type="tock"), ErrorEvent(error_type="Late"),
        ):
            record(event)
        timed()

for number in range(2):
    session = agentops.init() if number == 0 else agentops.start_session()
    set_clock()
    child = os.fork()
    if child == 0:
        work(int(sys.argv[1]))
        say("end", "child")
        session._recorder.close()
        os._exit(0)
    work(int(sys.argv[1]))
    assert os.waitpid(child, 0)[1] == 0
    set_clock()
    session.end_session("Success")
    set_clock()
    session.get_analytics()
"""
# With a true monotonic clock libfaketime 0.9.10 answers clock_nanosleep, which time.sleep calls, with EINVAL.
SLEEP = """
import select, time
time.sleep = lambda seconds: select.select((), (), (), seconds)
"""


@pytest.fixture
def clock(tmp_path: Path) -> dict[str, str]:
    """The environment of a program whose wall clock is set by what stands in a file; the other clocks are true."""
    found = next((path for place in _PLACES for name in _LIBRARIES if (path := Path(place, name)).exists()), None)
    if found is None:
        pytest.skip("faketime is not installed")
    set_to(tmp_path / "clock", "+0")
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(SLEEP)
    return {
        "PYTHONPATH": os.pathsep.join((str(site), str(ROOT))),
        "LD_PRELOAD": str(found),
        "FAKETIME_TIMESTAMP_FILE": str(tmp_path / "clock"),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",  # its name until version 0.9.6
    }


def set_to(clock: Path, text: str) -> None:
    """Sets the wall clock of the programs that look at this file."""
    draft = clock.with_suffix(".draft")
    draft.write_text(text + "\n")
    draft.replace(clock)


def test_recording(project: Path, spawn: Spawn, clock: dict[str, str], score: Score) -> None:
    """Events stand in the order in which they were recorded, whatever the wall clock says; nothing ends before it
    began, and the time that a call took is told by a clock that nobody sets."""
    program = spawn(PROGRAM, scaled(100), environment=clock, begin="")
    errors = program.finish()
    assert "agentops_local" not in errors, errors
    said: dict[str, list[str]] = {}
    for _, pid, event in program.said("ack"):
        said.setdefault(pid, []).append(event)
    order = [row[0] for row in query(DB, "SELECT id FROM payloads ORDER BY seq")]
    wrong = sum(
        [event for event in order if event in known] != events for events in said.values() if (known := set(events))
    )
    recorded = sum(map(len, said.values()))
    lost = recorded - len(set(order).intersection(*[{event for events in said.values() for event in events}]))
    score.add(len(order), lost=lost, torn=wrong)
    assert (lost, wrong) == (0, 0)
    days = query(DB, "SELECT max(init_us) - min(init_us) FROM events")[0][0] / 86_400e6
    assert days > 1.9, "the clock was never set"
    for table, begin in (("events", "init_us"), ("sessions", "init_us"), ("owners", "start_us")):
        assert query(DB, f"SELECT count(*) FROM {table} WHERE end_us < {begin}") == [(0,)], table
    assert query(DB, "SELECT count(*) FROM session_stats WHERE duration_s < 0") == [(0,)]
    longest = query(DB, "SELECT max(end_us - init_us) FROM events WHERE name = 'timed'")[0][0]
    assert longest < 60e6, "a decorated call is timed by the monotonic clock"


@pytest.mark.parametrize("jump", ["+1d", "-1d"])
def test_the_daemon_waits(project: Path, api: AgentOpsAPI, clock: dict[str, str], score: Score, jump: str) -> None:
    """A request of which nothing was heard is left alone for its settle time, though the wall clock says that a day has
    passed, or none; then all of it is there, once."""
    db = project / DB
    session = recorded(db, 5)
    api.fault("lost_answer", path="create_events")
    env = environment(db, api.api_key, AGENTOPS_SYNC_TIMING=TIMING, **clock)
    command = ("run", "--db", str(db), "--endpoint", api.url)
    with Running(*command, env=env, log=db.with_name("agentops-sync.log")) as daemon:
        daemon.until(lambda: any(request.fault for request in api.requests))
        [[sent_us]] = query(db, "SELECT sent_mono_us FROM batches")
        requests = len(api.requests)
        set_to(Path(clock["FAKETIME_TIMESTAMP_FILE"]), jump)
        daemon.until(lambda: len(api.requests) > requests)
        waited = time.monotonic_ns() / 1e9 - sent_us / 1e6  # the same clock for both processes
        daemon.until(lambda: query(db, "SELECT count(*) FROM uploads WHERE state = 'done'") == [(5,)])
        daemon.until(lambda: query(db, "SELECT ended_sent FROM deliveries") == [(1,)])
        daemon.stop()
    score.add(5, doubled=len(api.events(session, "tools")) - 5)
    print(f"{waited:.2f} s of {SETTLE} s")
    assert waited >= SETTLE
    assert len(api.events(session, "tools")) == 5
