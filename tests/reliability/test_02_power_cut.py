"""Power cuts: what a run wrote is recorded from the kernel's side, and disks are made of it as a cut could leave them,
at any moment and with any part of what was not synced (see tools/powercut/disk.py for the model)."""

from __future__ import annotations

import shutil
import sqlite3
import sys
from pathlib import Path

import pytest

from agentops_local import ToolEvent
from agentops_local.store import file
from tests.fakes.agentops_api import AgentOpsAPI
from tests.reliability.scorecard import Score
from tests.reliability.tools.crash import DB, ROOT, SESSION, flat, scaled, seed
from tests.reliability.tools.inside import Actor
from tests.reliability.tools.powercut.operations import Resize, Run, Said, Sync
from tests.reliability.tools.powercut.trace import can_trace, record
from tests.reliability.tools.powercut.verdict import Figures, judge, rows
from tests.sync.running import COMMAND, environment, names, recorded

IMAGES = 1500
PARTS = 3  # so that two workers share the images of a run

# A day in small: a parent and a forked child in one session, conversations that grow, outputs of tools that are kept
# apart, errors, tags, a WAL that is emptied on the way, then another program that opens what the first has closed.
PROGRAM = """
import os, random, subprocess, sys
import agentops_local as agentops
from agentops_local import ActionEvent, ErrorEvent, LLMEvent, ToolEvent
from agentops_local.store import file
from tests.reliability.tools.inside import conversation, say
durability, kind, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
file.WAL_SIZE = 400_000
dice = random.Random(kind)

def record(event):
    session.record(event)
    told("ack", event.id)

def told(word, name):
    say("kept" if session._recorder.database.waiting else word, os.getpid(), name)

def work(writer, count):
    for number in range(count):
        turn = number % 8
        prompt = conversation(writer, number // 8, turn)
        answer = {"role": "assistant", "content": f"{writer} answers {number // 8}.{turn}"}
        record(LLMEvent(prompt=prompt, completion=answer, model="m",
                        params={"writer": writer, "number": number // 8, "turn": turn}))
        found = dice.randbytes(dice.choice((9, 900, 9000))).hex()
        record(ToolEvent(name="search", params={"n": number}, returns=found))
        if number % 5 == 4:
            record(ErrorEvent(error_type="Timeout", details="it took too long"))
        if number % 9 == 8:
            session.add_tags([f"{writer}{number}"])
            told("fact", f"tag:{session.session_id}:{writer}{number}")

session = agentops.init(db=".agentops/agentops.db", durability=durability, default_tags=[kind])
say("fact", os.getpid(), f"start:{session.session_id}")
say("fact", os.getpid(), f"tag:{session.session_id}:{kind}")
child = os.fork() if kind == "first" else -1
if child == 0:
    work("child", count // 2)
    session._recorder.close()
    os._exit(0)
work(kind, count)
if child > 0:
    assert os.waitpid(child, 0)[1] == 0
session.end_session("Success", "done")
told("fact", f"end:{session.session_id}")
if kind == "first":
    agentops.end_all_sessions()
    session._recorder.close()
    subprocess.run([sys.executable, "-c", *sys.orig_argv[2:3], durability, "second", str(count // 2)], check=True)
"""
NO_WAL = """
from agentops_local.store import file
file.wal_is_safe = lambda _: False
"""
WEAKER = """
from agentops_local.store.file import DatabaseFile
DatabaseFile.set_durability = lambda file, power: file._connection.execute("PRAGMA synchronous = {level}")
"""
MAKING = """
import os, sys
import agentops_local as agentops
from tests.reliability.tools.inside import say
session = agentops.init(db="new/.agentops/agentops.db", durability=sys.argv[1])
say("fact", os.getpid(), f"start:{session.session_id}")
for _ in range(3):
    event = agentops.ActionEvent(action_type="begin")
    session.record(event)
    say("ack", os.getpid(), event.id)
session.end_session("Success")
say("fact", os.getpid(), f"end:{session.session_id}")
"""
BESIDE = """
import os
import agentops_local as agentops
from pathlib import Path
from agentops_sync.ledger import FAULTS, Ledger
from tests.reliability.tools.inside import say
session = agentops.init(db=".agentops/agentops.db")
ledger = Ledger(Path(".agentops/agentops.db").resolve(), "http://127.0.0.1:1")
for number in range(60):
    session.record(agentops.ToolEvent(name="search", returns="x" * 3000))
    try:
        with ledger.transaction() as connection:
            connection.execute("INSERT INTO targets (url) VALUES (?)", (f"note-{number}",))
    except FAULTS:
        continue
    say("ack", os.getpid(), f"note-{number}")
ledger.close()
session.end_session("Success")
"""
ENDING = """
import os, subprocess, sys
import agentops_local as agentops
from tests.reliability.tools.inside import say
session = agentops.init(db=".agentops/agentops.db")
say("fact", os.getpid(), f"start:{session.session_id}")
for _ in range(5):
    event = agentops.ToolEvent(name="search", returns="x" * 3000)
    session.record(event)
    say("ack", os.getpid(), event.id)
if len(sys.argv) > 1:
    session._recorder.close()
    subprocess.run([sys.executable, "-c", *sys.orig_argv[2:3]], check=True)
else:
    session.end_session("Success")
    say("fact", os.getpid(), f"end:{session.session_id}")
"""
ROWS = "SELECT id FROM payloads ORDER BY seq"
FACTS = """
SELECT 'start:' || id FROM sessions WHERE id <> ''
UNION ALL SELECT 'end:' || id FROM sessions WHERE end_us IS NOT NULL AND end_state = 'Success'
UNION ALL SELECT 'tag:' || s.id || ':' || t.value FROM sessions s, json_each(s.tags) t
"""
LEDGER = """
SELECT 'sent:' || p.id FROM uploads u JOIN payloads p ON p.seq = u.event WHERE u.state <> 'pending'
"""


