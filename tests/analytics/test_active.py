from __future__ import annotations

import os

from agentops_local import clock
from agentops_local.analytics.questions.active import active
from tests.analytics.recording import Book, died


def test_what_runs(book: Book) -> None:
    """The sessions that run are told, with their processes; those that ended, or whose process died, are not."""
    died(book, "act")
    running, over = book.session("x"), book.session()
    book.tool(running, "fetch")
    book.end(over)
    (one,) = active(db=book.path)
    assert (one.session.id, one.session.counts.events, one.is_quiet) == (running.id, 1, False)
    assert [owner.identity.pid for owner in one.processes] == [os.getpid()]
    as_json = one.to_json()
    assert as_json["processes"][0]["liveness"] == "alive"  # type: ignore[index]


def test_what_is_quiet(book: Book) -> None:
    """A session of which nothing was heard for longer than asked for is quiet."""
    state = book.session()
    book.tool(state)
    later = clock.now_us() + 90_000_000
    (one,) = active(60, db=book.path, now=later)
    assert one.is_quiet
    assert 80 < one.quiet_s < 91
    (one,) = active(120, db=book.path, now=later)
    assert not one.is_quiet
