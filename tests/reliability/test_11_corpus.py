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
from tests.reliability.tools.crash import DB, examine, query, scaled, seed

NEW = "0190a000-0000-7000-8000-0000000000bb"
SEEDS = 20
NUMBERS = {"seq", "session", "owner", "agent", "prompt", "completion", "params", "returns", "logs", "environment",
           "revision", "id", "batch"}  # fmt: skip

pytestmark = pytest.mark.skipif(not has_dbstat(), reason="this SQLite has no dbstat")


class Master:
    """A sound database, and what each of its rows stands on."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "agentops.db"
        make_old(self.path)
        self.sessions = census(self.path, "sessions", "seq")
        self.events = census(self.path, "events", "seq")
        self.messages = census(self.path, "messages", "id")
        self.blobs = census(self.path, "blobs", "id")
        self.whole = {row[0]: row for row in _whole(self.path)}

    def readable(self, touched: set[int]) -> dict[bytes, Row]:
        """The events that no damage of some pages has touched, by their ids."""
        empty = {row.key for row in self.sessions.values() if row.values["id"] == ""}
        return {
            row.values["id"]: row  # type: ignore[misc]
            for row in self.events.values()
            if not row.pages & touched and row.values["session"] not in empty
        }


def _whole(path: Path) -> list[tuple]:
    """What a reader sees of the events."""
    return query(
        path,
        "SELECT p.id, p.kind, p.session_id, p.params, p.returns, p.logs, l.prompt, l.completion, l.model, p.agent_name, "
        "p.init_us, p.end_us, p.extra, p.details FROM payloads p LEFT JOIN llms l ON l.id = p.id",
    )


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Master:
    """Made once: the damages are done to copies."""
    return Master(tmp_path_factory.mktemp("master"))


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
        for number in range(3):
            event = ToolEvent(name="step", params=number, returns=SHARED)
            assert recorder.record(state, event, None, None)
            self.fresh.append(str(event.id))
            if not number:
                took = time.monotonic() - began
        self.place = recorder.database.path  # elsewhere, if the header says that the file is another program's
        recorder.close()
        return took

    def repair(self) -> Repaired:
        """Repairs it; then again, which changes nothing."""
        done = Repair(self.path).run()
        assert not done.failed
        before = self.path.read_bytes()
        again = Repair(self.path).run()
        assert not (again.damage or again.copies or again.failed), again
        assert self.path.read_bytes() == before
        return done

    def judge(self, touched: set[int], score: Score) -> None:
        """What no damage has touched is there, once, and as it was."""
        truth = examine_all(self.path)
        with closing(sqlite3.connect(self.path)) as connection:
            connection.row_factory = sqlite3.Row
            rows = [dict(row) for row in connection.execute("SELECT * FROM events").fetchall()]
        found = {row["id"]: row for row in rows}
        readable = self.master.readable(touched)
        lost = readable.keys() - found.keys()
        doubled = len(rows) - len(found)
        torn = [key for key in readable.keys() - lost if _differ(found[key], readable[key].values)]
        score.add(1, lost=len(lost), doubled=doubled, torn=len(torn))
        assert set(self.fresh) <= (truth if self.place == self.path else examine_all(self.place))
        assert len(lost) <= len(readable) / 100, f"{len(lost)} of {len(readable)} readable events were not salvaged"
        assert not doubled
        assert not torn
        for table in ("messages", "blobs"):
            self._judge_texts(table, touched)
        assert not query(self.path, "SELECT 1 FROM payloads WHERE params LIKE ?", f"%{SECRET}%")

    def _judge_texts(self, table: str, touched: set[int]) -> None:
        column = "content" if table == "messages" else "text"
        now = {row[0] for row in query(self.path, f"SELECT {column} FROM {table}")}
        rows = getattr(self.master, table).values()
        readable = [row for row in rows if not row.pages & touched and isinstance(row.values[column], str)]
        missing = [row for row in readable if row.values[column] not in now]
        assert len(missing) <= len(readable) / 100, f"{len(missing)} of {len(readable)} rows of {table}"


def _differ(now: dict[str, object], was: dict[str, object]) -> bool:
    return any(now[name] != value for name, value in was.items() if name not in NUMBERS)


def examine_all(path: Path) -> set[str]:
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
        touched = damage(kind, case.path, Random(f"{chance.random()} {number}"))
        took = case.record()
        done = case.repair()
        print(number, len(touched), took, [len(copy.unreadable_pages) for copy in done.copies])
        case.judge(touched, score)
        assert took < 2


__all__ = ["damage_wal", "examine", "subprocess"]
