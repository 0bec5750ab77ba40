from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal

import pytest

from agentops_local import clock
from agentops_local.analytics import ratings
from agentops_local.analytics import sessions as listing
from agentops_local.analytics.owners import Status, judge
from agentops_local.analytics.reading import reading
from agentops_local.analytics.sessions import (
    Ambiguous,
    NoSuchSession,
    Summary,
    find_session,
    list_sessions,
    shown_length,
    summary,
)
from agentops_local.event import LLMEvent
from tests.analytics.recording import Book, died, erase

KEYS = {
    "session_id", "init_timestamp", "end_timestamp", "end_state", "end_state_reason", "tags", "llms", "tools",
    "actions", "errors", "prompt_tokens", "completion_tokens", "cost", "duration_s", "status", "last_seen",
    "last_event",
}  # fmt: skip


def listed(book: Book, limit: int = 0, *tags: str, state: str | None = None) -> list[Summary]:
    """The sessions, as a program of its own would list them."""
    with reading(book.path) as connection:
        return list_sessions(connection, limit, tags, state)


def test_newest_first(book: Book) -> None:
    """Sessions are listed in the reverse order of their beginnings, as many as are asked for."""
    ids = [book.end(book.session()) for _ in range(5)]
    assert [one.id for one in listed(book)] == ids[::-1]
    assert [one.id for one in listed(book, 2)] == ids[:2:-1]


