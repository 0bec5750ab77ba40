from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
import sqlite_utils
from sqlite_utils.migrations import Migrations

from agentops_local import clock
from agentops_local.errors import DatabaseTooNew
from agentops_local.event import ToolEvent
from agentops_local.recorder.recorder import Recorder
from agentops_local.recorder.state import SessionState
from agentops_local.store import connection as opening
from agentops_local.store import migrations, schema
from agentops_local.store.backup import back_up
from agentops_local.store.migrations import migrate

SCRIPT = schema.schema_text()


@pytest.fixture
def file(project: Path) -> Path:
    """A database of this version that holds a session and an event."""
    file = project / ".agentops" / "agentops.db"
    record(file, "old")
    return file


@pytest.fixture
def connection(file: Path) -> Iterator[sqlite3.Connection]:
    """A connection to it, as the store makes them."""
    with closing(opening.connect(file)) as connection:
        yield connection


def record(file: Path, name: str) -> None:
    """A session of one event."""
    recorder = Recorder(file)
    assert recorder.record(SessionState(str(clock.new_id())), ToolEvent(name=name, returns="x" * 3000), None, None)
    recorder.close()


def to_version_2(fails: type[BaseException] | None = None) -> Migrations:
    """Two changes, of which the second may fail at its end."""
    changes = Migrations("test")

    @changes()
    def add_notes(db: sqlite_utils.Database) -> None:
        db.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL)")

    @changes()
    def add_mood(db: sqlite_utils.Database) -> None:
        db.execute("ALTER TABLE sessions ADD COLUMN mood TEXT")
        db.execute("UPDATE sessions SET mood = 'calm'")
        if fails is not None:
            raise fails("in the midst of it")

    return changes


def content(connection: sqlite3.Connection) -> list[str]:
    """All of a database, as SQL."""
    return list(connection.iterdump())


