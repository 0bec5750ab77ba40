from __future__ import annotations

import random
from decimal import Decimal

import pytest

from agentops_local import clock
from agentops_local.analytics.filters import Filter, parse
from agentops_local.analytics.questions.breakdown import BY, Breakdown, Share, breakdown
from agentops_local.analytics.questions.stats import stats
from agentops_local.errors import WrongUse
from agentops_local.event import LLMEvent, ToolEvent
from tests.analytics.recording import Book

DAY = 86_400_000_000
BEGUN = clock.parse_us("2026-01-30T23:30:00Z") or 0
PERCENTS = (50, 95, 99)


def fill(book: Book) -> None:
    """Three days of calls that take from a moment to minutes, some of which fail."""
    chance = random.Random(7)
    for number in range(6):
        state = book.session(*["a", "b"][: number % 3], began=BEGUN + number * DAY // 2)
        for _ in range(12):
            at = BEGUN + number * DAY // 2 + chance.randrange(DAY // 4)
            call = LLMEvent(
                model=chance.choice(("big", "small")), prompt_tokens=chance.randrange(1000), completion_tokens=3,
                cost=chance.choice((None, Decimal("0.000123"), Decimal("0.2"))),
            )  # fmt: skip
            book.add(state, book.timed(call, at, int(10 ** chance.uniform(1, 8))))
            tool = ToolEvent(name=chance.choice(("search", "read")))
            book.add(state, book.timed(tool, at, chance.randrange(900)))
            if chance.random() < 0.3:
                book.error(state, chance.choice((call, tool)))


def asked(book: Book, by: str, where: Filter | None = None) -> dict[str, Share]:
    """The rows by name."""
    return {share.name: share for share in breakdown(by, where=where, db=book.path, utc=True).shares}


WHERES = [
    Filter(),
    parse(since="2026-01-31T00:07:03Z", until="2026-02-01T13:59:59Z"),
    parse(tags="a"),
    parse(model="big"),
]


@pytest.mark.parametrize("where", WHERES, ids=("all", "time", "tag", "model"))
def test_models_and_tools_are_those_of_the_statistics(book: Book, where: Filter) -> None:
    """By model and by tool the numbers are those of the statistics: calls, failures, percentiles, tokens and costs."""
    fill(book)
    whole = stats(where=where, db=book.path)
    for by, groups in (("model", whole.models), ("tool", whole.tools)):
        found = asked(book, by, where)
        assert set(found) == set(groups)
        for name, group in groups.items():
            one = found[name]
            assert (one.count, one.group.failed, one.group.cost) == (group.events, group.failed, group.cost)
            assert (one.group.tokens, one.group.unpriced) == (group.tokens, group.unpriced)
            assert list(one.percentiles) == group.percentiles(PERCENTS)
            assert one.error_rate == group.failed / group.events


SQL = """
SELECT count(CASE kind WHEN 'llms' THEN 1 END), count(*), coalesce(sum(cost_pusd), 0), coalesce(sum(prompt_tokens), 0),
       (SELECT count(*) FROM events x JOIN events f ON f.session = x.session AND f.id = x.trigger_id
        WHERE x.kind = 'errors' AND date(f.init_us / 1000000, 'unixepoch') = :day)
FROM events WHERE date(init_us / 1000000, 'unixepoch') = :day
"""


def test_days(book: Book) -> None:
    """By day the rows are those of SQL by hand, in their order; the nearest rank of the LLM calls of a day is told to
    0.1 %."""
    fill(book)
    found = asked(book, "day")
    days = [row[0] for row in book.rows("SELECT DISTINCT date(init_us / 1000000, 'unixepoch') FROM events ORDER BY 1")]
    assert list(found) == days
    for day, one in found.items():
        ((calls, events, cost, tokens, failed),) = book.rows(SQL.replace(":day", f"'{day}'"))
        assert (one.count, one.group.events, one.group.cost_pusd) == (calls, events, cost)
        assert (one.group.tokens["prompt_tokens"], one.group.failed) == (tokens, failed)
        took = sorted(row[0] for row in book.rows(
            "SELECT end_us - init_us FROM events WHERE kind = 'llms' AND date(init_us / 1000000, 'unixepoch') = ?", day
        ))  # fmt: skip
        ranks = [took[max(1, -(-percent * len(took) // 100)) - 1] / 1e6 for percent in PERCENTS] if took else None
        assert one.percentiles == ((None,) * 3 if ranks is None else pytest.approx(ranks, rel=0.001))


def test_a_time_is_cut_to_the_microsecond(book: Book) -> None:
    """By day, too, those events count that began at the first moment of a time or later, and before its end, wherever
    these fall in the slots of the index."""
    slot = 900_000_000
    begun = BEGUN - BEGUN % slot
    state = book.session(began=begun)
    times = [begun + place * slot + offset for place in range(4) for offset in (0, 1, slot // 2, slot - 1)]
    for time in times:
        book.add(state, book.timed(LLMEvent(model="m"), time, 5))
    for since in (None, begun, begun + 1, begun + slot // 2, begun + slot, begun + 2 * slot - 1):
        for until in (None, begun + slot - 1, begun + slot, begun + 2 * slot, begun + 2 * slot + 1, begun + 4 * slot):
            found = asked(book, "day", Filter(since, until))
            meant = [time for time in times if (since or 0) <= time < (until or times[-1] + 1)]
            assert sum(one.count for one in found.values()) == len(meant), (since, until)


@pytest.mark.parametrize("where", WHERES, ids=("all", "time", "tag", "model"))
def test_the_whole(book: Book, where: Filter) -> None:
    """The whole counts each event once, whatever it is broken down by; where an event is in one row alone, the rows add
    up to it."""
    fill(book)
    totals: dict[str, Breakdown] = {by: breakdown(by, where=where, db=book.path) for by in BY}
    told = {by: found.total.to_json() for by, found in totals.items() if by not in ("model", "tool")}
    assert len({str(one) for one in told.values()}) == 1
    assert totals["model"].total.percentiles == totals["tag"].total.percentiles == totals["host"].total.percentiles
    for by in ("model", "tool", "agent", "host", "day"):
        whole = totals[by].total
        assert sum(share.count for share in totals[by].shares) == whole.count
        assert sum(share.group.failed for share in totals[by].shares) == whole.group.failed
        assert sum(share.group.cost_pusd for share in totals[by].shares) == whole.group.cost_pusd
    assert sum(share.cost_share for share in totals["model"].shares) == pytest.approx(1)


def test_how_often_anything_fails(book: Book) -> None:
    """By agent, tag, host and day the error rate is that of all events but the errors themselves."""
    state = book.session("a")
    tools = [book.tool(state) for _ in range(3)]
    book.llm(state, "hello")
    book.error(state, tools[0])
    for by in ("agent", "tag", "host", "day"):
        (one,) = breakdown(by, db=book.path).shares
        assert one.error_rate == 1 / 4


def test_by_tag(book: Book) -> None:
    """By tag an event counts for each tag of its session, and for none where it has none."""
    first, second = book.session("a", "b"), book.session()
    for _ in range(2):
        book.llm(first, "hello", cost="1")
    book.llm(second, "hello", cost="2")
    found = asked(book, "tag")
    assert {name: (one.count, one.cost_share) for name, one in found.items()} == {
        "a": (2, 0.5), "b": (2, 0.5), "": (1, 0.5),
    }  # fmt: skip


def test_nothing_to_break_down(book: Book) -> None:
    """What there is none of has no rows and no rate; what there is not is refused."""
    book.action(book.session())
    found = breakdown("model", db=book.path)
    assert (found.shares, found.total.count, found.total.error_rate) == ([], 0, None)
    assert asked(book, "agent")["Default Agent"].percentiles == (None, None, None)
    with pytest.raises(WrongUse, match="by must be one of"):
        breakdown("colour", db=book.path)
