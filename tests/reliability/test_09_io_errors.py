"""System calls that fail now and then: a dying disk, a network drive, a quota."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.conftest import Spawn
from tests.reliability.scorecard import Score
from tests.reliability.tools.crash import DB, SESSION, Program, acks, examine, query, scaled
from tests.reliability.tools.faulty_io import Fault, preload

ROUNDS = {"power": 4, "process": 8}  # where each commit waits for the disk they take longer
EVENTS = 400
FAULTS = {
    "fsync": [Fault("sync/fsync", 0.05), Fault("sync/fdatasync", 0.05)],
    "write": [Fault("rw/pwrite", 0.02), Fault("rw/write", 0.02)],
    "open": [Fault("oc/open", 0.01)],
    "full disk": [
        *(Fault(call, 0.02, "ENOSPC") for call in ("rw/pwrite", "rw/write", "rw/ftruncate")),
        Fault("oc/open", 0.01, "ENOSPC"),
    ],
    # SQLite calls a file corrupt of which one read has failed.
    "read": [Fault("rw/pread", 0.0005), Fault("rw/pread/reduce", 0.02, ""), Fault("rw/pwrite/reduce", 0.02, "")],
    "everything": [
        *(Fault(call, 0.05) for call in ("sync/fsync", "sync/fdatasync", "rw/ftruncate", "dir/unlink", "dir/rename")),
        Fault("rw/pwrite", 0.02),
        Fault("oc/open", 0.01),
    ],
}

# Rounds of events while calls fail, then without. In each the connection is closed and opened again, and a child is
# forked in the midst of it.
PROGRAM = """
import logging, os, random, sys
from agentops_local.store import file
from tests.reliability.tools import inside
from tests.reliability.tools.faulty_io import Fault, Faults
db, session, power, rounds, events, faults = sys.argv[1:]
hurry(2.0)  # on a slow disk the other process keeps the lock for more than a moment
logging.raiseExceptions = False  # nor is standard error what is tested
file.WAL_SIZE = 300_000
dice = random.Random(session)
me = Actor(db, session)
me.database.power = power == "power"
bad = Faults()

def say(*words):
    while True:  # the pipe to the test is not what is tested
        try:
            return whole(*words)
        except OSError:
            pass

whole, inside.say = inside.say, say

def work(count):
    for number in range(count):
        kind = number % 10
        if kind < 4:
            me.llm(f"w{os.getpid()}", round, kind)
        elif kind == 4:
            me.tool(dice.randbytes(9000).hex())
        elif kind == 5:
            me.error()
        else:
            me.tool(number)

for round in range(int(rounds)):
    bad.begin(*eval(faults))
    work(int(events) // 2)
    child = os.fork()
    if child == 0:
        work(20)
        say("unstored", os.getpid(), me.database.unstored)
        bad.end()
        me.leave()
        os._exit(0)
    work(int(events) // 2)
    assert os.waitpid(child, 0)[1] == 0
    bad.end()
    say("unstored", os.getpid(), me.database.unstored)
    order()
    me.tool("afterwards")
    say("stored", os.getpid(), me.database.unstored)
    bad.begin(*eval(faults))
    me.recorder.close()
    bad.end()
me.leave()
"""

DYING = """
import sys
me = Actor(*sys.argv[1:])
me.many(20)
me.recorder.close()
me.tool("in the WAL alone")
die()
"""
RENAMING = """
import sys
from tests.reliability.tools.faulty_io import Fault, Faults
hurry()
bad = Faults()
me = Actor(*sys.argv[1:])
bad.begin(Fault("dir/rename", 0.5))
me.many(10)
bad.end()
me.many(1)
me.leave()
"""


@pytest.fixture(autouse=True)
def _libfiu() -> None:
    if preload() is None:
        pytest.skip("libfiu is not installed")


@pytest.mark.parametrize("durability", ["power", "process"])
@pytest.mark.parametrize("case", FAULTS)
def test_calls_that_fail(project: Path, spawn: Spawn, score: Score, case: str, durability: str) -> None:
    """While system calls fail by chance the program goes on, without an exception; nothing acknowledged is lost or
    torn, what is not stored is counted exactly, and once they work again all that waited is stored."""
    rounds = scaled(ROUNDS[durability])
    program = spawn(
        PROGRAM, project / DB, SESSION, durability, rounds, EVENTS, repr(FAULTS[case]), environment=preload()
    )
    for number in range(1, rounds + 1):
        unstored = _until_the_end_of_round(program, number)
        there = _stored(project)
        recorded = {line[2] for word in ("ack", "kept") for line in program.said(word)}
        assert len(recorded - there) == unstored, [
            line for line in program.lines if line[0] not in ("ack", "kept") or line[2] in recorded - there
        ]
        program.tell()
    log = program.finish()
    kept = acks(program, word="kept")
    truth = examine(*_databases(project))
    missing = {*acks(program), *kept} - set(truth.events)
    doubled = sum(times - 1 for times in truth.events.values())
    score.add(len(acks(program)) + len(kept), lost=len(missing), doubled=doubled)
    print(
        f"{len(acks(program))} stored at once, {len(kept)} kept, in {len(_databases(project))} databases\n{log[-2000:]}"
    )
    assert not list(project.rglob("*.damaged*")), "an error is no damage"
    assert kept or case in ("read", "open")  # of those a second try is the end
    assert (missing, doubled, truth.lost) == (set(), 0, 0)
    assert {line[2] for line in program.said("stored") + program.said("left")} == {"0"}


def _until_the_end_of_round(program: Program, number: int) -> int:
    """What the parent says of its unstored events: each child says it, too."""
    program.expect("unstored", 2 * number)
    me = str(program.pid)
    return int([line for line in program.said("unstored") if line[1] == me][number - 1][2])


def _databases(project: Path) -> list[Path]:
    """The database and, if errors made the recorder go elsewhere, the one in the user's data folder."""
    made = sorted(project.parent.rglob("agentops.db"))
    return [db for db in made if query(db, "SELECT 1 FROM sqlite_master WHERE name = 'payloads'")]


def _stored(project: Path) -> set[str]:
    return {row[0] for db in _databases(project) for row in query(db, "SELECT id FROM payloads")}


def test_put_aside_whole(project: Path, spawn: Spawn, score: Score) -> None:
    """A damaged file is put aside with its WAL, or stays where it is: when files cannot be renamed now and then, no
    database ever finds the WAL of another beside it."""
    for number in range(scaled(8)):
        db = project / f"{number}" / DB
        first = spawn(DYING, db, SESSION)
        first.until(lambda: False)
        with db.open("r+b") as file:
            file.write(b"not a page of SQLite" * 1000)
        program = spawn(RENAMING, db, SESSION, environment=preload())
        log = program.finish()
        events = {*acks(program), *acks(program, word="kept")}
        truth = examine(db)
        score.add(len(events), lost=len(events - set(truth.events)))
        assert events == set(truth.events), log
        [aside] = [path for path in db.parent.glob("*.damaged*") if not path.name.endswith("-wal")]
        assert Path(f"{aside}-wal").exists()
