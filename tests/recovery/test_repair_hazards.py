"""Repairing where something unexpected is in the way: another repair, a schema that is no text."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from agentops_local.analytics.checkup import Checkup
from agentops_local.analytics.finding import Level
from agentops_local.analytics.reading import open_reader
from agentops_local.errors import DatabaseUnusable
from agentops_local.recovery import repair as repairing
from agentops_local.recovery.backup import Refused, make
from agentops_local.recovery.repair import Repair
from tests.recovery.old import make_old
from tests.reliability.tools.crash import query


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database with some sessions."""
    path = tmp_path / "agentops.db"
    make_old(path, 2)
    return path


def test_one_repair_at_a_time(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repair that comes while another is at work is refused, and takes nothing from it: the other salvages all."""
    events = query(database, "SELECT id FROM payloads ORDER BY id")
    with database.open("r+b") as file:
        file.write(bytes(16))
    monkeypatch.setattr(repairing, "_PATIENCE", 0.0)
    refused: list[Refused] = []

    def meanwhile(what: str, done: int, total: int) -> None:
        if (what, done) == ("storing", 0) and not refused:
            with pytest.raises(Refused, match="another repair") as error:
                Repair(database).run()
            refused.append(error.value)

    done = Repair(database, meanwhile).run()
    assert refused
    assert not done.failed
    assert query(database, "SELECT id FROM payloads ORDER BY id") == events
    assert not Repair(database).run().copies


def test_a_file_that_was_emptied_beside_its_wal(database: Path) -> None:
    """Of a file that was emptied, what its WAL holds is salvaged; `doctor` tells of it before a recording throws that
    away."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("VACUUM")  # writes all pages
        log = Path(f"{database}-wal").read_bytes()
    events = query(database, "SELECT id FROM payloads ORDER BY id")
    for left in ("-wal", "-shm"):
        Path(f"{database}{left}").unlink(missing_ok=True)
    database.write_bytes(b"")
    Path(f"{database}-wal").write_bytes(log)
    (found,) = [one for one in Checkup(database, environ={}).run() if one.about == "database"]
    assert (found.level, "its WAL is not" in found.text) == (Level.PROBLEM, True)
    done = Repair(database).run()
    assert not done.failed
    assert query(database, "SELECT id FROM payloads ORDER BY id") == events
    assert Path(f"{done.copies[0].copy}-wal").read_bytes() == log


def test_a_schema_that_is_no_text(database: Path) -> None:
    """A damaged schema of which SQLite quotes what is no text is damage like any other: readers and `backup` get an
    error of ours, `doctor` tells of it, and a repair loses nothing."""
    events = query(database, "SELECT id FROM payloads ORDER BY id")
    data = database.read_bytes()
    assert data.count(b"CREATE TABLE sessions ") == 1
    database.write_bytes(data.replace(b"CREATE TABLE sessions ", b"CREATE \xc7ABLE sessions "))
    for use in (open_reader, make):
        with pytest.raises(DatabaseUnusable, match="its schema cannot be read"):
            use(database)
    found = [finding.about for finding in Checkup(database, environ={}).run() if finding.level is Level.PROBLEM]
    assert "database" in found
    assert not Repair(database).run().failed
    assert query(database, "SELECT id FROM payloads ORDER BY id") == events
