from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from agentops_local.crash_test import killing
from agentops_local.crash_test.killing import Failed, kill_for, look
from tests.analytics.recording import ROOT
from tests.reliability.tools.crash import scaled

DB = Path("killed.db")
DICE = random.Random(11)

# A store that acknowledges first and commits later, twenty events at a time.
LATER = """
import sys
from agentops_local.crash_test import writer
from agentops_local.recorder.recorder import Recorder
commit, waiting = Recorder.record, []

def record(self, *what):
    waiting.append(what)
    if len(waiting) == 20:
        for one in waiting:
            commit(self, *one)
        waiting.clear()
    return True

Recorder.record = record
writer.main(*sys.argv[1:])
"""
# One that loses the end of what is long.
SHORT = """
import sys
from agentops_local.crash_test import writer
from agentops_local.recorder.recorder import Recorder
commit = Recorder.record

def record(self, state, event, *more):
    if hasattr(event, "completion"):
        event.completion = event.completion[:500]
    return commit(self, state, event, *more)

Recorder.record = record
writer.main(*sys.argv[1:])
"""


@pytest.fixture(autouse=True)
def here(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs find the library, and are killed early."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(killing, "_MOST", 200)


def sabotage(monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    """Has another program record."""
    monkeypatch.setattr(killing, "COMMAND", (sys.executable, "-c", source))


def test_what_was_promised_is_kept() -> None:
    """Programs that are killed at random moments have lost, doubled and torn nothing; every one of them is counted."""
    kills = scaled(4)
    heard: list[int] = []
    tally = kill_for(0, DB, DICE, kills, heard.append)
    assert tally.is_good, tally
    assert heard == list(range(1, kills + 1))
    assert tally.kills == kills + 2
    assert tally.acknowledged >= 2


def test_a_store_that_promises_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that acknowledges before it commits is found out."""
    sabotage(monkeypatch, LATER)
    tally = kill_for(0, DB, DICE, 3)
    assert tally.lost > 0
    assert not tally.is_good


def test_a_store_that_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that does not keep the whole of an event is found out."""
    sabotage(monkeypatch, SHORT)
    tally = kill_for(0, DB, DICE, 3)
    assert tally.torn > 0
    assert not tally.is_good


def test_doubled_and_damaged() -> None:
    """An event that is there twice is counted; a damaged database is told of."""
    assert kill_for(0, DB, DICE, 1).is_good
    with closing(sqlite3.connect(DB)) as connection, connection:
        connection.execute(
            "INSERT INTO sessions (seq, id, revision, init_us) SELECT 99, 'other', 99, init_us FROM sessions LIMIT 1"
        )
        columns = [
            row[1] for row in connection.execute("PRAGMA table_info(events)") if row[1] not in ("seq", "session")
        ]
        names = ", ".join(columns)
        connection.execute(f"INSERT INTO events (session, {names}) SELECT 99, {names} FROM events LIMIT 2")
    assert look(DB, set(), 0).doubled == 2
    with DB.open("r+b") as file:
        file.seek(5 * 4096)
        file.write(b"\xff" * 8192)
    tally = look(DB, set(), 0)
    assert tally.damage
    assert not tally.is_good


def test_a_program_that_cannot_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that ends by itself is no test: it is told what it said last."""
    sabotage(monkeypatch, "raise SystemExit('there is no room')")
    with pytest.raises(Failed, match="ended by itself: there is no room"):
        kill_for(0, DB, DICE)


def test_an_interruption_leaves_no_program() -> None:
    """Ctrl-C ends the programs, too."""

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    before = set(psutil.Process().children())
    with pytest.raises(KeyboardInterrupt):
        kill_for(60, DB, DICE, told=interrupt)
    assert set(psutil.Process().children()) <= before


def test_a_program_that_nobody_hears_ends() -> None:
    """When the test itself is killed, its programs end with their next event."""
    ours, theirs = os.pipe()
    program = subprocess.Popen([*killing.COMMAND, str(DB), "0190a000-0000-7000-8000-000000000001", "w"], stdout=theirs)
    os.close(theirs)
    assert os.read(ours, 1)
    os.close(ours)
    assert program.wait(60) == 0
