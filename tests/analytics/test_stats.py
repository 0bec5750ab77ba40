from __future__ import annotations

from decimal import Decimal

import pytest

from agentops_local.analytics import stats as gathering
from agentops_local.analytics.reading import reading
from agentops_local.analytics.stats import Group, Stats, stats
from agentops_local.event import LLMEvent, ToolEvent
from tests.analytics.recording import Book, erase


def of(book: Book, session: int | None = None) -> Stats:
    """The statistics."""
    with reading(book.path) as connection:
        return stats(connection, session)


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
    monkeypatch.setattr(gathering, "_ALL", gathering._ALL.replace(f"LIMIT {gathering._PIECE}", "LIMIT 3"))
    monkeypatch.setattr(gathering, "_PIECE", 3)
    first, second = book.session(), book.session()
    for number in range(4):
        book.tool(first, "t")
        book.tool(second, "t")
        book.error(second if number else first, book.tool(second, "u"))
    assert (of(book, 1).sessions, of(book, 1).all.events) == (1, 5)
    assert (of(book).sessions, of(book).all.events) == (2, 16)
    assert of(book, 2).tools["u"].failed == 3


def test_a_clock_set_back_takes_no_time(book: Book) -> None:
    """An event that ended before it began is counted, and has no duration."""
    state = book.session()
    book.add(state, book.timed(ToolEvent(name="t"), 100, -50))
    book.add(state, book.timed(ToolEvent(name="t"), 100, 30))
    assert of(book).tools["t"].events == 2
    assert list(of(book).tools["t"].times) == [30]


def test_empty_rows_do_not_count(book: Book) -> None:
    """What was erased counts in nothing."""
    state = book.session()
    book.tool(state)
    erase(book, book.end(state))
    assert (of(book).sessions, of(book).all.events, of(book).kinds) == (0, 0, {})


def test_a_session_is_reached_by_its_index(book: Book) -> None:
    """The statistics of a session look at no event of another."""
    book.tool(book.session())
    with reading(book.path) as connection:
        for sql, values in ((gathering._OF_SESSION, (1,)), (gathering._FAILED, (1, 1))):
            plan = [row["detail"] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
            assert not [line for line in plan if line.startswith("SCAN e")], plan
