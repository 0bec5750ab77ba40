from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from agentops_local.errors import WrongUse
from agentops_local.server import registry, sqlite_idle, sqlite_store
from agentops_local.server.idle import Idle
from agentops_local.server.sqlite_writer import SqliteWriter
from agentops_local.server.store import StoreUnavailable
from tests.cli.calling import execute
from tests.server.passing import HOUR, OPEN, REASON, House, live, us
from tests.server.running import BEGAN


def test_every_project_is_looked_at(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions end in every project, also in those whose database is not open now; none is kept open for it, those in
    use stay open, and a project that nobody has used gets no database."""
    monkeypatch.setattr(sqlite_store, "_MOST_OPEN", 2)
    with SqliteWriter(house.path) as database:
        mine = str(registry.add_key(database, "me", local=True))
        keys = [str(registry.add_key(database, f"project {number}")) for number in range(5)]
        registry.add_key(database, "unused")
    first = House(house.path)
    sessions = [first.create(key) for key in (mine, *keys)]
    first.store.close()
    house.later(1000)
    house.create(keys[0])
    house.sweep()
    files = sorted((house.path.parent / "projects").glob("*.db"))
    assert len(files) == 5
    found: list[tuple[Any, ...]] = []
    for path in (house.path, *files):
        with closing(sqlite3.connect(path)) as connection:
            found += connection.execute("SELECT id, auto_ended FROM sessions WHERE auto_ended").fetchall()
    assert sorted(found) == sorted((session.id, 1) for session in sessions)
    still_open = [one for one in house.store._projects.values() if one.is_open]
    assert [one.path for one in still_open] == [house.store._database(house.store.projects()[1]).path]


def test_zero_is_never(path: Path) -> None:
    """With a time-out of 0 no session ever ends by itself, nothing is remembered and nothing is swept."""
    house = House(path, 0)
    session = house.create()
    house.later(1e5)
    house.sweep()
    assert session.row == OPEN
    assert house.idle.remembered == 0

    async def pause(_seconds: float) -> None:
        raise AssertionError("there is nothing to wait for")

    anyio.run(live, house, pause, 0)


def test_what_is_remembered_is_bounded() -> None:
    """A session of which nothing was heard for the time-out takes no memory any more."""
    now = 0.0
    idle = Idle(24, lambda: 0.0, lambda: now)
    for number in range(100):
        now = number * HOUR
        idle.hear("p", str(number))
    assert idle.remembered == 24
    assert [one for one in range(100) if not idle.is_silent("p", str(one))] == list(range(76, 100))


@pytest.mark.parametrize(
    ("hours", "pause", "reason"),
    [(24, 600, "24 h"), (1.5, 600, "1.5 h"), (0.5, 450, "30 min"), (1e-9, 1, "6e-08 min")],
)
def test_how_often_it_looks(hours: float, pause: float, reason: str) -> None:
    """It looks four times within the time-out, every ten minutes at least and every second at most; the reason names
    the time-out."""
    idle = Idle(hours)
    assert (idle.pause, idle.reason) == (pause, f"nothing has come for {reason}")


@pytest.mark.parametrize("hours", ["-1", "nan", "inf", "1e300", "soon"])
def test_a_time_out_that_is_none(path: Path, hours: str) -> None:
    """A time-out that is no number of hours is refused with exit code 2, and nothing is made."""
    said = execute("serve", "--port", "0", "--idle", hours, "--db", path)
    assert (said.code, said.out) == (2, "")
    assert "--idle" in said.err
    assert not path.exists()
    if hours != "soon":
        with pytest.raises(WrongUse):
            Idle(float(hours))


def test_it_looks_while_the_app_runs(house: House) -> None:
    """As long as the app runs it looks for such sessions, each time after the pause; it ends with the app."""
    session = house.create()
    pauses = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        house.later(10)

    anyio.run(live, house, pause, 3)
    assert pauses == [600] * 4
    assert session.row == (us(BEGAN), "Indeterminate", REASON, 1)


@pytest.mark.parametrize("fault", [StoreUnavailable("full"), sqlite3.OperationalError("bug"), RuntimeError("bug")])
@pytest.mark.parametrize("where", ["projects", "silent_sessions", "end_silent"])
def test_a_sweep_that_fails_harms_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, where: str, fault: Exception
) -> None:
    """When a sweep fails, in whatever way, the app goes on and the next sweep does the work; a fault of ours is
    logged."""
    session = house.create()
    house.later(25)
    right = getattr(house.store, where)
    calls = []

    def once(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 1:
            raise fault
        return right(*args)

    async def pause(_seconds: float) -> None:
        pass

    monkeypatch.setattr(house.store, where, once)
    with caplog.at_level(logging.ERROR):
        anyio.run(live, house, pause, 2)
    assert session.row[3] == 1
    assert ("the sweep for idle sessions failed" in caplog.text) is not isinstance(fault, StoreUnavailable)


def test_only_events_of_open_sessions_are_read(house: House) -> None:
    """The search reads no events but those of open sessions that clients sent: by the index of their session, and new
    ones by their number."""
    house.create()
    plans = []
    with closing(sqlite3.connect(house.path)) as connection:
        for sql in (
            sqlite_idle._OPEN_BEFORE,
            sqlite_idle._LATE,
            sqlite_idle._LAST,
            sqlite_idle._MARK,
            sqlite_idle._NEW,
        ):
            rows = connection.execute(f"EXPLAIN QUERY PLAN {sql}", [1] * sql.count("?")).fetchall()
            plans.append(" ".join(row[3] for row in rows))
    assert not [plan for plan in plans if "SCAN events" in plan or "TEMP B-TREE" in plan]
    assert "events" not in plans[0]
    assert "session=?" in plans[1]
    assert "session=?" in plans[2]
    assert "PRIMARY KEY (rowid>?)" in plans[4]
