from __future__ import annotations

import sqlite3
from contextlib import closing
from uuid import UUID

import pytest

from agentops_local import analytics, clock
from agentops_local.analytics import filters, scoring
from agentops_local.analytics.censor import Censor
from agentops_local.analytics.reading import reading
from agentops_local.analytics.scrub import Scrubber
from agentops_local.analytics.sessions import Ambiguous, NoSuchSession, list_sessions, summary
from agentops_local.errors import WrongUse
from tests.analytics.recording import SECRET, Book, erase, folder_holds, start

NOW = 1_769_860_800_000_000


def given(book: Book) -> list[tuple]:
    """What stands in the table, in short."""
    return book.rows("SELECT name, kind, number, text, author FROM scores ORDER BY id")


def test_values(book: Book) -> None:
    """A thumb, a number and a text are told apart by what is given, and come back as they were given."""
    state = book.session()
    for name, value in (("a", True), ("b", "down"), ("c", 3), ("d", -0.25), ("e", "rather good")):
        analytics.score("last", name, value)
    found = {one.name: (one.kind, one.value) for one in analytics.scores(state.id)}
    assert found == {
        "a": ("thumb", 1.0), "b": ("thumb", 0.0), "c": ("number", 3.0), "d": ("number", -0.25),
        "e": ("text", "rather good"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [("", 1), (" ", 1), ("a>b", 1), ("x" * 101, 1), ("a\nb", 1), ("a", float("nan")), ("a", 10**400), ("a", ""),
     ("a", " \t"), ("a", None), ("note", 1), ("note", "up"), ("a", "x" * (1 << 16) + "x")],
)  # fmt: skip
def test_what_is_no_score(book: Book, name: str, value: object) -> None:
    """A name that could not be asked for, and a value that says nothing, are refused, and nothing is stored."""
    book.session()
    with pytest.raises(WrongUse):
        analytics.score("last", name, value)  # type: ignore[arg-type]
    assert given(book) == []


def test_what_was_said_later_counts(book: Book) -> None:
    """Of one name an author says one thing of a session or an event; another author, another event says his own."""
    state = book.session()
    tool = book.tool(state)
    analytics.score("last", "helpful", 0.2, note="at first sight")
    analytics.score("last", "helpful", 0.9)
    analytics.score("last", "helpful", 0.1, author="ann")
    analytics.score("last", "helpful", "no", event=str(tool.id))
    assert given(book) == [
        ("helpful", "number", 0.9, None, None), ("helpful", "number", 0.1, None, "ann"),
        ("helpful", "text", None, "no", None),
    ]  # fmt: skip


def test_a_clock_that_was_set_back(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever changes his mind is heard, also where the clock says that he did so before."""
    book.session()
    monkeypatch.setattr(clock, "now_us", lambda: NOW)
    analytics.score("last", "thumb", "up")
    monkeypatch.setattr(clock, "now_us", lambda: NOW - 1_000_000)
    said = analytics.score("last", "thumb", "down")
    assert (said.value, said.at_us) == (0.0, NOW + 1)
    assert [one.value for one in analytics.scores("last")] == [0.0]


def test_notes(book: Book) -> None:
    """Notes stand side by side, equal ones, too."""
    book.session()
    for text in ("look again", "look again", "done"):
        analytics.note("last", text)
    assert [one.value for one in analytics.scores("last")] == ["look again", "look again", "done"]


def test_an_event(book: Book) -> None:
    """An event is named by its id or a beginning of it; one of another session, or none, is refused."""
    other = book.tool(book.session())
    state = book.session()
    tool, _ = book.tool(state), book.tool(state)
    assert analytics.score(state.id, "a", 1, event=str(tool.id).upper()).event_id == str(tool.id)
    assert analytics.score(state.id, "b", 1, event=str(tool.id)[:-1]).event_id == str(tool.id)
    for event in (str(other.id), "", "nothing", "f" * 33):
        with pytest.raises(scoring.NoSuchEvent):
            analytics.score(state.id, "a", 1, event=event)
    with pytest.raises(Ambiguous):
        analytics.score(state.id, "a", 1, event=str(tool.id)[:1])
    with pytest.raises(NoSuchSession):
        analytics.score("nothing", "a", 1)


def test_any_text(book: Book) -> None:
    """Text that no database takes as it is, is stored as far as it can be."""
    book.session()
    assert analytics.note("last", "a\0b \ud800").value == "a\N{REPLACEMENT CHARACTER}b ?"


def test_away(book: Book) -> None:
    """A score is taken away by its number and time; one that came after it, under its number, stays."""
    state = book.session()
    old = analytics.score("last", "a", 1)
    assert scoring.unscore(state.id, old.number, old.at_us)
    new = analytics.score("last", "b", 2)
    assert new.number == old.number
    assert not scoring.unscore(state.id, old.number, old.at_us)
    assert not scoring.unscore(book.session().id, new.number, new.at_us)
    assert [one.name for one in analytics.scores(state.id)] == ["b"]


def test_beside_a_program_that_records(book: Book) -> None:
    """Scores are given while another program records, and neither loses anything."""
    state = book.session()
    code = """
    import sys
    s = ao.init()
    for number in range(100):
        s.record(ao.ActionEvent(action_type="act"))
    s.end_session("Success")
    """
    with start(code) as program:
        for number in range(20):
            analytics.score(state.id, f"s{number}", number)
        assert program.wait(60) == 0
    assert len(given(book)) == 20
    assert book.rows("SELECT count(*) FROM events") == [(100,)]
    book.check()


def test_filters(book: Book) -> None:
    """Sessions are picked by their scores and those of their events: compared, as thumbs, as texts, or by the name."""
    ids = [book.end(book.session()) for _ in range(4)]
    analytics.score(ids[0], "helpful", 0.5)
    analytics.score(ids[1], "helpful", 0.4)
    analytics.score(ids[1], "thumb", "up")
    analytics.score(ids[2], "thumb", "down")
    analytics.score(ids[2], "helpful", "very")

    def picked(*scores: str) -> list[int]:
        where = filters.parse(scores=scores)
        with reading(book.path) as connection:
            listed = [one.id for one in reversed(list_sessions(connection, scores=where.scores))]
            seqs = list(filters.sessions(connection, where))
        assert [ids[seq - 1] for seq in seqs] == listed
        return [ids.index(one) for one in listed]

    assert picked("helpful>=0.5") == [0]
    assert picked("helpful < 0.5") == [1]
    assert picked("helpful=0.4") == [1]
    assert picked("helpful!=0.4") == [0, 2]
    assert picked("helpful=very") == [2]
    assert picked("helpful") == [0, 1, 2]
    assert picked("thumb=up") == [1]
    assert picked("thumb=0") == picked("thumb!=up") == [2]
    assert picked("thumb<1", "helpful") == [2]
    assert picked("nothing") == []
    for wrong in ("", " ", ">1", "helpful>big", "!helpful"):
        with pytest.raises(WrongUse):
            picked(wrong)


def test_columns(book: Book) -> None:
    """Averages by name are columns of sessions and of statistics, of all or of those that a filter leaves."""
    first, second = book.session("x"), book.session()
    event = book.tool(first)
    book.tool(second)
    analytics.score(first.id, "helpful", 1)
    analytics.score(first.id, "helpful", 0.5, event=str(event.id))
    analytics.score(second.id, "helpful", 0)
    analytics.note(second.id, "hm")
    with reading(book.path) as connection:
        assert summary(connection, first.id).to_json()["scores"] == {"helpful": 0.75}
        assert [one.scores for one in list_sessions(connection)] == [{"helpful": 0.0}, {"helpful": 0.75}]
    helpful = {"name": "helpful", "scores": 3, "sessions": 2, "average": 0.5, "lowest": 0.0, "highest": 1.0}
    note = {"name": "note", "scores": 1, "sessions": 1, "average": None, "lowest": None, "highest": None}
    assert analytics.stats().to_json()["scores"] == [helpful, note]
    of_first = {**helpful, "scores": 2, "sessions": 1, "average": 0.75, "lowest": 0.5}
    assert analytics.stats(first.id).scores == analytics.stats(where=filters.parse(tags="x")).scores == [of_first]
    assert analytics.stats(where=filters.parse(scores="helpful<0.5")).sessions == 1


def test_the_view(book: Book) -> None:
    """The view tells ids as text, one value, and times in ISO 8601."""
    state = book.session()
    tool = book.tool(state)
    one = analytics.score("last", "thumb", "up", event=str(tool.id), note="so quick", author="ann")
    analytics.note("last", "hm")
    rows = book.rows("SELECT session_id, event_id, name, value, remark, author, timestamp FROM scored ORDER BY seq")
    assert rows[0] == (state.id, str(tool.id), "thumb", 1.0, "so quick", "ann", clock.to_iso(one.at_us))
    assert rows[1][1:6] == (None, "note", "hm", None, None)


def test_erased_with_it(book: Book) -> None:
    """With a session go its scores, with an event its own, with a pattern what they say of it, and no trace is left."""
    first, second = book.session(), book.session()
    one, other = book.tool(first), book.tool(first)
    for event in (one, other):
        analytics.score(first.id, "a", 1, event=str(event.id), note=SECRET, author=SECRET)
    analytics.score(second.id, "a", 1, note=SECRET)
    analytics.note(second.id, SECRET)
    book.close()
    with closing(Scrubber(book.path)) as scrubber:
        scrubber.erase_event(UUID(str(one.id)))
        scrubber.finish()
    assert book.rows("SELECT session, event FROM scores WHERE event IS NOT NULL") == [(1, other.id.bytes)]
    book.end(first)
    erase(book, first.id)
    assert book.rows("SELECT DISTINCT session FROM scores") == [(2,)]
    with closing(Scrubber(book.path)) as scrubber:
        assert scrubber.scrub(Censor(SECRET)).rows["scores"] == 2
        scrubber.finish()
    assert given(book) == [("a", "number", 1.0, "[erased]", None), ("note", "text", None, "[erased]", None)]
    assert folder_holds(book, SECRET) == []
    book.check()


def test_a_schema_that_lost_the_table(book: Book) -> None:
    """Sessions are listed without scores where a damaged schema has no table of them."""
    book.end(book.session())
    book.close()
    with closing(sqlite3.connect(book.path)) as connection:
        connection.execute("DROP VIEW scored")
        connection.execute("DROP TABLE scores")
    with reading(book.path) as connection:
        assert [one.scores for one in list_sessions(connection)] == [{}]