def test_more_than_a_page(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, all are listed, and none twice."""
    monkeypatch.setattr(listing, "_PAGE", 3)
    ids = [book.end(book.session()) for _ in range(10)]
    assert [one.id for one in listed(book)] == ids[::-1]


def test_what_is_counted(book: Book) -> None:
    """A session counts its own events by kind, its tokens, and its cost exactly; calls without a price are told."""
    other = book.session()
    book.llm(other, "x", cost="7")
    state = book.session("a", "b", began=1_000_000)
    for _ in range(10):
        book.llm(state, "x", cost="0.1")
    book.llm(state, "x")
    tool = book.tool(state)
    book.action(state)
    book.error(state, tool)
    book.end(state, "Fail", "why", at=3_500_000)
    found = listed(book, 1)[0]
    assert found.counts.kinds == {"llms": 11, "tools": 1, "actions": 1, "apis": 0, "errors": 1}
    assert (found.counts.prompt_tokens, found.counts.completion_tokens, found.counts.unpriced) == (110, 22, 1)
    assert found.counts.cost == Decimal("1.0")
    assert found.duration_s == 2.5
    as_json = found.to_json()
    assert as_json.keys() >= KEYS
    assert (as_json["cost"], as_json["tags"], as_json["end_state"]) == (1.0, ["a", "b"], "Fail")
    assert as_json["init_timestamp"] == "1970-01-01T00:00:01.000000+00:00"
    assert as_json["end_timestamp"] == "1970-01-01T00:00:03.500000+00:00"


def test_sums_have_no_limit(book: Book) -> None:
    """Sums are exact beyond 64 bits, and below zero, though no event that we record is that large."""
    state = book.session()
    for _ in range(3):
        book.add(state, LLMEvent(prompt_tokens=1, completion_tokens=1, cost=Decimal(1)))
    with closing(sqlite3.connect(book.path)) as connection:
        connection.execute(f"UPDATE events SET prompt_tokens = {2**63 - 1}, cost_pusd = {9223372 * 10**12}")
        connection.commit()
    book.add(state, LLMEvent(cost=Decimal("-0.000000000001")))
    counts = listed(book)[0].counts
    assert counts.prompt_tokens == 3 * (2**63 - 1)
    assert counts.cost == 3 * Decimal("9223372") - Decimal("0.000000000001")


def test_tags_are_asked_for_together(book: Book) -> None:
    """With several tags, only sessions that have all of them are listed."""
    a, both = book.session("a").id, book.session("b", "a").id
    book.session()
    assert {one.id for one in listed(book, 0, "a")} == {a, both}
    assert [one.id for one in listed(book, 0, "a", "b")] == [both]
    assert listed(book, 0, "a' OR 1=1 --") == []


def test_states(book: Book) -> None:
    """Each state lists those that are in it; `indeterminate` also those of which nobody knows how they ended."""
    success, fail = book.end(book.session()), book.end(book.session(), "Fail")
    vague, running = book.end(book.session(), "Indeterminate"), book.session().id
    dead = died(book)
    far = book.session().id
    book.change("UPDATE owners SET boot = 'x:1', host = 'far' WHERE session = (SELECT max(seq) FROM sessions)")
    found = {state: {one.id for one in listed(book, state=state)} for state in listing.STATES}
    assert found == {
        "success": {success}, "fail": {fail}, "running": {running}, "died": {dead}, "unknown": {far},
        "indeterminate": {vague, dead, far},
    }  # fmt: skip


def test_a_dead_process_tells_its_last(book: Book) -> None:
    """A session whose process died says so, with when it was last seen and its last event."""
    before = clock.now_us()
    found = listed(book, state=None) if book.path.exists() else []
    assert found == []
    died(book, "first", "second")
    (one,) = listed(book)
    assert one.status is Status.DIED
    assert one.last_event is not None
    assert (one.last_event.kind, one.last_event.name) == ("actions", "second")
    assert before <= one.last_event.at_us <= one.last_seen_us <= clock.now_us()
    assert (one.end_state, one.to_json()["end_timestamp"], one.state) == ("Indeterminate", None, "died")


def test_a_session_without_events_was_seen_when_its_process_joined(book: Book) -> None:
    """Where there is no event, the last that was seen is the beginning of a process's part."""
    state = book.session(began=5)
    joined = book.rows("SELECT start_us FROM owners")[0][0]
    (one,) = listed(book)
    assert (one.last_seen_us, one.last_event, one.id) == (joined, None, state.id)


def test_a_session_nobody_owns_is_unknown() -> None:
    """Of a session without processes, as an import makes it, nobody can tell whether it runs."""
    assert judge(None, []) is Status.UNKNOWN
    assert judge(1, []) is Status.ENDED


@pytest.mark.parametrize(
    "spelling",
    [
        str,
        lambda name: name[:13],
        lambda name: name.upper()[:20],
        lambda name: name.replace("-", ""),
        lambda name: name.replace("-", "")[:15],
        lambda name: f" {name} ",
    ],
)
def test_a_beginning_is_enough(book: Book, spelling: Callable[[str], str]) -> None:
    """A session is found by the beginning of its id, with or without dashes, in capitals or not."""
    book.session(name="0197a1b2-c3d3-7000-8000-000000000001")
    wanted = book.session(name="0197a1b2-c3d4-7000-8000-000000000002").id
    book.session(name="0197a1b2-c3d5-7000-8000-000000000003")
    with reading(book.path) as connection:
        assert find_session(connection, spelling(wanted)) == wanted


def test_an_ambiguous_beginning_is_refused_with_candidates(book: Book) -> None:
    """A beginning that fits several sessions names none; the message lists them."""
    names = [book.session(name=f"0197a1b2-c3d4-7000-8000-00000000000{digit}").id for digit in "123"]
    with reading(book.path) as connection, pytest.raises(Ambiguous) as refused:
        find_session(connection, "0197a1b2")
    assert all(name in str(refused.value) for name in names)


@pytest.mark.parametrize("text", ["", "  ", "f", "no such", "%", "0197a1b2_", "'; DROP TABLE sessions"])
def test_what_is_no_beginning_finds_nothing(book: Book, text: str) -> None:
    """A text that no id begins with finds no session, whatever it is made of."""
    book.session(name="0197a1b2-c3d4-7000-8000-000000000001")
    with reading(book.path) as connection:
        assert find_session(connection, text) is None


def test_last_is_the_newest(book: Book) -> None:
    """`last` is the session that began last, if there is one."""
    gone = book.end(book.session())
    with reading(book.path) as connection:
        assert find_session(connection, "last") == gone
    newest = book.session().id
    with reading(book.path) as connection:
        assert find_session(connection, "last") == newest


def test_as_much_of_an_id_is_shown_as_tells_it_apart(book: Book) -> None:
    """The length shown is eight or more, and finds each session again."""
    names = [
        book.session(name=name).id
        for name in (
            "0197a1b2-c3d4-7000-8000-000000000001", "0197a1b2-c3d4-7100-8000-000000000001",
            "1197a1b2-c3d4-7000-8000-000000000001",
        )
    ]  # fmt: skip
    with reading(book.path) as connection:
        assert shown_length(connection, names[2:]) == 8
        length = shown_length(connection, names)
        assert [find_session(connection, name[:length]) for name in names] == names
        assert shown_length(connection, []) == 8


def test_a_list_touches_only_what_is_listed(book: Book) -> None:
    """SQLite reaches sessions by their number and events by their session: no query of a list scans a table of events,
    and none sorts the sessions."""
    book.session()
    with reading(book.path) as connection:
        plans = [
            plan(connection, listing.PAGE, {"before": 1, "tags": "[]", "size": 1}),
            plan(connection, listing.COUNTS, (1,)),
            plan(connection, listing._EVENT, (1,)),
            plan(connection, listing._NEIGHBOURS, {"id": "0"}),
            plan(connection, ratings.AVERAGES, (1,)),
            plan(connection, listing.SCORED_PAGE, {"before": 1, "tags": "[]", "scores": "[]", "size": 1}),
        ]
    assert any("SEARCH s USING INTEGER PRIMARY KEY (rowid<?)" in line for line in plans[0])
    assert plans[1] == ["SEARCH events USING INDEX sqlite_autoindex_events_1 (session=?)"]
    assert plans[2] == ["SEARCH events USING INTEGER PRIMARY KEY (rowid=?)"]
    assert plans[4] == ["SEARCH scores USING INDEX scores_by_session (session=?)"]
    lines = [line for one in plans for line in one]
    assert not [line for line in lines if "TEMP B-TREE" in line or line.startswith(("SCAN events", "SCAN s", "SCAN x"))]


def test_the_work_of_a_list_does_not_grow(book: Book) -> None:
    """A list of one session costs SQLite the same whether the database holds one event beside it or hundreds."""
    state = book.session()
    book.tool(state)
    alone = steps(book)
    for _ in range(20):
        other = book.session()
        for _ in range(30):
            book.llm(other, "x", cost="1")
        book.end(other)
    newest = book.session()
    book.tool(newest)
    assert steps(book) <= 1.2 * alone


def test_empty_rows_are_no_sessions(book: Book) -> None:
    """The empty rows that keep numbers from being given twice are in no list and under no name."""
    kept = book.session("kept").id
    erase(book, book.end(book.session("gone")))
    assert [one.id for one in listed(book)] == [kept]
    with reading(book.path) as connection:
        assert find_session(connection, "last") == kept
        assert shown_length(connection, [kept]) == 8
        with pytest.raises(NoSuchSession):
            summary(connection, "")


def plan(connection: sqlite3.Connection, sql: str, values: tuple[object, ...] | dict[str, object]) -> list[str]:
    """How SQLite would answer a query."""
    return [str(row["detail"]) for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]


def steps(book: Book) -> int:
    """How many dozens of steps SQLite takes to list the newest session."""
    with reading(book.path) as connection:
        counted = [0]

        def count() -> int:
            counted[0] += 1
            return 0

        connection.set_progress_handler(count, 12)
        list_sessions(connection, 1)
        return counted[0]
