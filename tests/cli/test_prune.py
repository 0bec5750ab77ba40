from __future__ import annotations

from agentops_local import clock
from tests.analytics.recording import SECRET, Book, folder_holds, secretive
from tests.cli.calling import call, execute

DAY = 86_400_000_000


def test_the_old_go(book: Book) -> None:
    """Sessions that ended longer ago than the age go, for good; the young and the running stay."""
    now = clock.now_us()
    secretive(book, 3)
    book.change("UPDATE sessions SET init_us = ?, end_us = ?", now - 50 * DAY, now - 40 * DAY)
    young = book.end(book.session(began=now - 60 * DAY), at=now - 20 * DAY)
    running = book.session(began=now - 90 * DAY).id
    dry = execute("prune", "--older-than", "30d", "--dry-run", "--json")
    assert (dry.code, len(dry.json)) == (0, 1)
    assert "1 session would be erased" in execute("prune", "--older-than", "30d", "--dry-run").out
    assert len(call("sessions", "--json").json) == 3
    said = execute("prune", "--older-than", "30d")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("erased 1 session: 12 events")
    assert {one["session_id"] for one in call("sessions", "--json").json} == {young, running}
    assert folder_holds(book, SECRET) == []


def test_the_rest_fits(book: Book) -> None:
    """With a size the oldest go until the file is no larger."""
    ids = []
    for number in range(6):
        state = book.session()
        for turn in range(40):
            book.tool(state, params=f"{number} {turn} " * 500)
        ids.append(book.end(state))
    book.close()
    assert execute("prune", "--max-size", "600kB").code == 0
    assert book.path.stat().st_size <= 600_000
    left = [one["session_id"] for one in call("sessions", "--json").json]
    assert left == ids[::-1][: len(left)]
    assert len(left) >= 2


def test_what_cannot_be_met_is_a_failure(book: Book) -> None:
    """If what runs is larger than the size the exit code is 1, and nothing that runs is lost."""
    state = book.session()
    book.tool(state, params="x" * 300_000)
    said = execute("prune", "--max-size", "100kB")
    assert said.code == 1
    assert "are left" in said.err
    assert len(call("sessions", "--json").json) == 1


def test_nothing_to_do(book: Book) -> None:
    """Where nothing is old nothing is touched, and that is no failure."""
    book.end(book.session())
    before = book.rows("PRAGMA data_version"), book.path.stat().st_mtime_ns
    assert execute("prune", "--older-than", "1d", "--max-size", "1GB").out == "nothing is to be erased\n"
    assert (book.rows("PRAGMA data_version"), book.path.stat().st_mtime_ns) == before


def test_what_nobody_can_judge_stays(book: Book) -> None:
    """Sessions of another machine that nobody ended stay, unless they are asked for."""
    book.session(began=1)
    book.change("UPDATE owners SET boot = 'x:1', host = 'far', start_us = 1")
    assert execute("prune", "--older-than", "30d").out == "nothing is to be erased\n"
    assert execute("prune", "--older-than", "30d", "--unknown", "--json").json["sessions"] == 1


def test_an_erasure_cut_short_is_finished(book: Book) -> None:
    """What an earlier erasure has left to be done is done with the next, though nothing else is old."""
    session = secretive(book)
    book.end(book.session())
    book.change("DELETE FROM events WHERE session = 1")
    book.change("DELETE FROM agents WHERE session = 1")
    book.change("DELETE FROM owners WHERE session = 1")
    book.change("DELETE FROM sessions WHERE id = ?", session)
    book.change("INSERT INTO about VALUES ('erasing', 1)")
    assert folder_holds(book, SECRET)
    assert execute("prune", "--older-than", "1d").code == 0
    assert folder_holds(book, SECRET) == []
    assert call("doctor").code == 0
