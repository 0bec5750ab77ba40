"""Databases of other versions: every release's is opened without a loss, a newer one's is not touched.

The fixtures are made by tests/reliability/tools/make_fixture.py, one for each release.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from agentops_local import __version__
from agentops_local.cli import cli
from agentops_local.event import ToolEvent
from agentops_local.store import schema
from agentops_local.store.location import fallback_database
from agentops_sync.cli import cli as sync
from tests.fakes.agentops_api import AgentOpsAPI
from tests.reliability.conftest import Spawn
from tests.reliability.scorecard import Score
from tests.reliability.tools.crash import DB, ROOT, SESSION, Program, listen, query, scaled
from tests.reliability.tools.make_fixture import FOLDER, fixture, load
from tests.store.test_migrations import backups, tables
from tests.sync.driving import Machine

RELEASED = re.findall(r"^## \[?(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
FIXTURES = sorted(FOLDER.glob("*.sql"))
MOST = 200_000  # bytes

# What a program of a later version does when it opens an older file: two changes, of which the second may wait.
LATER = """
import sqlite3, sys
from functools import partial
from sqlite_utils.migrations import Migrations
from agentops_local.store import connection as opening, migrations
changes = Migrations("test")

@changes()
def add_notes(db):
    db.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL)")

@changes()
def add_mood(db):
    db.execute("ALTER TABLE sessions ADD COLUMN mood TEXT")
    db.execute("UPDATE sessions SET mood = 'calm'")
    say("migrating")
    if "wait" in sys.argv:
        order()

opening.VERSION = 2
migrations.migrate = partial(migrations.migrate, migrations=changes, to=2)
"""


@pytest.fixture(params=FIXTURES, ids=[path.stem for path in FIXTURES])
def old(project: Path, request: pytest.FixtureRequest) -> Path:
    """The project's database, as a release has left it."""
    db = project / DB
    load(request.param, db)
    return db


def rows(db: Path) -> dict[str, set[tuple]]:
    """Every row of every table."""
    return {name: set(query(db, f"SELECT * FROM {name}")) for name in names(db, "table")}


def names(db: Path, kind: str) -> list[str]:
    """The tables, or the views."""
    found = query(db, "SELECT name FROM sqlite_master WHERE type = ? AND name NOT LIKE 'sqlite_%'", kind)
    return [row[0] for row in found]


def sound(db: Path) -> None:
    """It is whole, and every view can be read."""
    assert query(db, "PRAGMA integrity_check") == [("ok",)]
    assert query(db, "PRAGMA foreign_key_check") == []
    for view in names(db, "view"):
        query(db, f"SELECT * FROM {view}")