@pytest.fixture(autouse=True)
def _traced() -> None:
    reason = can_trace()
    if reason is not None:
        pytest.skip(reason)


def survivors(folder: Path) -> tuple[list[str], list[str]]:
    """The events and the facts in an image."""
    events, facts = rows(folder / DB, ROWS, FACTS)
    return events, facts


def run(folder: Path, source: str, *arguments: object, inject: str | None = None) -> Run:
    """A program under the eyes of the kernel; its folder is the working directory."""
    done = record(
        [sys.executable, "-c", flat(source), *map(str, arguments)],
        folder,
        env={
            "PYTHONPATH": str(ROOT),
            "AGENTOPS_LOCAL_STRICT": "1",
            "PATH": "/usr/bin:/bin",
            "HOME": str(folder.parent),
        },
        inject=inject,
    )
    assert done.code == 0, done.errors
    assert "Traceback" not in done.errors
    return done


def acknowledged(run: Run, power: bool) -> list[tuple[int, str]]:
    """What has to be there, from which moment on: with `power` all that was acknowledged; else the starts, ends and
    tags of sessions, and with each of them the events that its process had recorded before it."""
    said = sorted(run.lines("ack") + run.lines("fact"))
    promised: list[tuple[int, str]] = []
    before: dict[str, list[str]] = {}
    for moment, (word, pid, name) in said:
        before.setdefault(pid, []).append(name)
        if power or word == "fact":
            promised += [(moment, each) for each in before.pop(pid)]
    return promised


