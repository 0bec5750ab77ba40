from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agentops_local import clock
from agentops_local.analytics import filters
from agentops_local.analytics.filters import Filter, parse
from agentops_local.analytics.project import indexed
from agentops_local.analytics.questions.listing import SORTS, Listed, Listing, _listed, _Page, listing
from agentops_local.analytics.questions.membership import Membership
from agentops_local.analytics.reading import reading
from agentops_local.analytics.sessions import summary
from agentops_local.errors import WrongUse
from agentops_local.event import LLMEvent
from tests.analytics.plans import scanned
from tests.analytics.recording import Book, erase

BEGUN = clock.parse_us("2026-01-30T10:00:00Z") or 0
SECOND = 1_000_000


def fill(book: Book) -> list[str]:
    """Sessions that have much in common, and something of their own; their ids."""
    ids = []
    for number in range(9):
        tags = ["nightly"] * (number % 2) + [f"t{number % 3}"]
        state = book.session(*tags, began=BEGUN + number // 2 * SECOND)
        state.agent_names["0197a1b2-0000-7000-8000-000000000001"] = "planner"
        for _ in range(number % 4):
            book.llm(state, "hello", cost="0.5" if number % 3 else None, model=f"m{number % 2}")
            book.add(state, LLMEvent(model=f"m{number % 2}", completion_tokens=number * 5 % 9 * 30))
        for _ in range(number % 3):
            book.tool(state)
        book.action(state)
        if number % 4 == 1:
            book.error(state)
        if number != 8:
            end = ("Success", "Fail", "Indeterminate")[number % 3]
            book.end(state, end, "Out of Money" if end == "Fail" else None, at=BEGUN + (9 + number) * SECOND)
        ids.append(state.id)
    return ids


def pages(book: Book, sort: str, limit: int = 2, where: Filter | None = None) -> Iterator[Listing]:
    """Page after page."""
    after = None
    while True:
        page = listing(sort, limit, where=where, after=after, db=book.path)
        yield page
        after = page.after
        if after is None:
            return


def test_a_row_is_a_summary(book: Book) -> None:
    """Of each session the list tells what the session itself tells: state, counts, tokens, cost, tags and agents."""
    fill(book)
    rows = listing(limit=100, db=book.path).rows
    assert len(rows) == 9
    with reading(book.path) as connection:
        for row in rows:
            one = summary(connection, row.id)
            assert (row.init_us, row.end_us, row.state, row.reason) == (
                one.init_us, one.end_us, one.state, one.end_state_reason,
            )  # fmt: skip
            assert (row.tags, row.group.events, row.group.cost, row.group.unpriced) == (
                one.tags, one.counts.events, one.counts.cost, one.counts.unpriced,
            )  # fmt: skip
            assert {kind: row.kinds.get(kind, 0) for kind in one.counts.kinds} == one.counts.kinds
            assert row.group.tokens["prompt_tokens"] == one.counts.prompt_tokens
            assert row.agents[0] == "Default Agent"
            if one.end_us is not None:
                assert row.duration_s == one.duration_s


VALUES: dict[str, Callable[[Listed], Any]] = {
    "id": lambda row: row.id, "started": lambda row: row.init_us, "duration": lambda row: row.duration_s,
    "state": lambda row: row.state, "cost": lambda row: row.group.cost_pusd, "events": lambda row: row.group.events,
    "tokens": lambda row: row.group.tokens["prompt_tokens"] + row.group.tokens["completion_tokens"],
    "llms": lambda row: row.kinds.get("llms", 0), "tools": lambda row: row.kinds.get("tools", 0),
    "actions": lambda row: row.kinds.get("actions", 0), "errors": lambda row: row.kinds.get("errors", 0),
    "tags": lambda row: row.place.rpartition(",")[0], "agents": lambda row: ", ".join(row.agents),
}  # fmt: skip


@pytest.mark.parametrize("sort", [*SORTS, *(f"-{sort}" for sort in SORTS)])
def test_pages(book: Book, sort: str) -> None:
    """Whatever the list is sorted by, over all its rows, its pages give every session once, in that order; backwards
    they are the same pages."""
    ids = fill(book)
    found = list(pages(book, sort))
    rows: list[Listed] = [row for page in found for row in page.rows]
    assert sorted(row.id for row in rows) == sorted(ids)
    of = VALUES[sort.removeprefix("-")]
    keys = [(of(row), row.id) for row in rows]
    assert keys == sorted(keys, reverse=sort.startswith("-"))
    assert {page.total for page in found} == {9}
    assert found[0].before is None
    back = found[-1]
    for page in reversed(found[:-1]):
        assert back.before is not None
        back = listing(sort, 2, before=back.before, db=book.path)
        assert [row.id for row in back.rows] == [row.id for row in page.rows]
    assert back.before is None


def test_recorded_between_two_pages(book: Book) -> None:
    """What is recorded between two pages neither shows a session twice nor hides one that was there."""
    ids = fill(book)
    first = listing("-cost", 4, db=book.path)
    dear = book.session()
    book.llm(dear, cost="100")
    rows = [row.id for row in first.rows]
    after = first.after
    while after is not None:
        page = listing("-cost", 4, after=after, db=book.path)
        rows += [row.id for row in page.rows]
        after = page.after
    assert sorted(rows) == sorted(ids)
    assert listing("-cost", 4, before=first.rows[0].place, db=book.path).rows[0].id == dear.id


FILTERS = [
    {}, {"tags": "nightly"}, {"tags": ["nightly", "t1"]}, {"model": "m1"}, {"model": "none"}, {"agent": "planner"},
    {"agent": "Default Agent"}, {"since": "2026-01-30T10:00:02Z"}, {"until": "2026-01-30T10:00:02Z"},
    *({"state": state} for state in ("success", "fail", "indeterminate", "running", "died", "unknown")),
    {"tags": "t1", "state": "fail", "model": "m1"}, {"host": "elsewhere"},
]  # fmt: skip


@pytest.mark.parametrize("asked", FILTERS, ids=str)
def test_narrowed_down(book: Book, asked: dict[str, str]) -> None:
    """A filter leaves the sessions that it picks for every other question."""
    fill(book)
    where = parse(**asked)  # type: ignore[arg-type]
    numbers = dict(book.rows("SELECT seq, id FROM sessions"))
    with indexed(book.path) as connection:
        ids = {numbers[seq] for seq in filters.sessions(connection, where)}
    found = [row.id for page in pages(book, "-tools", 3, where) for row in page.rows]
    assert set(found) == ids
    assert len(found) == len(ids)


def test_scored(book: Book) -> None:
    """Sessions are picked by their scores, which are told with them, and sorted by the average of one; those without it
    come last where the best come first, page by page as by anything else."""
    from agentops_local.analytics.scoring import score

    ids = fill(book)
    book.close()
    score(ids[3], "helpful", 0.75, db=book.path)
    score(ids[4], "helpful", 0.25, db=book.path)
    found = listing(where=parse(scores="helpful>=0.5"), db=book.path)
    assert [(row.id, row.scores) for row in found.rows] == [(ids[3], {"helpful": 0.75})]
    rows = [row.id for page in pages(book, "-score:helpful") for row in page.rows]
    assert (rows[:2], sorted(rows)) == ([ids[3], ids[4]], sorted(ids))


@pytest.mark.parametrize("asked", [{}, {"tags": "nightly"}, {"state": "fail"}, {"model": "m1", "tags": "t0"}], ids=str)
def test_what_a_choice_would_leave(book: Book, asked: dict[str, str]) -> None:
    """The number beside a choice is how many sessions the list has when it is made: in place of that of its kind, or of
    tags beside the others."""
    fill(book)
    where = parse(**asked)  # type: ignore[arg-type]
    facets = listing(where=where, db=book.path).facets
    every = listing(db=book.path).facets
    assert all(every.values())
    for name, values in every.items():
        for value in values:
            choice = {"tags": list(dict.fromkeys([*where.tags, value]))} if name == "tag" else {name: value}
            chosen = parse(**{**asked, **choice})  # type: ignore[arg-type]
            assert listing(where=chosen, db=book.path).total == facets[name].get(value, 0), (name, value)
    assert set(where.tags) <= set(facets["tag"])


def test_a_choice_that_leaves_nothing(book: Book) -> None:
    """What is chosen is among the choices even where no session has it, so that it can be taken away."""
    fill(book)
    found = listing(where=parse(model="none", tags="gone"), db=book.path)
    assert (found.total, found.rows, found.facets["model"], found.facets["tag"]) == (0, [], {"none": 0}, {"gone": 0})


def test_by_text(book: Book) -> None:
    """A text is looked for in ids, tags and reasons, upper and lower case alike; it stands for itself."""
    ids = fill(book)

    def found(text: str) -> set[str]:
        return {row.id for row in listing(limit=100, text=text, db=book.path).rows}

    assert found("MONEY") == {ids[1], ids[4], ids[7]}
    assert found("Nightly") == {ids[number] for number in (1, 3, 5, 7)}
    assert found(ids[2].upper()) == {ids[2]}
    assert found("100%") == found("night_y") == set()
    assert len(found("  ")) == 9


def test_absurd_numbers(book: Book) -> None:
    """Counts beyond 64 bits are told exactly, and sorted and paged all the same."""
    ids = fill(book)
    huge = (1 << 63) - 1
    book.close()
    book.change("UPDATE events SET prompt_tokens = ? WHERE kind = 'llms' AND session = 3", huge)
    for sort in ("-tokens", "tokens"):
        rows = [row for page in pages(book, sort, 1) for row in page.rows]
        assert sorted(row.id for row in rows) == sorted(ids)
        most = rows[0] if sort == "-tokens" else rows[-1]
        assert (most.id, most.group.tokens["prompt_tokens"]) == (ids[2], 4 * huge)


@pytest.mark.parametrize("after", ["", "x", "1", "x,y", "nan,y", "inf,y", "1e999,y"])
def test_no_such_place(book: Book, after: str) -> None:
    """A page after what no page ended with is refused, and so is a column that there is not."""
    fill(book)
    with pytest.raises(WrongUse, match="goes on after"):
        listing("-cost", after=after, db=book.path)
    with pytest.raises(WrongUse, match="sort must be one of"):
        listing("colour", db=book.path)


def test_an_empty_database(book: Book) -> None:
    """Without sessions the list is empty, and has no other page."""
    erase(book, book.end(book.session("x")))
    found = listing(db=book.path)
    assert (found.rows, found.total, found.after, found.before, found.dearest_usd) == ([], 0, None, None, 0.0)


def test_no_event_is_looked_at(book: Book) -> None:
    """However it is sorted and narrowed down, the list is made of the index and the sessions, never of all events."""
    fill(book)
    asked: list[str] = []
    with indexed(book.path) as connection:
        for sort, where in itertools.product(SORTS, (Filter(), parse(model="m1", agent="planner", tags="t1"))):
            members = Membership(connection, where, "x")
            connection.create_function("state_of", 1, members.state)
            connection.set_trace_callback(asked.append)
            rows = _Page(connection, sort, True, members.picked_json()).read(5, (0, "x"), False)
            list(_listed(connection, members, rows))
            connection.set_trace_callback(None)
        assert asked
        for sql in set(asked):
            lines = scanned(connection, sql, ())
            assert not [line for line in lines if line.split()[1] in ("e", "events", "p", "m", "messages")], sql