def digests(folder: Path) -> dict[str, str]:
    """The files of a database but its lock, by content."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()
            if path.is_file() and not path.name.endswith(".lock")}  # fmt: skip


def test_every_release_has_its_database(score: Score) -> None:
    """There is a database of every release, and of the version in work, small enough to be kept for ever, with a row in
    every table and every state that an event can be in."""
    wanted = {*RELEASED, __version__}
    missing = [version for version in wanted if not fixture(version).is_file()]
    score.add(len(wanted), lost=len(missing))
    assert not missing, "python -m tests.reliability.tools.make_fixture"
    versions = set()
    for path in FIXTURES:
        assert path.stat().st_size <= MOST
        with closing(sqlite3.connect(":memory:")) as made:
            made.executescript(path.read_text(encoding="utf-8"))
            versions.add(made.execute("PRAGMA user_version").fetchone()[0])
            listed = made.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
            for (name,) in listed.fetchall():
                assert made.execute(f"SELECT count(*) FROM {name}").fetchone()[0], f"{path.name}: {name} is empty"
            states = {state for (state,) in made.execute("SELECT DISTINCT state FROM uploads")}
            assert {"pending", "flying", "done", "dead"} <= states
            kinds = {kind for (kind,) in made.execute("SELECT DISTINCT kind FROM events")}
            assert {"llms", "tools", "actions", "errors", "apis"} <= kinds
    assert set(range(1, schema.VERSION + 1)) <= versions


@pytest.mark.skipif(__version__ in RELEASED, reason="this version is released: its database stays as it is")
def test_the_version_in_work(project: Path, score: Score) -> None:
    """As long as a version is not released, its database has the schema that it will have."""
    db = project / "made.db"
    load(fixture(__version__), db)
    score.add(1)
    with closing(sqlite3.connect(db)) as made, closing(sqlite3.connect(":memory:")) as reference:
        reference.executescript(schema.schema_text())
        assert sorted(row[1:] for row in tables(made)) == sorted(row[1:] for row in tables(reference)), (
            "python -m tests.reliability.tools.make_fixture"
        )


def test_recording_and_uploading_go_on(old: Path, tmp_path: Path, score: Score) -> None:
    """Today's program opens it: no row is lost, every view is read, recording goes on in it, and everything that was
    recorded is uploaded to a new server, once; what was noted of the old one stays."""
    before = rows(old)
    sound(old)
    with AgentOpsAPI(actions_work=True) as server:
        machine = Machine(old.parent, server)
        try:
            session = machine.session()
            session.record(ToolEvent(name="today"))
            session.end_session("Success")
            machine.steps(12)
            there = sum(len(server.events(str(one[0]), kind)) for one in query(old, "SELECT id FROM sessions")
                        for kind in ("llms", "tools", "actions", "errors"))  # fmt: skip
            target = machine.row("SELECT id FROM targets WHERE url = ?", server.url)["id"]
            keyed = machine.row("SELECT count(*) AS n FROM events e JOIN sessions s ON s.seq = e.session "
                                "WHERE s.key_hash IS NOT NULL")["n"]  # fmt: skip
            states = {row["state"]: row["n"] for row in machine.rows(
                "SELECT state, count(*) AS n FROM uploads WHERE target = ? GROUP BY state", target)}  # fmt: skip
        finally:
            machine.close()
    after = rows(old)
    sound(old)
    # Who has left, the revision of a session, and that a price has ended, may be noted meanwhile; spending is a cache.
    kept = {"sessions": 2, "owners": 3, "about": 1, "prices": 9}  # columns
    lost = {}
    for name, held in before.items():
        gone = {row[: kept.get(name)] for row in held} - {row[: kept.get(name)] for row in after[name]}
        if gone and name != "spending":
            lost[name] = gone
    score.add(1, lost=len(lost))
    assert not lost
    count = len(before["events"]) + 1
    assert states["done"] == there == count - keyed


@pytest.mark.parametrize("how", ["recorder", "collector", "daemon"])
def test_a_later_version_brings_it_up(old: Path, spawn: Spawn, how: str, score: Score) -> None:
    """A later version's change of the schema keeps every row, and the old database beside the new, whoever opens it
    first."""
    before, count = rows(old), len(query(old, "SELECT * FROM sessions"))
    opened = {
        "recorder": 'me = Actor(sys.argv[1], "0190a000-0000-7000-8000-000000000001")\nme.tool()\nme.leave()',
        "collector": "from pathlib import Path\nfrom agentops_local.server.sqlite_writer import SqliteWriter\n"
        "from agentops_local.server import registry\nwriter = SqliteWriter(Path(sys.argv[1]))\n"
        'registry.add_key(writer, "later")\nwriter.close()',
        "daemon": "from pathlib import Path\nfrom agentops_sync.ledger import Ledger\n"
        'ledger = Ledger(Path(sys.argv[1]), "http://127.0.0.1:1")\nwith ledger.transaction() as connection:\n'
        '    connection.execute("SELECT 1")\nledger.close()',
    }[how]
    program = spawn(LATER + opened, old)
    program.finish()
    assert len(program.said("migrating")) == 1
    (saved,) = backups(old)
    assert rows(saved) == before
    assert query(saved, "PRAGMA user_version") == [(1,)]
    after = rows(old)
    lost = {name for name, held in before.items() if name != "sessions" and not held <= after[name]}
    score.add(1, lost=len(lost))
    assert not lost
    assert query(old, "PRAGMA user_version") == [(2,)]
    assert query(old, "SELECT count(*) FROM sessions WHERE mood = 'calm'") == [(count,)]
    sound(old)


def test_a_migration_that_is_killed(old: Path, spawn: Spawn, score: Score) -> None:
    """SIGKILL in the midst of a migration leaves the old version whole; the next program brings it up."""
    before = rows(old)
    recording = f'me = Actor(sys.argv[1], "{SESSION}")\nme.tool()\nme.leave()'
    lost = 0
    for _ in range(scaled(2)):
        program = spawn(LATER + recording, old, "wait")
        program.expect("migrating")
        program.kill()
        lost += rows(old) != before
        assert query(old, "PRAGMA user_version") == [(1,)]
        sound(old)
        for saved in backups(old):
            assert rows(saved) == before
            saved.rename(saved.with_name("killed"))  # the next one may be made within the same second
    score.add(1, lost=lost)
    assert not lost
    spawn(LATER + recording, old).finish()
    assert query(old, "PRAGMA user_version") == [(2,)]
    assert rows(old)["events"] > before["events"]


def test_two_migrate_at_once(old: Path, spawn: Spawn, score: Score) -> None:
    """Of processes that open an older database at the same moment one brings it up, once, and all record."""
    events = len(rows(old)["events"])
    source = LATER + f'me = Actor(sys.argv[1], "{SESSION}")\nsay("ready")\norder()\nme.many(5)\nme.leave()'
    programs = [spawn(source, old) for _ in range(4)]
    listen(programs, lambda: all(program.said("ready") for program in programs))
    for program in programs:
        program.tell()
    assert [program.finish() for program in programs] == [""] * 4
    times = sum(len(program.said("migrating")) for program in programs)
    stored = len(rows(old)["events"]) - events
    score.add(1, lost=20 - stored, doubled=times - 1)
    assert times == 1
    assert len(backups(old)) == 1
    assert stored == 20
    sound(old)


# A newer one ---------------------------------------------------------------------------------------------------------

LOCAL = (
    "sessions", "show last", "stats --json", "tail -n 1", "doctor", "doctor --repair", "rm last",
    "prune --older-than 1s", "keys list", "keys add team", "backup", "serve --port 0",
)  # fmt: skip
SYNC = ("once", "run", "status", "verify last", "requeue", "--dry-run")
COMMANDS = [(cli, words.split()) for words in LOCAL] + [
    (sync, ["--endpoint", "http://127.0.0.1:1", "--api-key", SESSION, *words.split()]) for words in SYNC
]


@pytest.fixture
def newer(old: Path) -> Path:
    """The database of a version that does not exist yet, as its programs left it."""
    with closing(sqlite3.connect(old)) as connection:
        connection.execute("ALTER TABLE sessions RENAME TO runs")
        connection.execute("PRAGMA user_version = 99")
        connection.commit()
    (old.parent / ".gitignore").write_text("*\n")
    Path(f"{old}-generation").write_text("its own\n")
    assert not Path(f"{old}-wal").exists()
    return old


def test_no_command_touches_a_newer_one(newer: Path, score: Score) -> None:
    """Every command refuses a newer database with a sentence that says what to do, and leaves each file as it is; none
    is made beside it."""
    before = digests(newer.parent)
    wrong = {}
    for command, arguments in COMMANDS:
        done = CliRunner().invoke(command, arguments)
        told = "upgrade agentops-local" in " ".join(done.output.split())
        if done.exit_code == 0 or not told or not isinstance(done.exception, SystemExit):
            wrong[" ".join(arguments)] = f"{done.exit_code}, {done.exception!r}: {done.output[-300:]}"
        if digests(newer.parent) != before:
            wrong[" ".join(arguments)] = f"files: {set(digests(newer.parent).items()) ^ set(before.items())}"
            break
    score.add(len(COMMANDS), lost=len(wrong))
    assert not wrong


def test_no_program_touches_a_newer_one(newer: Path, project: Path, spawn: Spawn, score: Score) -> None:
    """A program whose database is a newer version's records into the user's data folder, says so once, and leaves each
    file as it is."""
    before = digests(newer.parent)
    program: Program = spawn(
        """
        import agentops_local as agentops
        session = agentops.init()
        for number in range(5):
            agentops.record(agentops.ToolEvent(name="step"))
        session.end_session("Success")
        """
    )
    log = program.finish().splitlines()
    fallback = fallback_database(project / DB)
    stored = query(fallback, "SELECT count(*) FROM events")[0][0]
    score.add(1, lost=5 - stored)
    assert stored == 5
    assert digests(newer.parent) == before
    assert len(log) == 1
    assert "upgrade agentops-local" in log[0]
    assert str(fallback) in log[0]
