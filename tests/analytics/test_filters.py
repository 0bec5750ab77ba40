from __future__ import annotations

import pytest

from agentops_local import clock
from agentops_local.analytics import filters
from agentops_local.analytics.filters import Filter, moment, parse
from agentops_local.analytics.reading import reading
from agentops_local.errors import WrongUse
from tests.analytics.recording import Book, died

NOW = 1_769_860_800_000_000  # 2026-01-31T12:00:00Z
HOUR = 3_600_000_000


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("90m", NOW - 90 * 60_000_000),
        ("12h", NOW - 12 * HOUR),
        ("7d", NOW - 7 * 24 * HOUR),
        ("2 w", NOW - 14 * 24 * HOUR),
        ("today", NOW - 12 * HOUR),
        ("yesterday", NOW - 36 * HOUR),
        ("2026-01-30", NOW - 36 * HOUR),
        ("2026-01-31T11:00", NOW - HOUR),
        ("2026-01-31T13:00+02:00", NOW - HOUR),
        ("2026-01-31T11:00:00Z", NOW - HOUR),
    ],
)
def test_a_time(text: str, found: int) -> None:
    """A time is one ago, a day by name or date, or ISO 8601; in UTC where that is asked for."""
    assert moment("since", text, utc=True, now=NOW) == found


@pytest.mark.parametrize("text", ["", "soon", "7", "-7d", "7 years", "2026-13-01", "d"])
def test_no_time(text: str) -> None:
    """What is no time is refused, with its name and what may be written."""
    with pytest.raises(WrongUse, match=r"until must be .*7d"):
        parse(until=text)


def test_a_day_begins_at_midnight_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A day without a zone is that of the machine, summer time included."""
    import time

    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        assert moment("since", "2026-01-31") == clock.parse_us("2026-01-30T23:00:00Z")
        assert moment("since", "2026-07-31") == clock.parse_us("2026-07-30T22:00:00Z")
    finally:
        monkeypatch.undo()
        time.tzset()


def test_no_state() -> None:
    """A state that there is not is refused, and those that there are are named."""
    with pytest.raises(WrongUse, match=r"success, fail, .*'won'"):
        parse(state="won")
    assert parse(state="Success").state == "success"


def test_sessions(book: Book) -> None:
    """Sessions are picked by tags (all of them), state, time of their beginning, agent, model and host."""
    gone = died(book, "act")
    first, second = book.session("a", "b", began=NOW), book.session("b", began=NOW + HOUR)
    third = book.session()
    book.llm(first, "x", model="big")
    book.end(first, "Success")
    book.end(second, "Fail")
    with reading(book.path) as connection:

        def picked(**words: object) -> list[str]:
            seqs = filters.sessions(connection, Filter(**words))  # type: ignore[arg-type]
            return [connection.execute("SELECT id FROM sessions WHERE seq = ?", (seq,)).fetchone()[0] for seq in seqs]

        assert picked() == [gone, first.id, second.id, third.id]
        assert picked(tags=("b",)) == [first.id, second.id]
        assert picked(tags=("a", "b")) == [first.id]
        assert picked(state="fail") == [second.id]
        assert picked(state="died") == picked(state="indeterminate") == [gone]
        assert picked(state="running") == [third.id]
        assert picked(since_us=NOW + 1, until_us=NOW + 2 * HOUR) == [second.id]
        assert picked(model="big") == [first.id]
        assert len(picked(agent="Default Agent")) == 4
        assert picked(agent="nobody") == picked(host="nowhere") == []
