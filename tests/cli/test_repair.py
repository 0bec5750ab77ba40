from __future__ import annotations

from pathlib import Path

from tests.analytics.recording import Book
from tests.cli.calling import call, execute, on_terminal


def damage(book: Book, at: int = 0) -> None:
    """Overwrites some bytes of the database."""
    book.close()
    with book.path.open("r+b") as file:
        file.seek(at)
        file.write(bytes(100))


def test_a_damaged_database_is_repaired(book: Book) -> None:
    """It is said what was wrong, what was salvaged and where the damaged file is kept; the exit code is 0; the next
    repair finds nothing to do, and `doctor` tells the salvaged file from a damaged one."""
    state = book.session("kept")
    book.llm(state, "one", "two")
    book.tool(state)
    damage(book)
    assert execute("doctor").code == 1
    said = execute("doctor", "--repair")
    assert said.code == 0, said.err
    text = " ".join(said.out.split())
    assert "was damaged: file is not a database" in text
    assert "salvaged: 1 session, 2 events, 3 messages" in text
    assert "of the events: 1 llm, 1 tool" in text
    (kept,) = book.path.parent.glob("*.salvaged-*")
    assert f"is kept as {kept.absolute()}" in text.replace("- ", "-")
    again = execute("doctor", "--repair")
    assert again.code == 0
    assert "there is nothing to repair" in " ".join(again.out.split())
    assert book.rows("SELECT count(*) FROM payloads") == [(2,)]
    found = {one["about"]: one for one in execute("doctor", "--json").json}
    assert found["beside it"]["level"] == "note"
    assert kept.name in found["beside it"]["text"]


def test_a_copy_that_lies_beside_is_a_problem(book: Book) -> None:
    """A damaged copy that nobody has salvaged is a problem, and the remedy is named."""
    state = book.session()
    damage(book)
    book.tool(state)
    said = execute("doctor")
    assert said.code == 1
    assert "doctor --repair" in " ".join(said.out.split())


def test_what_is_lost_is_said(book: Book) -> None:
    """Events that are lost are counted and named, what refers to them is marked; `--json` has all of it."""
    state = book.session()
    events = [book.tool(state, params={"text": "x" * 1500}) for _ in range(20)]
    (page,) = book.rows("SELECT pageno FROM dbstat WHERE name = 'events' AND pagetype = 'leaf' ORDER BY path LIMIT 1")
    damage(book, (page[0] - 1) * 4096)
    found = execute("doctor", "--repair", "--json")
    assert found.code == 0
    (copy,) = found.json["copies"]
    assert copy["lost_events_known"] == copy["numbers_missing"] == len(copy["lost_events"]) > 0
    assert copy["lost_events"][0] == {"id": str(events[0].id), "session_id": state.id}
    assert copy["events"] == {"tools": 20 - copy["lost_events_known"]}
    assert copy["unreadable_pages"] == list(page)


def test_a_session_whose_row_alone_is_lost(book: Book) -> None:
    """A session of which events are left is not told as lost with all that was in it, but as marked; and nothing is
    said twice: no log line beside what is told."""
    state = book.session()
    book.tool(state)
    (page,) = book.rows("SELECT pageno FROM dbstat WHERE name = 'sessions' AND pagetype = 'leaf'")
    book.close()
    with book.path.open("r+b") as file:
        file.seek((page[0] - 1) * 4096)
        file.write(b"\xff" * 4096)
    said = execute("doctor", "--repair")
    assert said.err == ""
    assert "with all that was in" not in said.out
    assert "lost, and marked in its place: 1 session row" in " ".join(said.out.split())
    assert book.rows("SELECT session_id FROM payloads") == [(state.id,)]


def test_a_file_that_was_cut_off(book: Book) -> None:
    """Of a file that ends too early it is said how many pages are gone."""
    state = book.session()
    for _ in range(20):
        book.tool(state, params={"text": "x" * 1500})
    book.close()
    pages = book.path.stat().st_size // 4096
    with book.path.open("r+b") as file:
        file.truncate((pages - 7) * 4096)
    said = execute("doctor", "--repair")
    assert f"the last 7 pages of {pages}: the file was cut off" in " ".join(said.out.split())


def test_what_cannot_be_done_is_said(book: Book) -> None:
    """A copy that cannot be salvaged is named with the reason, and the exit code is 1; the others are salvaged."""
    state = book.session()
    book.tool(state)
    damage(book)
    (book.path.parent / f"{book.path.name}.damaged-folder").mkdir()
    said = execute("doctor", "--repair")
    assert said.code == 1
    assert "WRONG" in said.out
    assert book.rows("SELECT count(*) FROM payloads") == [(1,)]


def test_a_sound_database_and_none(book: Book, project: Path) -> None:
    """Where nothing is to be repaired it is said so, and nothing is made."""
    book.session()
    assert "is sound" in call("doctor", "--repair").out
    assert "there is no database" in " ".join(call("doctor", "--repair", "--db", "none.db").out.split())
    assert not Path("none.db").exists()


def test_a_text_is_not_touched(project: Path) -> None:
    """A file that is not ours is refused, and left as it is."""
    file = project / "notes.txt"
    file.write_text("notes\n" * 1000)
    said = execute("doctor", "--repair", "--db", file)
    assert said.code == 1
    assert "left as it is" in said.err
    assert [path.name for path in project.iterdir() if "notes" in path.name and path.suffix != ".lock"] == ["notes.txt"]


def test_a_bar_on_a_terminal(book: Book) -> None:
    """On a terminal a bar shows what is done."""
    book.session()
    damage(book)
    said = on_terminal("doctor", "--repair")
    assert said.code == 0
    assert "reading" in said.out
