"""How SQLite answers what the index is asked: by its keys, and never by looking through all events."""

from __future__ import annotations

import pytest

from agentops_local.analytics import filters, groups
from agentops_local.analytics.filters import Filter, parse
from agentops_local.analytics.groups import Counting
from agentops_local.analytics.index import catch_up, marks
from agentops_local.analytics.project import indexed
from agentops_local.analytics.questions import active, alike, ranking, slow, stats
from tests.analytics.plans import scanned
from tests.analytics.recording import Book

FILTERS = [
    Filter(), parse(since="1h"), parse(tags="x"), parse(state="fail"), parse(agent="a"), parse(model="m"),
    parse(host="h"), parse(since="1d", until="1m", tags="x", agent="a", model="m", host="h"),
]  # fmt: skip
OF_EVENTS = [
    (catch_up._NEW, (0, 10)),
    (catch_up.OF_SESSION, (1, 10)),
    (catch_up._FAILED, (1, b"")),
    (catch_up._ERROR, (1,)),
    (marks._TOP, ()),
    (groups.EDGE, (1, 0, 1, 10)),
    (groups.FAILED, (1, 10)),
    (stats.OF_SESSION, (1,)),
    (stats.FAILED, (1,)),
    (slow.OF_SESSION, (1,)),
    (slow.EVENT, (1,)),
    (alike.EXAMPLE, (1,)),
    (ranking._ONE, (1,)),
]


@pytest.mark.parametrize(("sql", "values"), OF_EVENTS)
def test_events_are_reached_by_their_numbers_or_their_session(book: Book, sql: str, values: tuple[object, ...]) -> None:
    """No statement goes through the events, or anything that grows with them, from end to end."""
    book.tool(book.session())
    with indexed(book.path) as connection:
        assert scanned(connection, sql, values) == []


@pytest.mark.parametrize("where", FILTERS)
def test_whatever_is_left_out(book: Book, where: Filter) -> None:
    """However a question is narrowed down, it goes through the cells of the index at most, never through events."""
    book.error(book.session("x"), book.tool(book.session("x")))
    asked: list[str] = []
    with indexed(book.path) as connection:
        connection.set_trace_callback(asked.append)
        counting = Counting(connection, where)
        counting.kinds_and_names()
        for count in (counting.agents, counting.tags, counting.days, counting.hosts, counting.sessions):
            count()
        counting.longest(3)
        alike.conditions(connection, where)
        connection.set_trace_callback(None)
        for sql in asked:
            if sql.lstrip().startswith(("SELECT", "WITH")):
                lines = scanned(connection, sql, ())
                assert not [line for line in lines if line.split()[1] in ("e", "events", "f", "p", "messages", "m")], (
                    lines
                )


def test_sessions_are_gone_through_in_order(book: Book) -> None:
    """A filter goes through the list of sessions once, by their numbers; what is running is looked for there, too."""
    book.session()
    with indexed(book.path) as connection:
        values = {"tags": "[]", "host": "h", "agent": "a", "model": "m", "since_us": 0, "until_us": 1, "after": 0}
        assert scanned(connection, filters.SESSIONS, values) == []
        assert scanned(connection, active.OPEN, ()) == ["SCAN sessions"]
