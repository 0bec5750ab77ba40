from __future__ import annotations

import pytest

from agentops_local import clock
from agentops_local.analytics.filters import parse
from agentops_local.analytics.project import indexed
from agentops_local.analytics.questions import occurrences as module
from agentops_local.analytics.questions.alike import conditions, errors
from agentops_local.analytics.questions.occurrences import NoSuchError, history, occurrences
from agentops_local.errors import WrongUse
from agentops_local.event import ErrorEvent
from tests.analytics.plans import scanned
from tests.analytics.recording import Book

BEGUN = clock.parse_us("2026-01-30T10:00:30Z") or 0
SECOND = 1_000_000
HOUR = 3600 * SECOND


def fail(book: Book, *at: int, text: str = "no answer in {} s", tag: str = "x") -> list[str]:
    """Errors that are alike, at these times, in a session each of its own; their ids."""
    found = []
    for number, moment in enumerate(at):
        state = book.session(tag, began=moment)
        tool = book.tool(state, "fetch" if number % 2 else "read")
        event = ErrorEvent(error_type="Timeout", details=text.format(number), trigger_event=tool)
        found.append(str(book.add(state, book.timed(event, moment, 0)).id))
    return found


def test_one_by_one(book: Book) -> None:
    """Errors that are alike are told one by one, the latest first, with session, agent, what failed and their words;
    page after page gives each once, ties in time included."""
    ids = fail(book, *(BEGUN + place * SECOND for place in (0, 1, 1, 1, 5)))
    fail(book, BEGUN, text="something else")
    fingerprint = errors(db=book.path)[0].fingerprint
    pages, after = [], None
    while True:
        page = occurrences(fingerprint, 2, after=after, db=book.path)
        pages.append(page)
        after = page.after
        if after is None:
            break
    rows = [row for page in pages for row in page.rows]
    assert [row.id for row in rows] == [ids[place] for place in (4, 3, 2, 1, 0)]
    assert [row.details for row in rows] == [f"no answer in {place} s" for place in (4, 3, 2, 1, 0)]
    assert {row.agent for row in rows} == {"Default Agent"}
    assert [(row.failed_kind, row.failed) for row in rows[:2]] == [("tools", "read"), ("tools", "fetch")]
    assert pages[0].failed == [("tools", "read", 3), ("tools", "fetch", 2)]
    assert pages[0].group is not None
    assert (pages[0].group["events"], pages[0].group["sessions"]) == (5, 5)
    for row in rows:
        assert book.rows("SELECT count(*) FROM errors WHERE id = ? AND session_id = ?", row.id, row.session_id)[0][0]


def test_narrowed_down(book: Book) -> None:
    """A filter leaves some of them; one that leaves none says so, and an error that never was is told apart from it."""
    fail(book, BEGUN, BEGUN + HOUR, tag="x")
    fail(book, BEGUN + 2 * HOUR, tag="y")
    fingerprint = errors(db=book.path)[0].fingerprint
    found = occurrences(fingerprint, where=parse(tags="y"), db=book.path)
    assert (len(found.rows), sum(found.spread.errors)) == (1, 1)
    nothing = occurrences(fingerprint.upper(), where=parse(tags="z"), db=book.path)
    assert (nothing.group, nothing.rows, nothing.failed, nothing.spread.errors) == (None, [], [], ())
    for unknown in ("0" * 32, "x", ""):
        with pytest.raises(NoSuchError, match="there is no error"):
            occurrences(unknown, db=book.path)


@pytest.mark.parametrize(
    ("apart", "span", "spans"),
    [
        (0, 60, 1), (59 * 60, 60, 60), (60 * 60, 300, 13), (15 * 3600, 3600, 16), (59 * 86_400, 86_400, 60),
        (60 * 86_400, 7 * 86_400, 9), (20_000 * 86_400, 364 * 86_400, 56), (100_000 * 86_400, 8 * 364 * 86_400, 35),
    ],
)  # fmt: skip
def test_spans(book: Book, apart: int, span: int, spans: int) -> None:
    """Errors are counted in the shortest span of time of which there are at most sixty, gaps included, each once."""
    times = [BEGUN, BEGUN + apart * SECOND // 2, BEGUN + apart * SECOND]
    fail(book, *times)
    found = history(db=book.path)
    assert found.seconds == span
    assert abs(len(found.errors) - spans) <= 1
    assert len(found.errors) <= 60
    assert sum(found.errors) == 3
    for begin, count in zip(found.begins_us, found.errors, strict=True):
        assert begin % (span * SECOND) == 0
        assert count == sum(begin <= time < begin + span * SECOND for time in times)


def test_orders(book: Book) -> None:
    """Groups are sorted by how often they were, in how many sessions, and by when they were seen first or last."""
    fail(book, *(BEGUN + place * SECOND for place in range(3)), text="often")
    fail(book, BEGUN - HOUR, BEGUN + HOUR, text="long")
    state = book.session()
    for number in range(4):
        event = ErrorEvent(error_type="Timeout", details="one session")
        book.add(state, book.timed(event, BEGUN + number, 0))
    found = {by: [one.text for one in errors(by=by, db=book.path)] for by in ("events", "sessions", "first", "last")}
    assert found == {
        "events": ["one session", "often", "long"], "sessions": ["often", "long", "one session"],
        "first": ["one session", "often", "long"], "last": ["long", "often", "one session"],
    }  # fmt: skip
    with pytest.raises(WrongUse, match="by must be one of"):
        errors(by="colour", db=book.path)


@pytest.mark.parametrize("after", ["x", "1", "1,x", "9223372036854775808,1"])
def test_no_such_place(book: Book, after: str) -> None:
    """A page after what no page ended with is refused."""
    fail(book, BEGUN)
    with pytest.raises(WrongUse, match="goes on after"):
        occurrences(errors(db=book.path)[0].fingerprint, after=after, db=book.path)


def test_no_event_is_looked_through(book: Book) -> None:
    """Errors that are alike are reached by their fingerprint, their events by their numbers."""
    fail(book, BEGUN)
    with indexed(book.path) as connection:
        condition, values = conditions(connection, parse(since="1d"))
        values |= {"fingerprint": 1, "at": 0, "seq": 0, "limit": 1}
        for sql in (module.GROUP, module.ROWS, module.FAILED):
            assert scanned(connection, sql.format(where=condition), values) in ([], ["SCAN latest"])
        assert scanned(connection, module.ONE, (1,)) == []
