from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest

from tests.analytics.recording import Book
from tests.cli.calling import call
from tests.importing.looking import query, said


@pytest.fixture
def filled(book: Book) -> Book:
    """Two sessions, one of which has failed."""
    for number, how in enumerate(("Success", "Fail")):
        state = book.session(f"run:{number}")
        book.llm(state, "a system prompt", f"question {number}", cost="0.5")
        book.tool(state)
        book.end(state, how)
    return book


def test_a_pack_is_a_database(filled: Book) -> None:
    """`pack` without a word puts all sessions into a private file beside the database, which says the same."""
    packed = call("pack")
    path = Path(packed.lines[0])
    assert (packed.code, path.parent) == (0, filled.path.parent / "packs")
    assert packed.lines[1].startswith("2 sessions, 4 events, ")
    assert said(path) == said(filled.path)
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [file.name for file in path.parent.iterdir() if file.suffix != ".db"] == [".gitignore"]
    assert "1 session" in call("--db", path, "stats", "last").out


def test_some_sessions_are_packed(filled: Book, tmp_path: Path) -> None:
    """`pack` takes the sessions that are named, or those that fit the options; of the others nothing is in the file."""
    filled.close()
    (failed,) = query(filled.path, "SELECT id FROM sessions WHERE end_state = 'Fail'")[0]
    for number, words in enumerate((["--state", "fail"], ["--tag", "run:1"], [failed[:18]], ["last"])):
        path = tmp_path / f"{number}.db"
        assert call("pack", "-o", path, *words, "--json").json["events"] == 2
        assert query(path, "SELECT id FROM sessions") == [(failed,)]
        assert b"question 0" not in path.read_bytes()


def test_a_pack_is_not_written_over(filled: Book, tmp_path: Path) -> None:
    """A file of that name stays, unless `--force` is said; wrong use is told, and nothing is left behind."""
    path = tmp_path / "pack.db"
    path.write_text("precious")
    for words, told in (
        (["-o", path], "exists"), (["-o", filled.path], "is the database itself"),
        (["-o", tmp_path / "none" / "pack.db"], "no folder"), (["last", "--state", "fail"], "not both"),
        (["--state", "died"], "nothing to pack"),
    ):  # fmt: skip
        refused = call("pack", *words)
        assert (refused.code, told in refused.err) == (2, True), refused.err
    assert path.read_text() == "precious"
    assert call("pack", "-o", path, "--force").code == 0
    assert [file.name for file in tmp_path.iterdir() if "pack" in file.name] == ["pack.db"]


def test_a_merge_is_told(filled: Book, tmp_path: Path) -> None:
    """`merge` tells what is new and what was here; a second one, that nothing is new; `--dry-run` what would come."""
    pack, other = tmp_path / "pack.db", tmp_path / "other" / "agentops.db"
    call("pack", "-o", pack)
    would = call("--db", other, "merge", pack, "--dry-run")
    assert (would.code, would.lines) == (0, ["would bring 2 new sessions, 4 new events from 1 database"])
    assert not other.exists()
    assert call("--db", other, "merge", pack).lines == ["2 new sessions, 4 new events from 1 database"]
    again = call("--db", other, "merge", pack)
    assert (again.code, again.lines) == (0, ["nothing new: 2 sessions with 4 events are here already"])
    filled.tool(filled.session("a third"))
    call("pack", "-o", pack, "--force")
    assert call("--db", other, "merge", pack, "--json").json == {
        "files": 1, "sessions": 3, "new_sessions": 1, "changed_sessions": 0, "events": 1, "changed_events": 0,
        "there": 4, "uploaded": 0, "noted": 0, "scores": 0,
    }  # fmt: skip
    assert said(other) == said(pack)


def test_what_cannot_be_merged_is_told(filled: Book, tmp_path: Path) -> None:
    """What is no database of ours is named, with exit code 1; the database itself is wrong use."""
    text = tmp_path / "notes.db"
    text.write_text("notes" * 200)
    refused = call("merge", text)
    assert (refused.code, str(text) in refused.err) == (1, True)
    assert call("merge", filled.path).code == 2
