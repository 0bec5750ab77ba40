from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

import pytest

from agentops_local.analytics.finding import Level
from agentops_local.crash_test import killing, trial
from agentops_local.crash_test.killing import Tally
from agentops_local.crash_test.trial import crash_test
from tests.analytics.recording import ROOT, Book
from tests.cli.calling import call
from tests.crash_test.test_killing import LATER


@pytest.fixture(autouse=True)
def here(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs find the library, and are killed early."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(killing, "_MOST", 200)


def test_nothing_is_left_behind(book: Book) -> None:
    """The test is made beside the database, which it does not touch, and leaves nothing there."""
    book.end(book.session())
    book.close()
    before = {file: file.read_bytes() for file in book.path.parent.iterdir()}
    places: list[Path] = []
    found = crash_test(book.path, 0, 5, lambda _: places.extend(book.path.parent.glob(".crash-test-*")))
    assert [finding.about for finding in found] == ["killed", "power cut", "commits"]
    assert places
    assert {file: file.read_bytes() for file in book.path.parent.iterdir()} == before


def test_an_interruption_leaves_nothing_behind(project: Path) -> None:
    """Neither does one that is interrupted, in the midst of it or between two findings; nor is a folder made for a
    database that is not there."""

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    path = project / ".agentops" / "agentops.db"
    with pytest.raises(KeyboardInterrupt):
        list(crash_test(path, 0, 5, interrupt))
    assert list(project.iterdir()) == []
    with closing(crash_test(path, 0, 5)) as found:
        assert next(found).level is Level.FINE
    assert list(project.iterdir()) == []


def test_the_command(book: Book) -> None:
    """`doctor --crash-test` tells a verdict a line; the exit code is 1 if one of them is bad."""
    book.end(book.session())
    said = call("doctor", "--crash-test", "--seconds", "0.1", "--json")
    killed, cut, commits = said.json
    assert killed["text"].startswith("A killed process loses nothing here: ")
    assert killed["data"]["kills"] >= 4
    assert cut["text"].startswith("A power cut: ")
    assert commits["about"] == "commits"
    assert said.code == int("problem" in (killed["level"], cut["level"]))


def test_the_command_on_a_store_that_loses(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a killed process loses what it was promised, it says how much, and the exit code is 1."""
    monkeypatch.setattr(killing, "COMMAND", (sys.executable, "-c", LATER))
    said = call("doctor", "--crash-test", "--seconds", "0.1")
    assert said.code == 1
    assert said.lines[0].startswith("WRONG killed")
    assert "does not keep its events" in said.lines[0]


def test_what_cannot_be(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that cannot be made ends with 1 and a reason, no verdict; two tasks at once are wrong use."""
    monkeypatch.setattr(killing, "COMMAND", (sys.executable, "-c", "raise SystemExit('no room')"))
    said = call("doctor", "--crash-test")
    assert (said.code, said.out) == (1, "")
    assert "no room" in said.err
    assert call("doctor", "--crash-test", "--repair").code == 2
    assert list(project.iterdir()) == []


def test_damage_is_a_verdict() -> None:
    """A database that is damaged by kills is told with what SQLite says of it."""
    finding = trial._killed(Tally(61, 84_211, 0, 0, 0, "page 7 is never used"))
    assert finding.level is Level.PROBLEM
    assert "page 7 is never used" in finding.text
    fine = trial._killed(Tally(61, 84_211, 0, 0, 0, None))
    assert "61 kills, 84,211 acknowledged events, 0 lost, 0 torn" in fine.text
