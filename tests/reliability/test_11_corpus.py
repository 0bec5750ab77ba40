"""A database damaged in every way there is: noticed, put aside, a new one at once, and what is readable put back.

What is readable is known from the sound file, by SQLite's own `dbstat`: the rows of which no page was touched.
"""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from agentops_local.event import ToolEvent
from agentops_local.recorder.recorder import Recorder
from agentops_local.recorder.state import SessionState
from agentops_local.recovery.repair import Repair, Repaired
from agentops_local.store import connection as opening
from tests.recovery.old import SECRET, SHARED, make_old
from tests.reliability.scorecard import Score
from tests.reliability.tools.census import Row, census, has_dbstat
from tests.reliability.tools.corrupt import KINDS, damage, damage_wal
from tests.reliability.tools.crash import DB, SESSION, Program, query, scaled, seed

NEW = "0190a000-0000-7000-8000-0000000000bb"
SEEDS = 20
AT_ONCE = 2.0  # seconds from the first use of a damaged file until an event is stored; each opening has to keep it
NUMBERS = {"seq", "session", "owner", "agent", "prompt", "completion", "params", "returns", "logs", "environment",
           "revision", "id", "batch"}  # fmt: skip

pytestmark = pytest.mark.skipif(not has_dbstat(), reason="this SQLite has no dbstat")


class Master:
    """A sound database, and what each of its rows stands on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sessions = census(self.path, "sessions", "seq")
        self.events = census(self.path, "events", "seq")
        self.messages = census(self.path, "messages", "id")
        self.blobs = census(self.path, "blobs", "id")
        empty = {row.key for row in self.sessions.values() if row.values["id"] == ""}
        self.there = [row for row in self.events.values() if row.values["session"] not in empty]

    def readable(self, touched: set[int]) -> dict[object, Row]:
        """The events that no damage of some pages has touched, by their ids."""
        return {row.values["id"]: row for row in self.there if not row.pages & touched}


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Master:
    """Made once: the damages are done to copies."""
    path = tmp_path_factory.mktemp("master") / "agentops.db"
    make_old(path, 8)
    return Master(path)


class Case:
    """One damaged file, from the damage to the repair."""

    def __init__(self, master: Master, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(opening, "_QUICK_CHECK", 30.0)  # looks through all of it however busy the machine is
        self.master = master
        self.path = project / DB
        shutil.rmtree(self.path.parent, ignore_errors=True)
        self.path.parent.mkdir()
        shutil.copy(master.path, self.path)
        shutil.copy(f"{master.path}-generation", f"{self.path}-generation")
        self.place = self.path
        self.fresh: list[str] = []

    def record(self) -> float:
        """Records into it; how long the first event took to be in a database."""
        began = time.monotonic()
        recorder = Recorder(self.path)
        state = SessionState(NEW, tags=["new"])
        recorder.start(state)
        took = 0.0
        for number in range(3):
            event = ToolEvent(name="step", params=number, returns=SHARED)
            assert recorder.record(state, event, None, None)
            self.fresh.append(str(event.id))
            took = took or time.monotonic() - began
        self.place = recorder.database.path  # elsewhere, if the header says that the file is another program's
        recorder.close()
        return took

    def repair(self, again: bool) -> Repaired:
        """Repairs it; then perhaps again, which changes nothing."""
        done = Repair(self.path).run()
        assert not done.failed
        if again:
            self._repair_again()
        return done

    def _repair_again(self) -> None:
        before = self.path.read_bytes()
        assert Repair(self.path).run() in (Repaired(), Repaired(emptied=True))
        assert self.path.read_bytes() == before

    def judge(self, touched: set[int], score: Score, truth: Master | None = None) -> None:
        """What no damage has touched is there, once, and as it was."""
        master = truth or self.master
        seen = examine(self.path)
        with closing(sqlite3.connect(self.path)) as connection:
            connection.row_factory = sqlite3.Row
            rows = [dict(row) for row in connection.execute("SELECT * FROM events").fetchall()]
        found = {row["id"]: row for row in rows}
        readable = master.readable(touched)
        lost = readable.keys() - found.keys()
        doubled = len(rows) - len(found)
        torn = [key for key in readable.keys() - lost if _differ(found[key], readable[key].values)]
        score.add(1, lost=len(lost), doubled=doubled, torn=len(torn))
        assert set(self.fresh) <= (seen if self.place == self.path else examine(self.place))
        assert len(lost) <= len(readable) / 100, f"{len(lost)} of {len(readable)} readable events were not salvaged"
        assert not doubled
        assert not torn
        for table in ("messages", "blobs"):
            self._judge_texts(getattr(master, table), table, touched)
        assert SECRET.encode() not in self.path.read_bytes()

    def _judge_texts(self, was: dict[int, Row], table: str, touched: set[int]) -> None:
        column = "content" if table == "messages" else "text"
        now = {row[0] for row in query(self.path, f"SELECT {column} FROM {table}")}
        readable = [row for row in was.values() if not row.pages & touched and isinstance(row.values[column], str)]
        missing = [row for row in readable if row.values[column] not in now]
        assert len(missing) <= len(readable) / 100, f"{len(missing)} of {len(readable)} rows of {table}"


def _differ(now: dict[str, object], was: dict[str, object]) -> bool:
    return any(now[name] != value for name, value in was.items() if name not in NUMBERS)


def examine(path: Path) -> set[str]:
    """The events of a database, which must be sound, and every view of which must be readable to its end."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        for view in ("llms", "tools", "actions", "errors", "session_stats", "egress"):
            connection.execute(f"SELECT * FROM {view}").fetchall()
        return {row[0] for row in connection.execute("SELECT id FROM payloads")}