def version(connection: sqlite3.Connection) -> int:
    """The version that the file says."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def tables(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
    """Tables, indexes and views, as they were declared."""
    return connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY rowid").fetchall()


def backups(file: Path) -> list[Path]:
    """The backups beside a database."""
    return sorted(file.parent.glob("*.backup*"))


class TestMigrate:
    def test_it_leads_to_the_new_version_with_all_that_was_there(
        self, file: Path, connection: sqlite3.Connection
    ) -> None:
        """After it the file says the new version, has what the changes add, and every row it had."""
        before = connection.execute("SELECT id, name, returns FROM tools").fetchall()
        migrate(connection, file, to_version_2(), 2)
        assert not connection.in_transaction
        assert version(connection) == 2
        assert connection.execute("SELECT count(*) FROM notes").fetchone() == (0,)
        assert connection.execute("SELECT mood FROM sessions").fetchall() == [("calm",)]
        assert connection.execute("SELECT id, name, returns FROM tools").fetchall() == before
        assert len(before) == 1
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)

    def test_the_old_database_is_kept_beside_it(self, file: Path, connection: sqlite3.Connection) -> None:
        """The backup is named after the old version, holds all that the old one held, and is sound."""
        before = content(connection)
        saved = migrate(connection, file, to_version_2(), 2)
        assert backups(file) == [saved]
        assert saved.name.startswith("agentops.db.v1-")
        with closing(sqlite3.connect(saved)) as old:
            assert content(old) == before
            assert version(old) == 1
            assert old.execute("PRAGMA application_id").fetchone() == (schema.APPLICATION_ID,)
            assert old.execute("PRAGMA integrity_check").fetchone() == ("ok",)

    @pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
    def test_only_its_owner_may_read_the_backup(self, file: Path, connection: sqlite3.Connection) -> None:
        """The backup is as private as the database, whatever the umask."""
        umask = os.umask(0)
        try:
            saved = migrate(connection, file, to_version_2(), 2)
        finally:
            os.umask(umask)
        assert stat.S_IMODE(saved.stat().st_mode) == 0o600

    @pytest.mark.parametrize("error", [ValueError, sqlite3.OperationalError, KeyboardInterrupt])
    def test_all_changes_are_made_or_none(
        self, file: Path, connection: sqlite3.Connection, error: type[BaseException]
    ) -> None:
        """When the second of two changes fails, the first is undone with it, and the file says the old version."""
        before = content(connection)
        with pytest.raises(error, match="in the midst"):
            migrate(connection, file, to_version_2(error), 2)
        assert not connection.in_transaction
        assert version(connection) == 1
        assert content(connection) == before

    def test_one_that_failed_can_be_tried_again_at_once(self, file: Path, connection: sqlite3.Connection) -> None:
        """A migration that fails leaves no backup behind: attempts would fill the disk, and be in each other's way."""
        for _ in range(2):
            with pytest.raises(ValueError, match="in the midst"):
                migrate(connection, file, to_version_2(ValueError), 2)
            assert backups(file) == []
        saved = migrate(connection, file, to_version_2(), 2)
        assert version(connection) == 2
        assert backups(file) == [saved]

    def test_a_backup_that_fails_changes_nothing(self, file: Path, connection: sqlite3.Connection) -> None:
        """Without a backup there is no migration, and half a backup is none."""
        target = file.with_name("a.backup")

        class Full(sqlite3.Connection):
            def backup(self, *arguments: object, **options: object) -> None:
                raise sqlite3.OperationalError("database or disk is full")

        with closing(sqlite3.connect(file, factory=Full, isolation_level=None)) as full:
            with pytest.raises(sqlite3.OperationalError, match="full"):
                back_up(full, target)
            with pytest.raises(sqlite3.OperationalError, match="full"):
                migrate(full, file, to_version_2(), 2)
        assert backups(file) == []
        assert version(connection) == 1

    def test_a_backup_never_takes_the_place_of_a_file(self, file: Path, connection: sqlite3.Connection) -> None:
        """A file of that name stays as it is."""
        target = file.with_name("a.backup")
        target.write_text("mine")
        with pytest.raises(FileExistsError):
            back_up(connection, target)
        assert target.read_text() == "mine"

    def test_the_recorder_brings_an_old_file_up_by_itself(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """An older file is brought up to the program's version by the first write, once; then recording goes on in
        it, and only a program of that version opens it."""
        monkeypatch.setattr(opening, "VERSION", 2)
        monkeypatch.setattr(migrations, "migrate", partial(migrate, migrations=to_version_2(), to=2))
        record(file, "new")
        record(file, "newer")
        with closing(sqlite3.connect(file)) as connection:
            assert version(connection) == 2
            assert connection.execute("SELECT name FROM tools ORDER BY seq").fetchall() == [
                ("old",),
                ("new",),
                ("newer",),
            ]
            assert connection.execute("SELECT count(*) FROM notes").fetchone() == (0,)
        assert len(backups(file)) == 1
        monkeypatch.setattr(opening, "VERSION", 1)
        with pytest.raises(DatabaseTooNew):
            opening.connect_readonly(file)


class TestSchema:
    def test_a_new_database_is_what_the_schema_says(self, connection: sqlite3.Connection) -> None:
        """What the store creates equals what any SQLite tool makes of schema.sql, to the letter."""
        with closing(sqlite3.connect(":memory:")) as reference:
            reference.executescript(SCRIPT)
            assert tables(connection) == tables(reference)
        assert version(connection) == schema.VERSION

    def test_its_statements_are_those_of_sqlite(self) -> None:
        """Executed one by one, the statements make what the whole text makes, and none is lost or empty."""
        with closing(sqlite3.connect(":memory:")) as whole, closing(sqlite3.connect(":memory:")) as parts:
            whole.executescript(SCRIPT)
            for statement in schema.statements(SCRIPT):
                assert sqlite3.complete_statement(statement)
                parts.execute(statement)
            assert tables(parts) == tables(whole)
        created = [line for line in SCRIPT.splitlines() if line.startswith("CREATE ")]
        assert len(schema.statements(SCRIPT)) == len(created)

    def test_a_semicolon_in_a_text_ends_no_statement(self) -> None:
        """Semicolons in texts and comments belong to their statement, and comments between statements to none."""
        text = "-- one; two\n\nCREATE TABLE a (b TEXT DEFAULT ';' -- c; d\n);\n  -- e;\nSELECT '--;\n;';\n"
        assert schema.statements(text) == ["CREATE TABLE a (b TEXT DEFAULT ';' -- c; d\n);", "SELECT '--;\n;';"]

    def test_there_are_as_many_versions_as_migrations(self) -> None:
        """Version 1 has no migration. The first one comes with a copy of version 1, from which it leads to schema.sql:
        then this test compares the two."""
        assert schema.VERSION == 1
        with closing(sqlite_utils.Database(memory=True).conn) as connection:
            assert migrations.MIGRATIONS.pending(sqlite_utils.Database(connection)) == []

    def test_it_lies_beside_the_package_or_one_folder_up(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A checkout has schema.sql at its root and a wheel in the package, which comes first; without either, the
        installation is called broken."""
        load = schema.schema_text.__wrapped__
        assert load() == (Path(__file__).parents[2] / "schema.sql").read_text(encoding="utf-8")
        module = tmp_path / "agentops_local" / "store" / "schema.py"
        module.parent.mkdir(parents=True)
        monkeypatch.setattr(schema, "__file__", str(module))
        with pytest.raises(FileNotFoundError, match="broken"):
            load()
        (tmp_path / "schema.sql").write_text("checkout")
        assert load() == "checkout"
        (tmp_path / "agentops_local" / "schema.sql").write_text("wheel")
        assert load() == "wheel"