def cut(run: Run, images: int, power: bool, project: Path, chance: int) -> Figures:
    """What becomes of a run of PROGRAM."""
    order, facts = survivors(project)
    promised = acknowledged(run, power)
    assert len(order) == len(run.lines("ack")) > 90
    assert not run.lines("kept")
    assert {name for _, name in promised} <= {*order, *facts}
    figures = judge(run, images, chance, survivors, promised, order)
    print(f"{len(run.operations)} operations, {len(promised)} promised, seed {chance}: {figures}")
    return figures


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("durability", ["power", "process"])
def test_a_power_cut(project: Path, score: Score, durability: str, part: int) -> None:
    """With `durability="power"` nothing acknowledged is lost by a power cut; without it starts, ends and tags of
    sessions are not, nor what the same process recorded before them. The file is never corrupt, and what is there are
    the first events of all that were recorded."""
    done = run(project, PROGRAM, durability, "first", 40)
    assert (
        sum(operation == Resize(operation.node, 0) for operation in done.operations if isinstance(operation, Resize))
        > 1
    )
    figures = cut(done, scaled(IMAGES // PARTS), durability == "power", project, seed() + part)
    score.add(figures.images, lost=figures.lost, torn=figures.corrupt + figures.disordered)
    assert (figures.lossy, figures.corrupt, figures.disordered) == (0, 0, 0), figures


@pytest.mark.parametrize("durability", ["power", "process"])
def test_with_a_rollback_journal(project: Path, score: Score, durability: str) -> None:
    """Where the filesystem forbids a WAL, a commit survives a power cut all the same: with the name of its journal,
    which comes back when only the journal's removal is lost, it would be undone."""
    done = run(project, NO_WAL + PROGRAM, durability, "alone", 50)
    figures = cut(done, scaled(300), True, project, seed())
    score.add(figures.images, lost=figures.lost, torn=figures.corrupt + figures.disordered)
    assert (figures.lossy, figures.corrupt, figures.disordered) == (0, 0, 0), figures


@pytest.mark.parametrize("durability", ["power", "process"])
def test_a_sync_that_fails(project: Path, score: Score, durability: str) -> None:
    """After a sync of the WAL has failed, which makes the system forget what it still had to write, nothing is promised
    before all of the WAL has been written anew: what was promised survives a power cut, nothing is ever corrupt."""
    done = run(project, PROGRAM, durability, "first", 40, inject="fdatasync:error=EIO:when=12+7")
    assert sum(operation.failed for operation in done.operations if isinstance(operation, Sync)) > 2
    order, _ = survivors(project)
    figures = judge(done, scaled(500), seed(), survivors, acknowledged(done, durability == "power"), order)
    score.add(figures.images, lost=figures.lost, torn=figures.corrupt)
    # The order is another: what could not be acknowledged may be there all the same, and is stored again later.
    assert (figures.lossy, figures.corrupt) == (0, 0), figures


def test_the_last_sync_fails(project: Path, score: Score) -> None:
    """A sync of the WAL that fails while the last program closes takes nothing from what the next one promises."""
    for which in (8, 7, 9, 6, 10, 5, 11):  # versions of SQLite differ in what they sync before
        shutil.rmtree(project / ".agentops", ignore_errors=True)
        done = run(project, ENDING, "process", "first", inject=f"fdatasync:error=EIO:when={which}")
        failed = [number for number, each in enumerate(done.operations) if isinstance(each, Sync) and each.failed]
        begun = [number for number, (_, _, name) in done.lines("fact") if name.startswith("start:")]
        if failed and done.lines("ack")[4][0] < failed[0] < begun[1]:
            break
    else:
        raise AssertionError("no program failed where it closes")
    order, _ = survivors(project)
    figures = judge(done, scaled(200), seed(), survivors, acknowledged(done, False), order)
    score.add(figures.images, lost=figures.lost, torn=figures.corrupt)
    assert (figures.lossy, figures.corrupt) == (0, 0), figures


@pytest.mark.parametrize("level", ["OFF", "NORMAL"])
def test_the_simulator_finds_what_is_wrong(project: Path, level: str) -> None:
    """A store that does not wait for the disk loses what it promised in the same simulator; one that never waits is
    corrupt, too."""
    done = run(project, WEAKER.format(level=level) + PROGRAM, "power", "first", 40)
    figures = cut(done, 200, True, project, seed())
    assert figures.lossy > 20
    assert (figures.corrupt > 0) is (level == "OFF")


@pytest.mark.parametrize(
    ("durability", "begin"),
    [("power", ""), ("process", ""), ("power", NO_WAL)],
    ids=("power", "process", "rollback journal"),
)
def test_while_the_database_is_made(
    project: Path, score: Score, monkeypatch: pytest.MonkeyPatch, durability: str, begin: str
) -> None:
    """Whatever a power cut leaves of a database that was being made, the next program records into it, finds there what
    was acknowledged, puts nothing aside, and git still ignores all of it."""
    if begin:
        monkeypatch.setattr(file, "wal_is_safe", lambda _: False)
    done = run(project, begin + MAKING, durability)
    order, _ = survivors(project / "new")
    figures = judge(done, scaled(300), seed(), _next_program, acknowledged(done, durability == "power"), order)
    score.add(figures.images, lost=figures.lost, torn=figures.corrupt + figures.disordered)
    assert (figures.lossy, figures.corrupt, figures.disordered) == (0, 0, 0), figures


def _next_program(folder: Path) -> tuple[list[str], list[str]]:
    db = folder / "new" / DB
    me = Actor(str(db), SESSION, quiet=True)
    try:
        if not me.record(ToolEvent(name="afterwards")):
            raise sqlite3.DatabaseError("the next event was not stored")
    finally:
        me.recorder.close()
    if me.database.path != db or list(db.parent.glob("*.damaged*")):
        raise sqlite3.DatabaseError(f"the next event went elsewhere: {sorted(db.parent.iterdir())}")
    if db.with_name(".gitignore").read_text().splitlines()[-1:] != ["*"]:
        raise sqlite3.DatabaseError("git no longer ignores the folder")
    if not db.with_name("agentops.db-generation").exists():
        raise sqlite3.DatabaseError("nothing says that the file is ours: damaged, it would not be put aside")
    events, facts = survivors(folder / "new")
    return events[:-1], facts


def test_the_ledger_is_ahead_of_the_network(project: Path, api: AgentOpsAPI, score: Score) -> None:
    """Before an event's first byte leaves the machine the ledger says so, on the disk: after a power cut the daemon
    knows what may have arrived, and sends none of it again unasked."""
    db = project / DB
    sessions = [recorded(db, 15, f"tool {number}") for number in range(4)]
    command = [*COMMAND, "once", "--db", str(db), "--endpoint", api.url]
    done = record(command, project, environment(db, api.api_key))
    assert done.code == 0, done.errors
    assert sum(len(names(api, session)) for session in sessions) == 60
    order, known = rows(db, ROWS, LEDGER)
    sent = [
        (moment, f"sent:{event}")
        for moment, operation in enumerate(done.operations)
        if isinstance(operation, Said) and operation.socket
        for event in order
        if event in operation.text
    ]
    assert {name for _, name in sent} == set(known)
    assert len(known) == 60
    figures = judge(done, scaled(400), seed(), _ledger, sent, order)
    score.add(figures.images, lost=figures.lost, torn=figures.corrupt + figures.disordered)
    print(f"{len(done.operations)} operations, {len(sent)} sent: {figures}")
    assert (figures.lossy, figures.corrupt, figures.disordered) == (0, 0, 0), figures


def _ledger(folder: Path) -> tuple[list[str], list[str]]:
    events, known = rows(folder / DB, ROWS, LEDGER)
    return events, known


def test_the_ledger_after_a_sync_that_fails(project: Path, score: Score) -> None:
    """What the ledger notes after a failed sync, beside a recorder whose commits were not on the disk yet, survives a
    power cut like all it notes."""
    done = run(project, BESIDE, inject="fdatasync:error=EIO:when=8+7")
    assert sum(operation.failed for operation in done.operations if isinstance(operation, Sync)) > 2
    order, _ = _notes(project)
    promised = [(moment, name) for moment, (_, _, name) in sorted(done.lines("ack"))]
    assert len(promised) > 20
    figures = judge(done, scaled(400), seed(), _notes, promised, order)
    score.add(figures.images, lost=figures.lost, torn=figures.corrupt)
    # The order is another: a note that failed may be there all the same, and is made again later.
    assert (figures.lossy, figures.corrupt) == (0, 0), figures


def _notes(folder: Path) -> tuple[list[str], list[str]]:
    notes, _ = rows(folder / DB, "SELECT url FROM targets ORDER BY id", "SELECT 1 WHERE 0")
    return notes, []
