from __future__ import annotations

import sys
from pathlib import Path

import pytest

from agentops_local import analytics
from agentops_local.analytics.checkup import Checkup, copies, sqlite_findings, wal_reset_bug
from agentops_local.analytics.finding import Finding, Level
from agentops_local.store import filesystem
from tests.analytics.recording import Book, died

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes")


def checked(path: Path, full: bool = False, **environ: str) -> dict[str, Finding]:
    """The findings, by what they are about."""
    return {finding.about: finding for finding in Checkup(path, full, environ).run()}


def problems(path: Path) -> list[str]:
    """What is wrong."""
    return [finding.about for finding in Checkup(path, environ={}).run() if finding.level is Level.PROBLEM]


@pytest.mark.parametrize(
    ("version", "has_it"),
    [
        ((3, 6, 23), False), ((3, 7, 0), True), ((3, 40, 1), True), ((3, 44, 5), True), ((3, 44, 6), False),
        ((3, 44, 9), False), ((3, 45, 0), True), ((3, 50, 6), True), ((3, 50, 7), False), ((3, 51, 0), True),
        ((3, 51, 2), True), ((3, 51, 3), False), ((3, 52, 0), True), ((3, 52, 9), True), ((3, 53, 0), False),
        ((4, 0, 0), False),
    ],
)  # fmt: skip
def test_versions_with_the_wal_reset_bug(version: tuple[int, int, int], has_it: bool) -> None:
    """The bug is named for the versions that have it, and for no other."""
    assert wal_reset_bug(version) is has_it
    (finding,) = sqlite_findings(version)
    assert finding.level is (Level.NOTE if has_it else Level.FINE)
    assert ("WAL-reset" in finding.text) is has_it


def test_all_is_well(book: Book) -> None:
    """A database in use, as the recorder makes it, has nothing wrong; it is said who records."""
    book.tool(book.session())
    found = checked(book.path, full=True)
    assert not [finding for finding in found.values() if finding.level is Level.PROBLEM]
    assert found["integrity"].text == "integrity_check: ok"
    assert str(book.path) in found["database"].text
    assert found["losses"].level is Level.FINE
    assert found["recording now"].data != []


def test_a_database_that_is_not_there_is_no_problem(project: Path) -> None:
    """Before the first event there is no database, and nothing is wrong; nothing is made by looking."""
    found = checked(project / ".agentops/agentops.db")
    assert found["database"].level is Level.NOTE
    assert list(project.iterdir()) == []


def test_a_session_that_died_is_noted(book: Book) -> None:
    """Sessions whose process died are worth knowing, and no fault of the database."""
    session = died(book, "one")
    finding = checked(book.path)["died sessions"]
    assert (finding.level, finding.data) == (Level.NOTE, [session])


def test_scores_of_what_is_not_here_are_noted(book: Book) -> None:
    """Scores that are about an event that is not here are counted, and no fault of the database."""
    state = book.session()
    tool = book.tool(state)
    analytics.score(state.id, "helpful", 1, event=str(tool.id))
    assert "scores" not in checked(book.path)
    book.change("UPDATE scores SET event = zeroblob(16)")
    finding = checked(book.path)["scores"]
    assert (finding.level, finding.data) == (Level.NOTE, {"rows": 1})


def test_losses_are_a_problem(book: Book) -> None:
    """Events that could not be stored are counted."""
    book.session()
    book.change("INSERT INTO losses (at_us, pid, events, reason) VALUES (1, 2, 3, 'full'), (4, 5, 6, 'full again')")
    finding = checked(book.path)["losses"]
    assert finding.level is Level.PROBLEM
    assert finding.text.startswith("9 events")
    assert "full again" in finding.text


@posix
def test_what_others_can_open_is_a_problem(book: Book) -> None:
    """A database that other users can open is told of, with the remedy."""
    book.session()
    assert checked(book.path)["permissions"].data == {"folder": "0700", "file": "0600"}
    book.path.parent.chmod(0o755)
    book.path.chmod(0o644)
    assert "chmod 600" in checked(book.path)["permissions"].text
    assert problems(book.path) == ["permissions"]


def test_rows_that_name_what_is_gone_are_a_problem(book: Book) -> None:
    """A row whose session is gone is found."""
    book.tool(book.session())
    book.change("PRAGMA foreign_keys = OFF")
    book.change("DELETE FROM sessions")
    assert problems(book.path) == ["references"]


