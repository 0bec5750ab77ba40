from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentops_local.analytics.erase import Eraser
from agentops_local.analytics.filters import Filter
from agentops_local.analytics.groups import Counting, Group
from agentops_local.analytics.index import catch_up, opened
from agentops_local.analytics.index.tables import SLOT
from agentops_local.event import ActionEvent, ErrorEvent, Event, LLMEvent, ToolEvent
from agentops_local.pricing.access import opened as opened_for_prices
from agentops_local.recorder.rows import _MOST_PUSD, _MOST_TOKENS
from agentops_local.recorder.state import SessionState
from agentops_local.store import changes
from tests.analytics.recording import ANY, Book

HUGE_COUNT, HUGE_COST = _MOST_TOKENS, _MOST_PUSD  # what is recorded at most
BEGUN = 1_700_000_000_000_000 // SLOT * SLOT  # a time at which a slot begins

Row = dict[str, Any]

# An event: which session, kind, name, how long after BEGUN it began, how long it took, tokens, cost, what failed.
EVENTS = st.tuples(
    st.integers(0, 3), st.sampled_from(["llms", "tools", "actions", "errors"]), st.sampled_from("ab"),
    st.one_of(st.integers(0, 3 * SLOT), st.sampled_from([0, SLOT - 1, SLOT, 2 * SLOT])),
    st.one_of(st.none(), st.integers(-5, 10**8)), st.one_of(st.none(), st.integers(0, 10**6), st.just(HUGE_COUNT)),
    st.one_of(st.none(), st.integers(0, 10**12), st.just(HUGE_COST)), st.integers(0, 5),
)  # fmt: skip
MOMENTS = st.one_of(st.none(), st.integers(-SLOT, 4 * SLOT), st.sampled_from([0, SLOT, SLOT + 1, 2 * SLOT - 1]))
FILTERS = st.builds(
    lambda since, until, tags, agent, model, state: Filter(
        None if since is None else BEGUN + since, None if until is None else BEGUN + until, tags, agent, model, state
    ),
    MOMENTS, MOMENTS, st.sampled_from([(), ("one",), ("one", "two")]), st.sampled_from([None, "ann", "nobody"]),
    st.sampled_from([None, "a", "z"]), st.sampled_from([None, "success", "fail"]),
)  # fmt: skip


@contextmanager
def shelf() -> Iterator[Book]:
    """A database of its own, for one example."""
    with TemporaryDirectory() as folder:
        book = Book(Path(folder, ".agentops", "agentops.db"))
        yield book
        book.close()


def sessions(book: Book) -> list[SessionState]:
    """Four: with one tag, two and none; one ended well, one did not."""
    states = [book.session(*tags, began=BEGUN) for tags in (("one",), ("one", "two"), (), ("two",))]
    book.end(states[0], "Success")
    book.end(states[1], "Fail")
    return states


def record(book: Book, states: list[SessionState], drawn: tuple[Any, ...], there: list[Event]) -> None:
    """An event as it was drawn."""
    session, kind, name, after, took, tokens, pusd, failed = drawn
    event: Event
    if kind == "llms":
        cost = None if pusd is None else Decimal(pusd).scaleb(-12)
        event = LLMEvent(model=name, prompt_tokens=tokens, completion_tokens=tokens, cost=cost)
    elif kind == "errors":
        trigger = there[-1 - failed] if failed < len(there) else None
        event = ErrorEvent(error_type=name, trigger_event=trigger)
    else:
        event = ToolEvent(name=name) if kind == "tools" else ActionEvent(action_type=name)
    book.add(states[session], book.timed(event, BEGUN + after, 0 if took is None else took))
    there.append(event)


def by_hand(book: Book, where: Filter) -> list[Row]:
    """The events that are meant, read row by row."""
    sql = """
    SELECT e.seq, e.kind, e.init_us, e.end_us, coalesce(CASE e.kind WHEN 'llms' THEN e.model ELSE e.name END, '') name,
           e.prompt_tokens, e.completion_tokens, e.cost_pusd, s.id, s.tags, s.end_state, s.end_us ended, a.name agent,
           (SELECT count(*) FROM events f WHERE f.session = e.session AND f.kind = 'errors' AND f.trigger_id = e.id)
    FROM events e JOIN sessions s ON s.seq = e.session LEFT JOIN agents a ON a.seq = e.agent WHERE s.id <> ''
    """
    names = "seq kind init_us end_us name prompt completion pusd session tags end_state ended agent failed".split()
    rows = [dict(zip(names, row, strict=True)) for row in book.rows(sql)]

    def meant(row: Row) -> bool:
        state = row["end_state"].lower() if row["ended"] is not None else "running"
        return (
            (where.since_us is None or row["init_us"] >= where.since_us)
            and (where.until_us is None or row["init_us"] < where.until_us)
            and set(where.tags) <= set(json.loads(row["tags"]))
            and where.agent in (None, row["agent"])
            and (where.model is None or (row["kind"] == "llms" and row["name"] == where.model))
            and where.state in (None, state)
        )

    return [row for row in rows if meant(row)]


def folded(rows: list[Row], key: Callable[[Row], list[Any]]) -> dict[Any, tuple[Any, ...]]:
    """Sums by hand."""
    found: dict[Any, list[Row]] = {}
    for row in rows:
        for name in key(row):
            found.setdefault(name, []).append(row)
    return {name: amounts(mine) for name, mine in found.items()}


