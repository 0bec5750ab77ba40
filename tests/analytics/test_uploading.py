from __future__ import annotations

from collections.abc import Iterator

import filelock
import pytest

from agentops_local.analytics.finding import Level
from agentops_local.analytics.reading import reading
from agentops_local.analytics.uploading import is_served, lock_file, upload_findings, uploads
from tests.analytics.recording import Book

HOUR = 3_600_000_000  # µs


@pytest.fixture
def begun(book: Book) -> Book:
    """A database with five events, of which a server has two; nothing is in the way of the others."""
    state = book.session()
    for _ in range(5):
        book.tool(state)
    book.change("INSERT INTO targets (id, url, taken_seq, progress_us) VALUES (1, 'http://127.0.0.1:1', 4, 1)")
    book.change("INSERT INTO deliveries (target, session, state) VALUES (1, 1, 'present')")
    for event, what in enumerate(("done", "done", "pending", "flying"), 1):
        book.change(
            f"INSERT INTO uploads (target, event, session, kind, state) VALUES (1, {event}, 1, 'tools', '{what}')"
        )
    return book


@pytest.fixture
def served(begun: Book) -> Iterator[None]:
    """A daemon serves the database."""
    with filelock.FileLock(lock_file(begun.path)):
        yield


def told(book: Book, now_us: int = HOUR) -> tuple[Level, str]:
    """What doctor says of the upload."""
    with reading(book.path) as connection:
        (finding,) = upload_findings(connection, book.path, now_us)
    return finding.level, finding.text


def test_nothing_uploaded(book: Book) -> None:
    """That nothing was ever uploaded is nothing to worry about."""
    book.session()
    level, text = told(book)
    assert (level, text) == (Level.FINE, "nothing was ever uploaded; agentops-sync is not running")


def test_waiting_counts_what_is_not_noted_yet(begun: Book) -> None:
    """Waiting are the events noted and not done, and those that came since the daemon looked."""
    with reading(begun.path) as connection:
        (one,) = uploads(connection)
    assert (one.waiting, one.sent, one.given_up) == (3, 2, 0)


def test_nobody_uploads(begun: Book) -> None:
    """Events that wait while no daemon runs are worth a note."""
    assert told(begun)[0] is Level.NOTE


@pytest.mark.usefixtures("served")
def test_a_daemon_that_lives_but_does_not_work(begun: Book) -> None:
    """A daemon is judged by its progress: an hour without any, with something to send and no reason, is wrong."""
    assert told(begun, now_us=60_000_000)[0] is Level.FINE
    level, text = told(begun)
    assert level is Level.PROBLEM
    assert "nothing was accepted since" in text


@pytest.mark.usefixtures("served")
def test_a_server_that_cannot_be_reached(begun: Book) -> None:
    """While the server cannot be reached the daemon is not at fault, and the reason is told."""
    begun.change(f"UPDATE targets SET failures = 3, retry_us = {2 * HOUR}, last_error = 'no route'")
    level, text = told(begun)
    assert (level, "no route" in text) == (Level.NOTE, True)


@pytest.mark.usefixtures("served")
def test_what_is_given_up_is_told(begun: Book) -> None:
    """Events that will not be sent again are worth a note, whatever else is fine."""
    begun.change("UPDATE uploads SET state = 'dead' WHERE event = 3")
    assert told(begun, now_us=1) == (
        Level.NOTE,
        "http://127.0.0.1:1: 2 events sent, 2 waiting; agentops-sync is running; 1 given up or uncertain: "
        "agentops-sync status",
    )


def test_whoever_holds_the_lock_serves(begun: Book) -> None:
    """A database is served as long as somebody holds the lock, and no longer."""
    assert not is_served(begun.path)
    with filelock.FileLock(lock_file(begun.path)):
        assert is_served(begun.path)
    assert not is_served(begun.path)