def test_damage_is_a_problem(book: Book) -> None:
    """A damaged page is found, whatever can still be read; and so is a file that is no database."""
    state = book.session()
    for number in range(200):
        book.tool(state, params=f"{number} " * 100)
    book.end(state)
    book.close()
    whole = book.path.read_bytes()
    middle = len(whole) // 2 // 4096 * 4096
    book.path.write_bytes(whole[:middle] + b"\xff" * 4096 + whole[middle + 4096 :])
    assert set(problems(book.path)) & {"integrity", "database"}
    book.path.write_bytes(b"no database " * 1000)
    assert problems(book.path) == ["database"]


@pytest.mark.parametrize("where", ["header", "table", "index"])
def test_the_remedy_is_told_once(book: Book, where: str) -> None:
    """Whatever is damaged, and however often it is in the way, the remedy is named once, and what could not be looked
    at in one line; of a sound database no remedy is told."""
    for number in range(50):
        book.tool(book.session(), params=f"{number} " * 100)
    assert "doctor --repair" not in str(list(Checkup(book.path, True, {}).run()))
    names = {"header": "sqlite_schema", "table": "sessions", "index": "sqlite_autoindex_sessions_1"}
    ((page,),) = book.rows(f"SELECT min(pageno) FROM dbstat WHERE name = '{names[where]}'")
    book.close()
    with book.path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(bytes(4096) if where == "header" else b"\xff" * 4096)
    found = list(Checkup(book.path, True, {}).run())
    assert sum("doctor --repair" in finding.text for finding in found) == 1
    assert [finding.about for finding in found].count("database") <= 2
    assert sum("cannot be read" in finding.text or "can be read (" in finding.text for finding in found) <= 1
    assert any(finding.level is Level.PROBLEM for finding in found)


def test_copies_beside_it_are_told_of(book: Book) -> None:
    """A damaged database that was put aside is a problem, a backup worth knowing; both hold prompts."""
    book.session()
    aside = book.path.with_name(f"{book.path.name}.damaged-20260101T000000-1")
    backup = book.path.with_name(f"{book.path.name}.v1-20260101T000000.backup")
    for file in (aside, aside.with_name(f"{aside.name}-wal"), backup):
        file.touch()
    assert copies(book.path) == [aside, backup]
    findings = [finding for finding in Checkup(book.path, environ={}).run() if finding.about == "beside it"]
    assert [finding.level for finding in findings] == [Level.PROBLEM, Level.NOTE]


def test_a_key_is_never_shown(project: Path) -> None:
    """Of variables that may hold a secret only the name is shown."""
    key = "3b8a1f5e-9c1d-4f8e-8d3e-5a2b7c9d1e0f"
    finding = checked(
        project / "x.db", AGENTOPS_API_KEY=key, AGENTOPS_PARENT_KEY=key, AGENTOPS_API_ENDPOINT=f"https://u:{key}@host",
        AGENTOPS_SOMETHING_NEW=key, AGENTOPS_LOCAL_DURABILITY="power", HOME=key,
    )["settings"]  # fmt: skip
    assert key not in str(finding.to_json())
    assert "AGENTOPS_LOCAL_DURABILITY=power" in finding.text
    assert "AGENTOPS_API_KEY" in finding.text
    assert "HOME" not in finding.text


def test_an_unsafe_filesystem_is_told_of(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a network share it is worth knowing that WAL is not used, and wrong if it is."""
    book.session()
    mounts = "1 0 0:1 / / rw - nfs4 server:/ rw"
    monkeypatch.setattr(filesystem, "_read_mountinfo", lambda: mounts)
    if sys.platform != "linux":
        pytest.skip("only Linux lists its mounts in a file")
    found = checked(book.path)
    assert found["filesystem"].level is Level.NOTE
    assert found["journal"].level is Level.PROBLEM


def test_an_erasure_cut_short_is_told_of(book: Book) -> None:
    """What rm has left to be done is a problem, a file that is not rewritten yet is worth knowing."""
    book.session()
    book.change("INSERT INTO about VALUES ('rewrite_due', 1)")
    assert checked(book.path)["erasing"].level is Level.NOTE
    book.change("INSERT INTO about VALUES ('erasing', 1)")
    assert checked(book.path)["erasing"].level is Level.PROBLEM
