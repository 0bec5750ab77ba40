from __future__ import annotations

from decimal import Decimal

import pytest

from agentops_local.analytics.filters import parse
from agentops_local.analytics.groups import Group
from agentops_local.analytics.index import catch_up
from agentops_local.analytics.questions.stats import Stats, stats
from agentops_local.errors import WrongUse
from agentops_local.event import ErrorEvent, LLMEvent, ToolEvent
from tests.analytics.recording import Book, erase


def of(book: Book, session: str | None = None) -> Stats:
    """The statistics."""
    return stats(session, db=book.path)


@pytest.mark.parametrize(
    ("times", "p50", "p95"),
    [([7], 7, 7), ([1, 2], 1, 2), (range(1, 101), 50, 95), (range(1, 21), 10, 19), ([5] * 99 + [500], 5, 5)],
)
def test_percentiles(times: list[int], p50: int, p95: int) -> None:
    """A percentile is the time within which so many of a hundred were done: one of the times themselves."""
    group = Group()
    group.times.extend(reversed(times))
    assert (group.percentile(50), group.percentile(95)) == (p50 / 1e6, p95 / 1e6)
    assert Group().percentile(50) is None


def test_costs_are_exact(book: Book) -> None:
    """Costs add up to the last digit: ten times 0.1 is 1."""
    state = book.session()
    for _ in range(10):
        book.llm(state, "x", cost="0.1")
    assert of(book).all.cost == Decimal(1)
    assert of(book).models["m"].cost == Decimal(1)


def test_by_kind_model_tool_and_error(book: Book) -> None:
    """Events are counted by kind, LLM calls by model, tool calls by name with those that failed, errors by type."""
    state = book.session()
    for model, cost in (("a", "1"), ("a", None), ("b", "0.5")):
        book.llm(state, "x", model=model, cost=cost)
    book.add(state, LLMEvent())
    for name in ("good", "bad", "bad"):
        tool = book.tool(state, name)
        if name == "bad":
            book.error(state, tool)
    book.error(state)
    found = of(book)
    assert {kind: group.events for kind, group in found.kinds.items()} == {"llms": 4, "tools": 3, "errors": 3}
    assert {name: (group.events, group.unpriced) for name, group in found.models.items()} == {
        "a": (2, 1), "b": (1, 0), "": (1, 1),
    }  # fmt: skip
    assert {name: (group.events, group.failed) for name, group in found.tools.items()} == {
        "good": (1, 0),
        "bad": (2, 2),
    }
    assert found.errors == {"ValueError": 3}
    as_json = found.to_json()
    assert (as_json["events"], as_json["cost"], as_json["unpriced"]) == (10, 1.5, 2)
    assert [model["model"] for model in as_json["models"]] == ["a", None, "b"]  # type: ignore[attr-defined]


def test_one_session_or_all(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session's statistics are of its events alone; those of all are of all, in however many pieces they are read."""
    monkeypatch.setattr(catch_up, "PIECE", 3)
    monkeypatch.setattr(catch_up, "_NEW", catch_up._NEW.replace("LIMIT 20000", "LIMIT 3"))
    first, second = book.session(), book.session()
    for number in range(4):
        book.tool(first, "t")
        book.tool(second, "t")
        book.error(second if number else first, book.tool(second, "u"))
    assert (of(book, first.id).sessions, of(book, first.id).all.events) == (1, 5)
    assert (of(book).sessions, of(book).all.events) == (2, 16)
    assert of(book, second.id).tools["u"].failed == of(book).tools["u"].failed == 3


def test_a_clock_set_back_takes_no_time(book: Book) -> None:
    """An event that ended before it began is counted, and has no duration."""
    state = book.session()
    book.add(state, book.timed(ToolEvent(name="t"), 100, -50))
    book.add(state, book.timed(ToolEvent(name="t"), 100, 30))
    assert of(book).tools["t"].events == 2
    assert of(book).tools["t"].spread == {30: 1}
    assert list(of(book, state.id).tools["t"].times) == [30]


def test_empty_rows_do_not_count(book: Book) -> None:
    """What was erased counts in nothing."""
    state = book.session()
    book.tool(state)
    erase(book, book.end(state))
    assert (of(book).sessions, of(book).all.events, of(book).kinds) == (0, 0, {})


def test_a_session_or_a_filter(book: Book) -> None:
    """A session and a filter exclude each other."""
    state = book.session()
    with pytest.raises(WrongUse, match="not both"):
        stats(state.id, where=parse(tags="x"), db=book.path)


def test_rates(book: Book) -> None:
    """Errors are counted for each other event; LLM calls in each minute of the session, or of the quarters of an hour
    in which anything happened."""
    state = book.session(began=0)
    for _ in range(3):
        book.add(state, book.timed(LLMEvent(), 0, 1000))
    book.add(state, book.timed(ErrorEvent(error_type="x"), 0, 0))
    book.end(state, at=120_000_000)
    assert (of(book, state.id).calls_per_minute, of(book, state.id).error_rate) == (1.5, 1 / 3)
    assert (of(book).calls_per_minute, of(book).error_rate) == (3 / 15, 1 / 3)
