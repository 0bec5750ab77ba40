"""Places that cannot be used: they are left as they are, and the events go where they can."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agentops_local.errors import DatabaseTooNew, DatabaseUnusable, ForeignDatabase
from agentops_local.event import ToolEvent
from agentops_local.recorder.recorder import Recorder
from agentops_local.recorder.state import SessionState
from agentops_local.store.connection import connect_readonly
from agentops_local.store.location import find_database
from tests.reliability.tools.crash import DB, SESSION, Program, check, query

root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")


def _events(recorder: Recorder, count: int = 3) -> tuple[list[str], list[bool]]:
    """Records as many events; their ids, and what `record` returned."""
    state = SessionState(SESSION)
    recorder.start(state)
    made = [ToolEvent(name="step", params=number) for number in range(count)]
    stored = [recorder.record(state, event, None, None) for event in made]
    return [str(event.id) for event in made], stored


def _told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def _hashes(path: Path) -> list[str]:
    """Of the file and its WAL, if they are there and not empty."""
    files = [file for file in (path, Path(f"{path}-wal")) if file.is_file() and file.stat().st_size]
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]


def _goes_elsewhere(path: Path, caplog: pytest.LogCaptureFixture) -> Path:
    """Whether events meant for `path` go to the user's data folder, said once; where they are."""
    recorder = Recorder(path)
    events, stored = _events(recorder)
    place = recorder.database.path
    recorder.close()
    assert all(stored)
    assert recorder.database.unstored == 0
    assert place.is_relative_to(Path(os.environ["XDG_DATA_HOME"]) / "agentops-local")
    assert check(events, place).sessions == [SESSION]
    (line,) = _told(caplog)
    assert str(place) in line
    # The next process of the project finds the same place.
    again = Recorder(path)
    more, stored = _events(again)
    again.close()
    assert all(stored)
    assert again.database.path == place
    check([*events, *more], place)
    return place


def _newer(path: Path, wal: bool) -> None:
    """A database of a newer version; its last commits stand in its WAL if so wished."""
    program = Program(
        """
        import sqlite3, sys
        me = Actor(sys.argv[1], sys.argv[2])
        me.many(5)
        me.recorder.close()
        newer = sqlite3.connect(sys.argv[1])
        newer.execute("PRAGMA user_version = 99")
        newer.execute("CREATE TABLE of_the_future (x)")
        if sys.argv[3] == "True":
            die()
        newer.close()
        """,
        path,
        SESSION,
        wal,
    )
    with closing(program):
        program.until(lambda: False)
    assert (len(_hashes(path)) == 2) == wal


@pytest.mark.parametrize("wal", [False, True])
def test_a_newer_database_is_not_touched(project: Path, caplog: pytest.LogCaptureFixture, wal: bool) -> None:
    """A database of a newer version keeps every byte, and its WAL too; the events go to the user's data folder, which
    is said once, with the remedy."""
    path = project / DB
    _newer(path, wal)
    before = _hashes(path)
    _goes_elsewhere(path, caplog)
    assert _hashes(path) == before
    assert "upgrade agentops-local" in _told(caplog)[0]


