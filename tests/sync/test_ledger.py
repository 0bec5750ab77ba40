from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agentops_local.errors import DatabaseUnusable
from agentops_sync.ledger import FAULTS, Ledger
from tests.sync.driving import Machine, tool

URL = "https://example.org"


@pytest.fixture
def ledger(machine: Machine) -> Iterator[Ledger]:
    """The ledger of a database with one session."""
    machine.session()
    made = Ledger(machine.file, URL)
    yield made
    made.close()


def test_its_transactions_survive_a_power_cut(ledger: Ledger) -> None:
    """A transaction of the ledger is synchronous=FULL, in WAL mode: on the disk when the block has ended."""
    with ledger.transaction() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert connection.in_transaction
    assert not ledger.read(lambda c: c.in_transaction)


def test_what_raises_changes_nothing(ledger: Ledger) -> None:
    """A block that raises undoes its transaction, and the next one can begin."""
    target = ledger.target

    def fail() -> None:
        with ledger.transaction() as connection:
            connection.execute("UPDATE targets SET accepted = 7")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with ledger.transaction() as connection:
        assert connection.execute("SELECT id, accepted FROM targets").fetchall() == [(target, 0)]


def test_others_can_write_when_it_has_ended(machine: Machine, ledger: Ledger) -> None:
    """The writers' lock is free after a transaction, also after one that failed."""
    session = machine.session()
    with pytest.raises(KeyError), ledger.transaction():
        raise KeyError
    session.record(tool())
    assert machine.value("SELECT count(*) FROM events") == 1


def test_there_is_no_ledger_without_a_database(tmp_path: Path) -> None:
    """A ledger makes no database where there is none, and says so each time."""
    ledger = Ledger(tmp_path / "folder" / "agentops.db", URL)
    for _ in range(2):
        with pytest.raises(DatabaseUnusable, match="no database"):
            ledger.read(lambda c: c.execute("SELECT 1").fetchone())
        with pytest.raises(DatabaseUnusable, match="no database"), ledger.transaction():
            pass
    assert not (tmp_path / "folder" / "agentops.db").exists()
    ledger.close()


def test_a_database_that_is_removed_meanwhile_is_noticed(machine: Machine, ledger: Ledger) -> None:
    """Nothing is written into a file that is no longer at its path."""
    assert ledger.target
    machine.recorder.close()
    for file in machine.file.parent.glob("agentops.db*"):
        file.rename(f"{file}.away")
    with pytest.raises(FAULTS), ledger.transaction():
        pass
    assert not machine.file.exists()


def test_the_target_of_another_file_is_another(machine: Machine, ledger: Ledger) -> None:
    """A file that takes the place of the old one has a target of its own, written down with its first use."""
    assert ledger.target == 1
    machine.recorder.close()
    for file in machine.file.parent.glob("agentops.db*"):
        file.rename(f"{file}.away")
    with closing(Machine(machine.file.parent / "other", machine.server)) as other:
        other.session()
        other.recorder.close()
        other.file.replace(machine.file)
    with ledger.transaction() as connection:
        connection.execute("INSERT INTO targets (url) VALUES ('https://first.example.org')")
    assert ledger.target == 2
    assert machine.column("SELECT url FROM targets ORDER BY id") == ["https://first.example.org", URL]


def test_each_endpoint_has_a_ledger_of_its_own(machine: Machine, ledger: Ledger) -> None:
    """Two endpoints never share a row, and one keeps its number."""
    other = Ledger(machine.file, "https://other.example.org")
    again = Ledger(machine.file, URL)
    assert [ledger.target, other.target, again.target] == [1, 2, 1]
    other.close()
    again.close()


def test_a_change_by_others_is_seen(machine: Machine, ledger: Ledger) -> None:
    """The number of changes differs when another connection has committed, and stays when none has."""
    session = machine.session()
    before = ledger.changed()
    assert ledger.changed() == before
    session.record(tool())
    assert ledger.changed() != before


def test_reading_does_not_wait_for_writers(machine: Machine, ledger: Ledger) -> None:
    """A query answers while another connection is in the midst of a transaction, and sees none of it."""
    assert ledger.target == 1
    with closing(sqlite3.connect(machine.file, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE targets SET accepted = 5")
        assert ledger.read(lambda c: c.execute("SELECT accepted FROM targets").fetchone()) == (0,)
        writer.execute("ROLLBACK")