@pytest.fixture
def chance() -> Random:
    """Where a test draws from; told when it fails."""
    drawn = seed(1)
    print(f"AGENTOPS_TEST_SEED={drawn}")
    return Random(drawn)


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file(
    project: Path, master: Master, monkeypatch: pytest.MonkeyPatch, score: Score, kind: str, chance: Random
) -> None:
    """Whatever was done to a file, the next recording is stored within 2 s, and after a repair the database is sound
    and holds every event of which no page was touched, as it was; another repair changes nothing."""
    for number in range(scaled(SEEDS)):
        case = Case(master, project, monkeypatch)
        touched = damage(kind, case.path, Random(chance.random()))
        took = case.record()
        done = case.repair(again=number % 4 == 0)
        print(f"{number}: {len(touched)} pages, {took:.2f} s, {[copy.unreadable_pages for copy in done.copies]}")
        case.judge(touched, score)
        assert took < AT_ONCE


GROWING = """
import sys
me = Actor(*sys.argv[1:])
for number in range(30):
    me.tool("z" * (number * 37 % 3000))
die()
"""


@pytest.fixture(scope="module")
def killed(master: Master) -> Path:
    """The same, with the WAL that a killed process has left beside it."""
    path = master.path.with_name("killed.db")
    shutil.copy(master.path, path)
    with closing(Program(GROWING, path, SESSION)) as program:
        program.until(lambda: False)
    return path


def test_a_damaged_file_and_its_wal(
    project: Path, master: Master, killed: Path, monkeypatch: pytest.MonkeyPatch, score: Score, chance: Random
) -> None:
    """Where the WAL that a killed process has left is torn, and the file damaged as well, the next recording is stored
    within 2 s, and what comes back is what SQLite would have found with that WAL in a sound file, but for the pages
    that were touched."""
    for number in range(scaled(SEEDS)):
        case = Case(master, project, monkeypatch)
        for end in ("", "-wal"):
            shutil.copy(f"{killed}{end}", f"{case.path}{end}")
        damage_wal(Path(f"{case.path}-wal"), Random(chance.random()))
        # What SQLite finds in it is learnt from a copy, for it moves the WAL into the file.
        sound = project / "sound.db"
        for end in ("", "-wal"):
            shutil.copy(f"{case.path}{end}", f"{sound}{end}")
        truth = Master(sound)
        touched = damage("garbage pages", case.path, Random(chance.random()))
        took = case.record()
        case.repair(again=number % 4 == 0)
        case.judge(touched, score, truth)
        assert took < AT_ONCE


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="there is no sqlite3 program")
@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"one byte"}))
def test_no_fewer_than_the_sqlite3_program_finds(
    project: Path, master: Master, monkeypatch: pytest.MonkeyPatch, score: Score, kind: str, chance: Random
) -> None:
    """Every event that `.recover` of the sqlite3 program finds in a damaged file is salvaged."""
    for number in range(2):
        case = Case(master, project, monkeypatch)
        damage(kind, case.path, Random(chance.random()))
        theirs = _recovered(case.path, project / f"recovered{number}.db") & {row.values["id"] for row in master.there}
        case.repair(again=False)
        ours = {row[0] for row in query(case.path, "SELECT id FROM events")}
        score.add(1, lost=len(theirs - ours))
        assert theirs <= ours


def _recovered(path: Path, new: Path) -> set[object]:
    """The events that the sqlite3 program finds, also where it does not know their table any more."""
    copy = path.with_name("theirs.db")  # the program opens it for writing
    shutil.copy(path, copy)
    text = subprocess.run(["sqlite3", copy, ".recover --ignore-freelist"], capture_output=True).stdout
    subprocess.run(["sqlite3", new], input=text, capture_output=True)
    copy.unlink()
    with closing(sqlite3.connect(new)) as connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        found: set[object] = set()
        if "events" in tables:
            found |= {row[0] for row in connection.execute("SELECT id FROM events")}
        if "lost_and_found" in tables:
            found |= {row[0] for row in connection.execute("SELECT c2 FROM lost_and_found WHERE nfield = 32")}
    return found