def _foreign(path: Path, application: int, wal: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode = {'wal' if wal else 'delete'}")
        connection.execute(f"PRAGMA application_id = {application}")
        connection.execute("CREATE TABLE recipes (name)")
        connection.execute("INSERT INTO recipes VALUES ('soup')")
        connection.commit()


@pytest.mark.parametrize("wal", [False, True])
@pytest.mark.parametrize("application", [0, 0x47504B47])
def test_the_database_of_another_program_is_not_touched(
    project: Path, caplog: pytest.LogCaptureFixture, application: int, wal: bool
) -> None:
    """The same for an SQLite file of another program."""
    path = project / "recipes.db"
    _foreign(path, application, wal)
    before = _hashes(path)
    _goes_elsewhere(path, caplog)
    assert _hashes(path) == before
    assert query(path, "SELECT name FROM recipes") == [("soup",)]
    assert "another program" in _told(caplog)[0]


def test_an_application_id_without_tables_is_foreign(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A database that another program has only begun is its own already."""
    with closing(sqlite3.connect("begun.db")) as connection:
        connection.execute("PRAGMA application_id = 7")
    before = _hashes(Path("begun.db"))
    _goes_elsewhere(project / "begun.db", caplog)
    assert _hashes(Path("begun.db")) == before


def _below_a_file(project: Path) -> Path:
    (project / "notes").write_text("mine")
    return project / "notes" / "agentops.db"


def _far_below_a_file(project: Path) -> Path:
    return _below_a_file(project) / "deep" / "agentops.db"


def _a_folder(project: Path) -> Path:
    (project / "folder.db").mkdir()
    return project / "folder.db"


def _a_pipe(project: Path) -> Path:
    os.mkfifo(project / "pipe.db")
    return project / "pipe.db"


def _a_loop(project: Path) -> Path:
    (project / "loop").symlink_to("loop")
    return project / "loop" / "agentops.db"


def _too_long(project: Path) -> Path:
    return project / ("x" * 300) / "agentops.db"


@pytest.mark.parametrize("place", [_below_a_file, _far_below_a_file, _a_folder, _a_pipe, _a_loop, _too_long])
def test_a_path_that_cannot_be_a_file(
    project: Path, caplog: pytest.LogCaptureFixture, place: Callable[[Path], Path]
) -> None:
    """Where no file can be, nothing is changed and the events go to the user's data folder."""
    path = place(project)
    _goes_elsewhere(path, caplog)
    notes = project / "notes"
    assert not notes.exists() or notes.read_text() == "mine"


@pytest.mark.parametrize("link", [False, True])
def test_a_folder_that_is_named_holds_the_database(project: Path, caplog: pytest.LogCaptureFixture, link: bool) -> None:
    """A folder named as the database, or a link to one, is where the database is put, without a word."""
    (project / "real").mkdir()
    if link:
        (project / "named").symlink_to("real")
    recorder = Recorder(find_database("named" if link else "real"))
    events, _ = _events(recorder)
    recorder.close()
    check(events, project / "real" / "agentops.db")
    assert _told(caplog) == []


@pytest.fixture
def read_only(project: Path) -> Iterator[Path]:
    """A folder in which nothing can be written, with a database in it."""
    folder = project / "still"
    recorder = Recorder(folder / "agentops.db")
    _events(recorder)
    recorder.close()
    if os.geteuid():
        folder.chmod(0o555)
        yield folder
        folder.chmod(0o755)
        return
    mount = shutil.which("mount")
    if mount is None or subprocess.run([mount, "--bind", folder, folder], check=False, capture_output=True).returncode:
        pytest.skip("root may write everywhere, and here cannot mount")
    try:
        if subprocess.run([mount, "-o", "remount,bind,ro", folder], check=False, capture_output=True).returncode:
            pytest.skip("a read-only mount is refused here")
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("name", ["agentops.db", "new.db", "deeper/new.db"])
def test_a_read_only_folder(read_only: Path, caplog: pytest.LogCaptureFixture, name: str) -> None:
    """In a read-only folder, whether the database is there or not, nothing is recorded but nothing is lost: the events
    go to the user's data folder. What is there can still be read."""
    before = _hashes(read_only / "agentops.db")
    _goes_elsewhere(read_only / name, caplog)
    assert _hashes(read_only / "agentops.db") == before


def test_no_place_at_all(project: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the user's data folder cannot be used either, nothing is raised: the events are kept in memory, and counted;
    they are stored as soon as there is a place."""
    monkeypatch.setattr("agentops_local.store.database._RETRY_AFTER", 0.0)
    data = Path(os.environ["XDG_DATA_HOME"])
    data.rmdir()
    data.write_text("not a folder")
    recorder = Recorder(_below_a_file(project))
    events, stored = _events(recorder, 20)
    assert not any(stored)
    assert recorder.database.unstored == 20
    assert len(_told(caplog)) == 2
    assert "kept in memory" in _told(caplog)[1]
    recorder.close()
    assert "20 events could not be stored" in _told(caplog)[2]
    data.unlink()
    more, stored = _events(recorder, 3)
    assert all(stored)
    assert recorder.database.unstored == 0
    recorder.close()
    assert check([*events, *more], recorder.database.path).events.total() == 23


def test_no_home(project: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same where there is no data folder to think of."""
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", "not/absolute")
    recorder = Recorder(_below_a_file(project))
    _, stored = _events(recorder, 20)
    recorder.close()
    assert not any(stored)
    assert recorder.database.unstored == 20
    assert any("kept in memory" in line for line in _told(caplog))


def _garbage(path: Path) -> None:
    path.write_bytes(b"What is this? " * 500)


UNREADABLE: dict[str, tuple[Callable[[Path], object], type[DatabaseUnusable], str]] = {
    "missing": (lambda path: path, DatabaseUnusable, "record something first, or name one with --db"),
    "a folder": (lambda path: path.mkdir(), DatabaseUnusable, "record something first, or name one with --db"),
    "empty": (lambda path: path.touch(), DatabaseUnusable, "record something first"),
    "foreign": (lambda path: _foreign(path, 0, False), ForeignDatabase, "name another file with db= or --db"),
    "newer": (lambda path: _newer(path, False), DatabaseTooNew, "pip install -U agentops-local"),
    "garbage": (_garbage, DatabaseUnusable, "`agentops-local doctor`"),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_cannot_be_read_is_told_with_the_remedy(project: Path, kind: str) -> None:
    """A file that cannot be read as a database of ours is refused by an error of ours that names the file and the
    remedy; it is not changed."""
    make, error, remedy = UNREADABLE[kind]
    path = project / "some.db"
    make(path)
    before = _hashes(path)
    with pytest.raises(DatabaseUnusable) as caught:
        connect_readonly(path)
    assert type(caught.value) is error
    assert remedy in str(caught.value)
    assert str(path) in str(caught.value)
    assert _hashes(path) == before


@root
@pytest.mark.skipif(sys.platform != "linux", reason="one effective user a thread")
@pytest.mark.parametrize("hidden", ["file", "folder"])
def test_what_may_not_be_read_is_told_too(project: Path, hidden: str) -> None:
    """The file of another user is refused by an error of ours, too."""
    folder = project / "theirs"
    folder.mkdir()
    path = folder / "agentops.db"
    _foreign(path, 0, False)
    (path if hidden == "file" else folder).chmod(0)
    opened = [level for level in project.parents if level.stat().st_mode & 0o001 == 0]
    modes = [level.stat().st_mode for level in opened]
    try:
        for level in opened:
            level.chmod(level.stat().st_mode | 0o001)
        os.seteuid(65534)
        with pytest.raises(DatabaseUnusable, match="yours to read"):
            connect_readonly(path)
    finally:
        os.seteuid(0)
        for level, mode in zip(opened, modes, strict=True):
            level.chmod(mode)
