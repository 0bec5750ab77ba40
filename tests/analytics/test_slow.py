from __future__ import annotations

import pytest

from agentops_local.analytics.filters import parse
from agentops_local.analytics.questions.slow import slow
from agentops_local.errors import WrongUse
from agentops_local.event import ActionEvent, Event, LLMEvent, ToolEvent
from agentops_local.recorder.state import SessionState
from tests.analytics.recording import Book

BEGUN = 1_700_000_000_000_000
SECOND = 1_000_000


def took(
    book: Book, state: SessionState, event: Event, after: float, lasted: float, parent: Event | None = None
) -> Event:
    """An event that began and lasted so many seconds."""
    return book.add(state, book.timed(event, BEGUN + int(after * SECOND), int(lasted * SECOND)), parent)


def test_a_session(book: Book) -> None:
    """The time of a call is that in which nothing else was recorded inside it, counted once where calls overlap;
    unaccounted is the time in which no call was under way."""
    state = book.session(began=BEGUN)
    outer = ActionEvent(action_type="plan")
    took(book, state, LLMEvent(model="m"), 1, 3, outer)
    took(book, state, ToolEvent(name="t"), 2, 4, outer)  # at the same time as the call
    took(book, state, outer, 0, 7)
    took(book, state, ToolEvent(name="t"), 8, 1)
    book.end(state, at=BEGUN + 10 * SECOND)
    found = slow(state.id, db=book.path)
    assert (found.duration_s, found.unaccounted_s) == (10, 2)
    assert {(one.kind, one.name): one.self_us for one in found.took} == {
        ("tools", "t"): 5 * SECOND, ("llms", "m"): 3 * SECOND, ("actions", "plan"): 2 * SECOND,
    }  # fmt: skip
    assert [one.name for one in found.took] == ["t", "m", "plan"]
    assert [(one.name, one.us) for one in found.longest] == [
        ("plan", 7 * SECOND), ("t", 4 * SECOND), ("m", 3 * SECOND), ("t", SECOND),
    ]  # fmt: skip
    assert slow("last", 1, db=book.path).longest == found.longest[:1]


def test_all(book: Book) -> None:
    """Over many sessions the time is that of all calls of a name; the longest calls are named."""
    first, second = book.session("x", began=BEGUN), book.session(began=BEGUN)
    took(book, first, ToolEvent(name="t"), 0, 1)
    took(book, second, ToolEvent(name="t"), 0, 2)
    took(book, second, ToolEvent(name="u"), 0, 2.5)
    book.error(second)
    found = slow(db=book.path)
    assert [(one.name, one.group.us, one.self_us) for one in found.took] == [
        ("t", 3 * SECOND, None), ("u", 2.5 * SECOND, None),
    ]  # fmt: skip
    assert [one.us for one in found.longest[:3]] == [2.5 * SECOND, 2 * SECOND, SECOND]
    assert [one.us for one in slow(where=parse(tags="x"), db=book.path).longest] == [SECOND]
    with pytest.raises(WrongUse, match="not both"):
        slow(first.id, where=parse(tags="x"), db=book.path)


def test_nothing(book: Book) -> None:
    """A session without events took its time, all of it unaccounted."""
    state = book.session(began=BEGUN)
    book.end(state, at=BEGUN + SECOND)
    assert slow(state.id, db=book.path).to_json() == {
        "duration_s": 1.0, "unaccounted_s": 1.0, "took": [], "longest": [],
    }  # fmt: skip
