from __future__ import annotations

import pytest

from agentops_local import analytics
from tests.analytics.recording import Book
from tests.cli.calling import call, on_terminal


def test_given_and_shown(book: Book) -> None:
    """What is given is told in a line, and `show` has it under the head of the session; as JSON whole."""
    state = book.session()
    tool = str(book.tool(state).id)
    assert call("score", "last", "helpful", "0.8", "--note", "rather").lines == ["helpful 0.8: rather"]
    assert call("score", "last", "thumb", "down", "--event", tool, "--author", "ann").lines == [
        f"thumb down (event {tool[:8]}), ann"
    ]
    assert call("score", "last", "note", "7").lines == ["note 7"]
    assert call("score", state.id[:13], "change", "-1.5", "--json").json["value"] == -1.5
    shown = call("show", "last").out
    for line in ("score   helpful 0.8: rather", f"score   thumb down (event {tool[:8]}), ann", "note    7"):
        assert line in shown
    whole = call("show", "last", "--json").json["session"]
    assert whole["scores"] == {"change": -1.5, "helpful": 0.8, "thumb": 0.0}
    assert [one["name"] for one in whole["given"]] == ["helpful", "thumb", "note", "change"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("last", "a>b", "1"), 2), (("last", "", "1"), 2), (("last", "a", " "), 2), (("last", "a"), 2),
        (("last", "a", "text", "--note", "x"), 2), (("nothing", "a", "1"), 1),
        (("last", "a", "1", "--event", "f" * 9), 1),
    ],
)  # fmt: skip
def test_what_cannot_be_given(book: Book, arguments: tuple[str, ...], code: int) -> None:
    """Wrong use is exit code 2, a session or event that is not there 1; nothing is stored."""
    book.session()
    assert call("score", *arguments).code == code
    assert book.rows("SELECT * FROM scores") == []


def test_as_a_filter(book: Book) -> None:
    """Commands that are narrowed down take `--score`, lists of sessions have the averages, and `stats` sums them up."""
    good, bad = book.end(book.session()), book.session()
    book.tool(bad)
    analytics.score(good, "helpful", 0.9)
    analytics.score(bad.id, "helpful", 0.1)
    found = call("sessions", "--score", "helpful>=0.5", "--json").json
    assert [(one["session_id"], one["scores"]) for one in found] == [(good, {"helpful": 0.9})]
    assert call("stats", "--score", "helpful<0.5", "--json").json["scores"][0]["average"] == 0.1
    (line,) = [line for line in call("stats").lines if line.startswith("helpful")]
    assert line.split() == ["helpful", "2", "2", "0.5", "0.1", "0.9"]
    assert call("top", "--score", "helpful=0.1").code == 0
    wrong = call("stats", "--score", "helpful>=big")
    assert (wrong.code, "must be compared with a number" in wrong.err) == (2, True)


def test_no_terminal_obeys_a_note(book: Book) -> None:
    """What stands in a note cannot steer a terminal."""
    book.session()
    analytics.note("last", "\x1b[31mred\r\nover \u202eit")
    for said in (on_terminal("show", "last", NO_COLOR="1").out, call("score", "last", "x", "\x1b]0;title\x07").out):
        assert "\x1b[31m" not in said
        assert "\x1b]0" not in said
        assert "\u202e" not in said
