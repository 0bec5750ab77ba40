from __future__ import annotations

import pytest

from agentops_local.analytics.owners import Status
from agentops_local.analytics.pruning import Plan, parse_age, parse_size, used_bytes
from agentops_local.analytics.reading import reading
from agentops_local.errors import WrongUse
from tests.analytics.recording import OVER, Book, died, erase


def planned(book: Book, plan: Plan) -> list[str]:
    """The sessions that are to go."""
    with reading(book.path) as connection:
        return [one.id for one in plan.make(connection)]


def size(book: Book) -> int:
    """The bytes in use."""
    with reading(book.path) as connection:
        return used_bytes(connection)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30d", 2_592_000), ("12h", 43_200), ("2w", 1_209_600), ("90m", 5400), (" 5 S ", 5), ("0d", 0)],
)
def test_ages(text: str, seconds: int) -> None:
    """An age is a number and a letter."""
    assert parse_age(text) == seconds


@pytest.mark.parametrize(
    ("text", "count"),
    [("500MB", 500_000_000), ("2GiB", 2 << 30), ("1.5 kb", 1500), ("7", 7), ("7b", 7), ("1tib", 1 << 40)],
)
def test_sizes(text: str, count: int) -> None:
    """A size is a number and a unit, of thousands or (with an i) of 1024."""
    assert parse_size(text) == count


@pytest.mark.parametrize("text", ["", "d", "-1d", "1.5d", "30", "30 days", "1e9d", "٣d", "9999999999d"])
def test_what_is_no_age(text: str) -> None:
    """Anything else is refused, with what would be right."""
    with pytest.raises(WrongUse, match="30d"):
        parse_age(text)


@pytest.mark.parametrize("text", ["", "MB", "-1MB", "1 M", "1.MB", "1ib", "big"])
def test_what_is_no_size(text: str) -> None:
    """Anything else is refused, with what would be right."""
    with pytest.raises(WrongUse, match="500MB"):
        parse_size(text)


def test_age_counts_from_the_end(book: Book) -> None:
    """A session is as old as its end is past; one that runs, or may run, is never old."""
    old = book.end(book.session(began=1), at=10)
    book.end(book.session(began=1), at=1000)
    book.session(began=1)
    book.session(began=1)
    book.change("UPDATE owners SET boot = 'x:1', host = 'far', start_us = 5 WHERE seq = (SELECT max(seq) FROM owners)")
    assert planned(book, Plan(OVER, 1000, None)) == [old]
    unknown = planned(book, Plan(OVER | {Status.UNKNOWN}, 1000, None))
    assert (len(unknown), unknown[0]) == (2, old)


def test_a_died_session_is_as_old_as_its_last_sign(book: Book) -> None:
    """A session whose process died counts from when it was last seen."""
    session = died(book, "one")
    last = book.rows("SELECT max(end_us) FROM events")[0][0]
    assert planned(book, Plan(OVER, last, None)) == []
    assert planned(book, Plan(OVER, last + 1, None)) == [session]


def test_size_takes_the_oldest(book: Book) -> None:
    """With a size the oldest sessions go, as few as make the rest fit; the running stay whatever they weigh."""
    running = book.session()
    sessions = [running, *(book.session() for _ in range(6))]
    for number, state in enumerate(sessions):
        for turn in range(40):
            book.tool(state, params=f"{number} {turn} " * 500)
    ids = [book.end(state) for state in sessions[1:]]
    whole = size(book)
    assert planned(book, Plan(OVER, None, whole)) == []
    plan = Plan(OVER, None, whole * 3 // 5)
    going = planned(book, plan)
    assert going == ids[: len(going)]
    assert 2 <= len(going) <= 4
    erase(book, *going)
    assert size(book) <= whole * 3 // 5
    assert planned(book, plan) == []
    assert planned(book, Plan(OVER, None, 1)) == ids[len(going) :]


def test_a_size_is_met(book: Book) -> None:
    """A plan asked again after its sessions are gone goes on until the rest fits, and then wants nothing more."""
    states = [book.session() for _ in range(8)]
    for turn in range(80):
        for number, state in enumerate(states):
            book.tool(state, params=f"{number} {turn} " * 200)
    for state in states:
        book.end(state)
    most = size(book) // 3
    plan = Plan(OVER, None, most)
    for _ in range(4):
        erase(book, *planned(book, plan))
    assert size(book) <= most
    assert planned(book, plan) == []


def test_what_is_shared_is_freed_with_the_last(book: Book) -> None:
    """A long prompt that all sessions share is not counted as freed by those that go first."""
    states = [book.session() for _ in range(4)]
    for state in states:
        book.llm(state, "shared " * 50_000, "own " * 5000 + state.id)
        book.end(state)
    whole = size(book)
    # Only their own parts can be freed: about 20 kB each of the three oldest.
    assert len(planned(book, Plan(OVER, None, whole - 30_000))) == 2
