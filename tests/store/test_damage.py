"""Damaged files of all kinds, as opened and as they become under an open connection."""

from __future__ import annotations

import logging
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from agentops_local.event import ToolEvent
from agentops_local.recorder.recorder import Recorder
from agentops_local.recorder.state import SessionState
from agentops_local.store import connection as opening
from agentops_local.store.schema import COLUMNS, schema_text
from tests.reliability.tools.crash import DB, Program, check, examine, query

OLD = "0190a000-0000-7000-8000-0000000000aa"
SESSION = "0190a000-0000-7000-8000-0000000000bb"
PAGE = 4096
SEEDS = (1, 2, 3)

# 300 events that stand in the database itself, then 60 that stand in its WAL only.
MASTER = """
import sys
me = Actor(*sys.argv[1:])
for number in range(300):
    me.tool("x" * (number * 37 % 9000))
me.error()
me.recorder.close()
shutil = __import__("shutil")
shutil.copy(sys.argv[1], "closed.db")
me.many(60)
die()
"""


@pytest.fixture(scope="module")
def masters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sound database, once closed (`closed.db`) and once as a killed process left it (`killed.db`)."""
    folder = tmp_path_factory.mktemp("masters")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        program = Program(MASTER, "killed.db", OLD)
        with closing(program):
            program.until(lambda: False)
    return folder


@pytest.fixture
def database(project: Path, masters: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the closed one, in the project; opening looks through all of it however busy the machine is."""
    monkeypatch.setattr(opening, "_QUICK_CHECK", 30.0)
    path = project / DB
    path.parent.mkdir()
    shutil.copy(masters / "closed.db", path)
    shutil.copy(masters / "killed.db-generation", f"{path}-generation")
    return path


class Recording:
    """A session that is recorded by this process."""

    def __init__(self, path: Path, session: str = SESSION) -> None:
        self.recorder = Recorder(path)
        self.state = SessionState(session, tags=["kept"])
        assert self.recorder.start(self.state)

    def events(self, count: int, size: int = 10) -> list[str]:
        """Records as many events, each of which must be stored; their ids."""
        made = [ToolEvent(name="step", params={"text": "y" * size}) for _ in range(count)]
        for event in made:
            assert self.recorder.record(self.state, event, None, None)
        return [str(event.id) for event in made]


def _random(seed: int) -> Random:
    return Random(seed)


def _damaged(path: Path) -> list[Path]:
    return [found for found in path.parent.glob(f"{path.name}.damaged-*") if not found.name.endswith("-wal")]


