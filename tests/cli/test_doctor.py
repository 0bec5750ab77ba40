from __future__ import annotations

from pathlib import Path

from tests.analytics.recording import Book, died
from tests.cli.calling import call, execute


def test_all_is_well(book: Book) -> None:
    """Where nothing is wrong the exit code is 0, notes or not."""
    died(book, "one")
    said = execute("doctor")
    assert said.code == 0
    assert str(book.path) in said.out.replace("\n" + " " * 21, "")
    assert "died sessions" in said.out
    assert "WRONG" not in said.out


def test_something_is_wrong(book: Book) -> None:
    """Where something is wrong the exit code is 1, and it is said what."""
    book.session()
    book.change("INSERT INTO losses (at_us, pid, events, reason) VALUES (1, 2, 3, 'disk full')")
    said = execute("doctor", "--full")
    assert said.code == 1
    assert "WRONG losses" in said.out
    found = execute("doctor", "--json")
    assert found.code == 1
    assert [one["about"] for one in found.json if one["level"] == "problem"] == ["losses"]


def test_a_damaged_database_can_be_asked_about(book: Book) -> None:
    """What no other command can read, `doctor` reports."""
    book.session()
    book.close()
    book.path.write_bytes(b"garbage " * 1000)
    assert execute("sessions").code == 1
    said = execute("doctor")
    assert said.code == 1
    assert "WRONG database" in said.out
    assert "Traceback" not in said.err


def test_a_key_is_never_printed(project: Path) -> None:
    """Keys in the environment are named, never printed."""
    key = "3b8a1f5e-9c1d-4f8e-8d3e-5a2b7c9d1e0f"
    for line in (["doctor"], ["doctor", "--json"]):
        said = call(*line, AGENTOPS_API_KEY=key, AGENTOPS_PARENT_KEY=key)
        assert "AGENTOPS_API_KEY" in said.out
        assert key not in said.out
