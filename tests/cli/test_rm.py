from __future__ import annotations

import sqlite3
import sys
from contextlib import closing

import pytest

from agentops_local.analytics import erase as erasing
from tests.analytics.recording import SECRET, Book, died, folder_holds, secretive
from tests.cli.calling import call, execute, on_terminal


def test_it_is_gone_from_everywhere(book: Book) -> None:
    """After `rm` no command knows the session, and nothing of it stands in any file beside the database."""
    kept = book.end(book.session("kept"))
    session = secretive(book, 10)
    book.close()
    said = execute("rm", session)
    assert said.code == 0
    assert said.out.startswith("erased 1 session: 40 events, ")
    assert folder_holds(book, SECRET) == []
    assert [one["session_id"] for one in call("sessions", "--json").json] == [kept]
    assert call("show", session).code == 1
    assert call("stats", "--json").json["events"] == 0
    assert call("doctor").code == 0


def test_several_at_once(book: Book) -> None:
    """Several sessions go at once, a name given twice counts once, and JSON tells what was done."""
    first, second, third = (book.session() for _ in range(3))
    for state in (first, second, third):
        book.tool(state)
        book.end(state)
    done = execute("rm", first.id, second.id, first.id, "--json").json
    assert (done["sessions"], done["events"], done["wal_emptied"], done["rewritten"]) == (2, 2, True, True)
    assert [one["session_id"] for one in call("sessions", "--json").json] == [third.id]


def test_a_running_session_is_refused(book: Book) -> None:
    """A running session is refused with exit code 1, and then none is erased; `--force` erases it."""
    ended, running = book.end(book.session()), book.session().id
    said = execute("rm", ended, running)
    assert (said.code, said.out) == (1, "")
    assert "still running" in said.err
    assert len(call("sessions", "--json").json) == 2
    assert execute("rm", "--force", ended, running).code == 0
    assert call("sessions", "--json").json == []


def test_names(book: Book) -> None:
    """What names no session is refused with 1, what names several with 2, and no name at all with 2."""
    for digit in "12":
        book.end(book.session(name=f"0197a1b2-c3d4-7000-8000-00000000000{digit}"))
    assert execute("rm", "0297").code == 1
    assert execute("rm", "0197a1b2").code == 2
    assert execute("rm").code == 2
    assert execute("rm", "0197a1b2-c3d4-7000-8000-000000000001", "last").code == 0
    assert call("sessions", "--json").json == []


def test_a_died_session_goes(book: Book) -> None:
    """A session whose process died counts as ended."""
    assert execute("rm", died(book, "one")).code == 0


def test_a_reader_that_keeps_the_wal_is_a_failure(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """While what was erased can still be read in the WAL the exit code is 1; `rm` without a name finishes it later."""
    monkeypatch.setattr(erasing, "_WAL_PATIENCE", 0.0)
    session = secretive(book)
    with closing(sqlite3.connect(book.path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM sessions").fetchall()
        said = call("rm", session)
        assert said.code == 1
        assert "write-ahead log" in said.err
        assert call("doctor").code == 1
    assert call("rm").code == 0
    assert call("doctor").code == 0
    assert folder_holds(book, SECRET) == []


def test_a_file_that_is_not_rewritten_is_told_of(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large file that others record to is not rewritten unasked; that is said, and `--rewrite` does it."""
    monkeypatch.setattr(erasing, "_QUICK", 0)
    book.tool(book.session())
    said = call("rm", secretive(book))
    assert said.code == 0
    assert "was not rewritten" in said.out
    assert "--rewrite" in call("doctor").out
    assert "was not rewritten" not in call("rm", "--rewrite").out
    assert "--rewrite" not in call("doctor").out


def test_copies_beside_it_are_told_of(book: Book) -> None:
    """Copies of the database that the store has made are not touched, but it is said that they are there."""
    book.end(book.session())
    copy = book.path.with_name(f"{book.path.name}.v1-20260101T000000.backup")
    copy.touch()
    said = execute("rm", "last")
    assert copy.name in said.err
    assert copy.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_progress_is_shown_on_a_terminal(book: Book) -> None:
    """On a terminal a bar shows how far it is; what is no terminal gets none."""
    first, second = secretive(book, 5), secretive(book, 5)
    assert "erasing" in on_terminal("rm", first).out
    assert execute("rm", second).err == ""