def _told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def _overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def _truncate(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        file.truncate(size)


def _pages(path: Path) -> int:
    return path.stat().st_size // PAGE


def _any_node(path: Path, random: Random) -> int:
    """Where a page begins that is a node of a tree: what holds only the rest of a text cannot be told to be wrong."""
    data = path.read_bytes()
    return random.choice([at for at in range(PAGE, len(data), PAGE) if data[at] in (2, 5, 10, 13)])


DAMAGES: dict[str, Callable[[Path, Random], object]] = {
    "header garbage": lambda path, random: _overwrite(path, 0, random.randbytes(100)),
    "first page garbage after the header": lambda path, random: _overwrite(path, 100, random.randbytes(PAGE - 100)),
    "first page zeroed": lambda path, _: _overwrite(path, 0, bytes(PAGE)),
    "half a page": lambda path, _: _truncate(path, PAGE // 2),
    "some pages": lambda path, random: _truncate(path, random.randrange(1, _pages(path)) * PAGE),
    "some pages and a bit": lambda path, random: _truncate(path, random.randrange(PAGE + 1, path.stat().st_size)),
    "a page of garbage": lambda path, random: _overwrite(path, _any_node(path, random), random.randbytes(PAGE)),
    "a page of zeros": lambda path, random: _overwrite(path, _any_node(path, random), bytes(PAGE)),
    "random bytes": lambda path, random: path.write_bytes(random.randbytes(random.randrange(600, 50_000))),
    "a text": lambda path, random: path.write_text("What is this?\n" * random.randrange(50, 5000)),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_file_is_put_aside(database: Path, caplog: pytest.LogCaptureFixture, kind: str, seed: int) -> None:
    """A damaged file is kept whole beside a new one, which takes the session and its events; the log says so once, and
    the next opener has nothing to say."""
    DAMAGES[kind](database, _random(seed))
    damaged = database.read_bytes()
    mine = Recording(database)
    events = mine.events(3)
    mine.recorder.close()
    (aside,) = _damaged(database)
    assert aside.read_bytes() == damaged
    (line,) = _told(caplog)
    assert "is damaged" in line
    assert str(aside) in line
    again = Recording(database)
    events += again.events(2)
    again.recorder.close()
    assert sorted(check(events, database).events) == sorted(events)
    assert query(database, "SELECT id, tags FROM sessions") == [(SESSION, '["kept"]')]
    assert _told(caplog) == [line]
    assert _damaged(database) == [aside]


@pytest.mark.parametrize("size", [0, 1])
def test_an_emptied_file(database: Path, caplog: pytest.LogCaptureFixture, size: int) -> None:
    """A database that was emptied is begun anew, and the log says that there was one."""
    _truncate(database, size)
    mine = Recording(database)
    events = mine.events(3)
    mine.recorder.close()
    assert check(events, database).sessions == [SESSION]
    (line,) = _told(caplog)
    assert "removed or emptied" in line


def test_a_new_file_is_no_reason_to_worry(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The first database of a project is begun without a word."""
    mine = Recording(project / DB)
    mine.recorder.close()
    assert _told(caplog) == []


def test_the_columns_are_those_of_the_schema() -> None:
    """What opening looks for is what schema.sql has."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(schema_text())
        for table, columns in COLUMNS.items():
            found = connection.execute(f"SELECT group_concat(name, ', ') FROM pragma_table_info('{table}')").fetchone()
            assert found == (columns,)


@pytest.mark.parametrize("name", ["prompt_tokens", "revision_sent"])
def test_a_column_that_has_another_name(database: Path, name: str) -> None:
    """A schema in which a bit has flipped is sound in SQLite's eyes. Where the recorder needs the column the file is
    put aside; what is recorded is stored in any case."""
    data = database.read_bytes()
    assert name.encode() in data
    database.write_bytes(data.replace(name.encode(), name[:-1].encode() + b"q"))
    mine = Recording(database)
    events = mine.events(3)
    mine.recorder.close()
    assert set(events) <= set(check(events, database).events)
    assert len(_damaged(database)) == (name == "prompt_tokens")


def test_a_schema_that_is_no_text(database: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A schema that SQLite cannot read, and quotes in words that Python cannot, is damage like any other."""
    data = database.read_bytes()
    database.write_bytes(data.replace(b"CREATE TABLE owners", b"CREATE T\xbdBLE owners"))
    mine = Recording(database)
    events = mine.events(3)
    mine.recorder.close()
    assert sorted(check(events, database).events) == sorted(events)
    (line,) = _told(caplog)
    assert "is damaged" in line


LOSSES = {
    "the generation is gone": "DELETE FROM about",
    "the table of events is gone": "DROP TABLE events",
    "a text is none": "UPDATE events SET params = CAST(x'ff80fe' AS TEXT) WHERE seq = (SELECT max(seq) FROM events)",
}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_database_that_lacks_what_it_must_have(database: Path, caplog: pytest.LogCaptureFixture, loss: str) -> None:
    """A file that SQLite takes for sound but that has lost a part of ours is damaged, too."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute(LOSSES[loss])
    mine = Recording(database)
    events = mine.events(3)
    mine.recorder.close()
    assert check(events, database).sessions == [SESSION]
    assert len(_damaged(database)) == 1
    (line,) = _told(caplog)
    assert "is damaged" in line


@pytest.mark.parametrize("value", [b"\0" * 4, b"\xff" * 4, b"\0\0\0\x07"])
@pytest.mark.parametrize("at", [*range(16, 100, 4)])
def test_a_word_of_the_header(database: Path, at: int, value: bytes) -> None:
    """Whatever four bytes of the header are wrong, the events are stored, here or in the fallback database; the file
    is changed only by what SQLite takes for sound."""
    _overwrite(database, at, value)
    damaged = database.read_bytes()
    mine = Recording(database)
    events = mine.events(3)
    place = mine.recorder.database.path
    mine.recorder.close()
    check(events, place)
    if place != database:
        assert database.read_bytes() == damaged
    for aside in _damaged(database):
        assert aside.read_bytes() == damaged


def _wal_header(wal: Path, random: Random) -> None:
    _overwrite(wal, 0, random.randbytes(32))


def _wal_frame(wal: Path, random: Random) -> None:
    _overwrite(wal, random.randrange(32, wal.stat().st_size - 500), random.randbytes(500))


def _wal_cut(wal: Path, random: Random) -> None:
    _truncate(wal, random.randrange(1, wal.stat().st_size))


def _wal_whole(wal: Path, random: Random) -> None:
    wal.write_bytes(random.randbytes(30_000))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("damage", [_wal_header, _wal_frame, _wal_cut, _wal_whole])
def test_a_damaged_wal(
    database: Path, masters: Path, seed: int, damage: Callable[[Path, Random], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Garbage in a WAL that a killed process left costs the last commits at most: all before them, and all that is
    recorded later, is in the database."""
    before = [row[0] for row in query(masters / "closed.db", "SELECT id FROM payloads")]
    for end in ("", "-wal"):
        shutil.copy(masters / f"killed.db{end}", f"{database}{end}")
    damage(Path(f"{database}-wal"), _random(seed))
    mine = Recording(database)
    events = mine.events(3)
    mine.recorder.close()
    truth = check([*before, *events], database)
    assert truth.sessions == [OLD, SESSION]
    assert _damaged(database) == []
    assert _told(caplog) == []


# Another program: it empties the WAL first, so that nothing of the file is remembered, then does its damage.
VANDAL = """
import os, random, sqlite3, sys
path, kind, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
connection = sqlite3.connect(path)
print(connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone())
file = open(path, "r+b")
size = os.fstat(file.fileno()).st_size
begin = {"all but the first page": 4096, "all": 0, "the header": 0}[kind]
file.seek(begin)
file.write(random.Random(seed).randbytes(100 if kind == "the header" else size - begin))
file.flush()
os._exit(0)
"""


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ["all but the first page", "all", "the header"])
def test_damage_under_an_open_connection(
    database: Path, caplog: pytest.LogCaptureFixture, kind: str, seed: int
) -> None:
    """When pages are overwritten while the database is open, the caller sees no exception: the file is put aside as it
    was found, and the session goes on in a new one."""
    mine = Recording(database)
    mine.events(5)
    subprocess.run([sys.executable, "-c", VANDAL, database, kind, str(seed)], check=True, stdout=subprocess.DEVNULL)
    damaged = database.read_bytes()
    events = mine.events(5)
    place = mine.recorder.database.path
    mine.recorder.close()
    assert place == database
    (aside,) = _damaged(database)
    assert aside.read_bytes() == damaged
    assert check(events, database).sessions == [SESSION]
    (line,) = _told(caplog)
    assert "is damaged" in line


def test_damage_twice_within_a_second(database: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each of several damaged files is kept: none takes the name of another."""
    kept = []
    for seed in SEEDS:
        kept.append(_random(seed).randbytes(9000))
        database.write_bytes(kept[-1])
        mine = Recording(database)
        mine.events(1)
        mine.recorder.close()
    assert sorted(path.read_bytes() for path in _damaged(database)) == sorted(kept)
    assert len(_told(caplog)) == len(SEEDS)
    assert examine(database).events.total() == 1