def amounts(rows: list[Row]) -> tuple[Any, ...]:
    """What events amount to, by hand."""
    calls = [row for row in rows if row["kind"] == "llms"]
    times = [
        row["end_us"] - row["init_us"] for row in rows if row["end_us"] is not None and row["end_us"] >= row["init_us"]
    ]
    return (
        len(rows), len(calls), sum(row["kind"] == "errors" for row in rows), sum(row["failed"] for row in rows),
        sum(times), sum(row["prompt"] or 0 for row in calls), sum(row["completion"] or 0 for row in calls),
        sum(row["pusd"] or 0 for row in calls), sum(row["pusd"] is None for row in calls),
    )  # fmt: skip


def told(groups: dict[Any, Group]) -> dict[Any, tuple[Any, ...]]:
    """The sums that were counted."""
    return {
        name: (
            group.events, group.calls, group.errors, group.failed, group.us, group.tokens["prompt_tokens"],
            group.tokens["completion_tokens"], group.cost_pusd, group.unpriced,
        )
        for name, group in groups.items()
    }  # fmt: skip


def compare(book: Book, where: Filter) -> None:
    """Every way of counting gives what the events amount to."""
    rows = by_hand(book, where)
    with opened(book.path) as connection:
        counting = Counting(connection, where)
        names = counting.kinds_and_names()
        assert told(names) == folded(rows, lambda row: [(row["kind"], row["name"])])
        assert told(counting.agents()) == folded(rows, lambda row: [row["agent"] or ""])
        assert told(counting.tags()) == folded(rows, lambda row: sorted(set(json.loads(row["tags"]))) or [""])
        ids = {row["seq"]: row["id"] for row in connection.execute("SELECT seq, id FROM sessions")}
        assert told({ids[seq]: group for seq, group in counting.sessions().items()}) == folded(
            rows, lambda row: [row["session"]]
        )
        ended = [
            (row["init_us"] - row["end_us"], row["seq"]) for row in rows if (row["end_us"] or -1) >= row["init_us"]
        ]
        assert counting.longest(3) == [seq for _, seq in sorted(ended)[:3]]
    for key, group in names.items():
        mine = [row for row in rows if (row["kind"], row["name"]) == key and (row["end_us"] or -1) >= row["init_us"]]
        times = sorted(row["end_us"] - row["init_us"] for row in mine)
        for percent, counted in zip((50, 95), group.percentiles((50, 95)), strict=True):
            true = times[max(1, -(-percent * len(times) // 100)) - 1] / 1e6 if times else None
            assert counted == (None if true is None else pytest.approx(true, rel=0.001, abs=0))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(EVENTS, st.just("ask"), st.integers(0, 40), FILTERS), max_size=30), FILTERS)
def test_sums_are_those_of_the_events(steps: list[Any], where: Filter) -> None:
    """Whatever is recorded, priced anew or erased between two questions, by whatever it is counted and whatever is left
    out: the numbers are those of the events, exactly, and percentiles to 0.1 %."""
    with shelf() as book:
        states = sessions(book)
        there: list[Event] = []
        for step in steps:
            if isinstance(step, tuple):
                record(book, states, step, there)
            elif isinstance(step, Filter):
                compare(book, step)
            elif step == "ask":
                compare(book, Filter())
            else:
                reprice(book, step)
        compare(book, Filter())
        compare(book, where)


def reprice(book: Book, event: int) -> None:
    """Another cost for an event, as pricing does it."""
    with opened_for_prices(book.path) as access:

        def change(connection: Any) -> None:
            connection.execute("UPDATE events SET cost_pusd = 7 WHERE seq = ? AND kind = 'llms'", (event,))
            changes.note_events(connection, [event])

        access.write(change)


def test_what_was_erased_counts_no_more(book: Book) -> None:
    """A session that is erased counts in nothing, the others as before; numbers given later are not taken for its."""
    first, second = sessions(book)[:2]
    for state in (first, second):
        book.error(state, book.tool(state, "t"))
    compare(book, Filter())
    eraser = Eraser(book.path, ANY)
    eraser.erase(second.id)
    eraser.finish()
    eraser.close()
    compare(book, Filter())
    book.tool(first, "u")
    compare(book, Filter())


def test_an_error_before_what_failed(book: Book) -> None:
    """What an error says of an event that is stored only later counts as soon as that is there."""
    state = sessions(book)[0]
    tool = ToolEvent(name="t")
    tool.end_timestamp = tool.init_timestamp
    book.error(state, tool)
    compare(book, Filter())
    book.add(state, tool)
    compare(book, Filter())


def test_sums_beyond_64_bits(book: Book) -> None:
    """Sums that no 64 bits hold are exact, whether of one catch-up or of several, with a filter or without."""
    state = sessions(book)[0]
    for _ in range(2):
        for _ in range(100):
            call = LLMEvent(model="a", cost=Decimal(HUGE_COST).scaleb(-12), prompt_tokens=HUGE_COUNT)
            book.add(state, book.timed(call, BEGUN, 1))
        compare(book, Filter())
        compare(book, Filter(tags=("one",)))


def test_pieces(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """In however many pieces the index is brought up to date, the sums are the same."""
    monkeypatch.setattr(catch_up, "PIECE", 2)
    monkeypatch.setattr(catch_up, "_NEW", catch_up._NEW.replace("LIMIT 20000", "LIMIT 2"))
    states = sessions(book)
    for number in range(11):
        book.error(states[number % 4], book.tool(states[number % 4], "t"))
    compare(book, Filter())
