from __future__ import annotations

from tests.analytics.recording import Book, died
from tests.analytics.test_sessions import KEYS
from tests.cli.calling import call, execute


def test_json_has_every_field(book: Book) -> None:
    """`--json` is a list of objects, newest first, with exactly these fields at least, costs as numbers."""
    first, second = book.session("a", "b"), book.session()
    book.llm(first, "ask", cost="0.25")
    book.end(first, "Fail", "why")
    found = execute("sessions", "--json").json
    assert [one["session_id"] for one in found] == [second.id, first.id]
    assert all(one.keys() >= KEYS for one in found)
    one = found[1]
    assert (one["cost"], one["tags"], one["llms"], one["end_state_reason"]) == (0.25, ["a", "b"], 1, "why")
    assert (one["status"], one["last_event"]["kind"], found[0]["status"]) == ("ended", "llms", "running")


def test_the_table_shows_it(book: Book) -> None:
    """The table has a line for each session: as much of its id as tells it from the others, its state, what it counts,
    what it cost."""
    state = book.session("nightly")
    for _ in range(2):
        book.llm(state, "ask", cost="0.0123")
    book.error(state, book.tool(state))
    book.end(state)
    head, line = call("sessions").lines
    assert head.split() == ["SESSION", "STATE", "STARTED", "TOOK", "L/T/A/E", "TOKENS", "COST", "TAGS"]
    for text in (state.id[:8], "Success", "2/1/0/1", "20→4", "$0.0246", "nightly"):
        assert text in line
    head = call("sessions", COLUMNS="140").lines[0]
    assert head.split()[4:8] == ["LLMS", "TOOLS", "ACTIONS", "ERRORS"]


def test_what_is_unpriced_is_marked(book: Book) -> None:
    """A cost is never shown as less than it may be: calls without a price are marked."""
    partly, wholly, none = book.session(), book.session(), book.session()
    book.llm(partly, "ask", cost="1")
    book.llm(partly, "ask")
    book.llm(wholly, "ask")
    book.tool(none)
    _, last, middle, first = call("sessions").lines
    assert "≥$1.0000" in first
    assert "unpriced" in middle
    assert "$" not in last


def test_a_died_session_is_told_truthfully(book: Book) -> None:
    """A session whose process died says when, about, and what its last event was."""
    session = died(book, "first", "the last one")
    said = " ".join(call("sessions").out.split())
    assert f"{session[:8]}" in said
    assert "Indeterminate: its process died at about 20" in said
    assert "last event actions the last one" in said


def test_a_session_of_another_machine_is_told_truthfully(book: Book) -> None:
    """Of a session whose processes cannot be seen it is said when it was last seen, not that it died."""
    book.session()
    book.change("UPDATE owners SET boot = 'x:1', host = 'far'")
    said = " ".join(call("sessions").out.split())
    assert "Indeterminate: no end recorded; last seen 20" in said
    assert "died" not in said


def test_filters(book: Book) -> None:
    """`--tag`, `--state` and `--limit` choose; their combination chooses what fits all."""
    for number in range(4):
        book.end(book.session("even" if number % 2 == 0 else "odd", "all"), "Fail" if number > 1 else "Success")
    assert len(call("sessions", "--tag", "all", "--json").json) == 4
    assert len(call("sessions", "--tag", "all", "--tag", "odd", "--state", "FAIL", "--json").json) == 1
    assert len(call("sessions", "-n", "3", "--json").json) == 3
    assert len(call("sessions", "--limit", "0", "--json").json) == 4
    assert call("sessions", "--tag", "none", "--json").json == []
    assert call("sessions", "--tag", "none").out == ""


def test_no_sessions_yet(book: Book) -> None:
    """A database without sessions lists none, and that is no failure."""
    book.end(book.session())
    book.change("DELETE FROM agents")
    book.change("DELETE FROM owners")
    book.change("DELETE FROM sessions")
    assert call("sessions") == (0, "", "no sessions yet\n")
    assert call("sessions", "--json").json == []
