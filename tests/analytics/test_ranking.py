from __future__ import annotations

from decimal import Decimal

import pytest

from agentops_local import clock
from agentops_local.analytics.filters import Filter
from agentops_local.analytics.questions.ranking import BY, MEASURES, cost, top
from agentops_local.errors import WrongUse
from agentops_local.event import LLMEvent
from tests.analytics.recording import Book

DAY = 86_400_000_000
BEGUN = clock.parse_us("2026-01-30T23:30:00Z") or 0


def call(book: Book, state: object, at: int, price: str | None, model: str = "m") -> None:
    """An LLM call at a time."""
    event = LLMEvent(model=model, prompt_tokens=10, completion_tokens=1, cost=None if price is None else Decimal(price))
    book.add(state, book.timed(event, at, 1000))  # type: ignore[arg-type]


def test_by_each(book: Book) -> None:
    """Costs are counted by model, agent, tag, day, session and host, exactly; the dearest first, days in their order. A
    call counts for each tag of its session, and once in the sum."""
    first, second = book.session("a", "b", began=BEGUN), book.session(began=BEGUN)
    call(book, first, BEGUN, "0.1", "big")
    call(book, first, BEGUN + DAY, "0.2", "small")
    call(book, second, BEGUN + DAY, None, "small")
    book.tool(second)

    def found(by: str) -> dict[str, tuple[Decimal, int, int]]:
        groups = cost(by, db=book.path, utc=True).groups
        return {name: (group.cost, group.calls, group.unpriced) for name, group in groups.items()}

    one, two, three = Decimal("0.1"), Decimal("0.2"), Decimal("0.3")
    assert list(found("model").items()) == [("small", (two, 2, 1)), ("big", (one, 1, 0))]
    assert found("tag") == {"a": (three, 2, 0), "b": (three, 2, 0), "": (0, 1, 1)}
    assert list(found("day").items()) == [("2026-01-30", (one, 1, 0)), ("2026-01-31", (two, 2, 1))]
    assert found("session") == {first.id: (three, 2, 0), second.id: (0, 1, 1)}
    assert found("agent") == {"Default Agent": (three, 3, 1)}
    assert list(found("host").values()) == [(three, 3, 1)]
    for by in BY:
        total = cost(by, db=book.path).total
        assert (total.cost, total.calls, total.unpriced) == (three, 3, 1)


def test_a_day_is_that_of_the_machine(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """Days are those of the machine's zone, also where that is off by a quarter of an hour."""
    import time

    state = book.session(began=BEGUN)
    call(book, state, BEGUN, "1")
    monkeypatch.setenv("TZ", "Asia/Kathmandu")  # 5:45 ahead
    time.tzset()
    try:
        assert list(cost("day", db=book.path).groups) == ["2026-01-31"]
        assert list(cost("day", db=book.path, utc=True).groups) == ["2026-01-30"]
    finally:
        monkeypatch.undo()
        time.tzset()


def test_the_most_of_each(book: Book) -> None:
    """Sessions are ranked by cost, tokens, events, errors or duration, as many as asked for."""
    dear, busy, broken, long = (book.session(name, began=BEGUN) for name in ("dear", "busy", "broken", "long"))
    call(book, dear, BEGUN, "5")
    for _ in range(5):
        call(book, busy, BEGUN, "0.01")
        book.tool(busy)
    for _ in range(2):
        book.error(broken)
    book.end(dear, "Fail", at=BEGUN + 1)
    book.end(busy, "Success", at=BEGUN + 2)
    book.end(broken, "Success", at=BEGUN + 3)
    book.end(long, "Success", at=BEGUN + 9 * DAY)
    call(book, long, BEGUN, None)
    first = {by: top(by, 1, db=book.path)[0].tags for by in MEASURES}
    assert first == {
        "cost": ["dear"], "tokens": ["busy"], "events": ["busy"], "errors": ["broken"], "duration": ["long"],
    }  # fmt: skip
    (one,) = top("cost", 1, db=book.path)
    assert one.to_json() | {"duration_s": 0, "events": 1} == one.to_json() | {"duration_s": 0}
    assert (one.state, one.group.cost, one.duration_s) == ("Fail", Decimal(5), 0.000001)
    assert [each.tags for each in top("cost", where=Filter(tags=("busy",)), db=book.path)] == [["busy"]]
    assert len(top(limit=3, db=book.path)) == 3


def test_only_what_is_meant_counts(book: Book) -> None:
    """With a time only what was spent in it counts, also of sessions that began before."""
    state = book.session(began=BEGUN)
    for days in range(4):
        call(book, state, BEGUN + days * DAY, "1")
    where = Filter(since_us=BEGUN + DAY, until_us=BEGUN + 3 * DAY)
    assert cost(where=where, db=book.path).total.cost == 2
    assert top(where=where, db=book.path)[0].group.cost == 2


def test_no_such_measure(book: Book) -> None:
    """What cannot be counted by is refused, and what can is named."""
    book.session()
    with pytest.raises(WrongUse, match=r"model, agent, .*'colour'"):
        cost("colour", db=book.path)
    with pytest.raises(WrongUse, match=r"cost, tokens, .*'colour'"):
        top("colour", db=book.path)
