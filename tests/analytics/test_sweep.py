from __future__ import annotations

import json
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from agentops_local.analytics.sweep import Marks
from tests.analytics.recording import DB, Book, erase

# A small alphabet makes conversations share their beginnings; "L" stands for a text long enough to be a blob.
TEXT = st.sampled_from("abcL")
CALL = st.tuples(st.lists(TEXT, max_size=5), TEXT)
SESSION = st.lists(CALL, max_size=5)


def full(letter: str) -> str:
    """What a letter stands for."""
    return "long " * 500 if letter == "L" else letter


def prefixes(sessions: list[list[tuple[list[str], str]]]) -> set[tuple[str, ...]]:
    """Every conversation, as far as it had come, of some sessions."""
    whole = [
        (*(f"user {text}" for text in prompt), f"assistant {said}") for calls in sessions for prompt, said in calls
    ]
    return {one[:length] for one in whole for length in range(1, len(one) + 1)}


@settings(max_examples=40)
@given(st.lists(st.tuples(SESSION, st.booleans()), min_size=1, max_size=6))
def test_exactly_what_nothing_needs_goes(recorded: list[tuple[list[tuple[list[str], str]], bool]]) -> None:
    """After some sessions are erased, a message is there if and only if a session that stays has sent or received it
    after the same messages, and every prompt reads as before."""
    with tempfile.TemporaryDirectory() as folder:
        book = Book(Path(folder) / DB)
        ids = []
        for calls, _ in recorded:
            state = book.session()
            for prompt, said in calls:
                book.llm(state, *map(full, prompt), completion=full(said))
            ids.append(book.end(state))
        before = dict(book.rows("SELECT id, prompt || completion FROM llms"))
        erase(book, *(name for name, (_, goes) in zip(ids, recorded, strict=True) if goes))
        after = dict(book.rows("SELECT id, prompt || completion FROM llms"))
        kept = [calls for calls, goes in recorded if not goes]
        assert after == {name: before[name] for name in after}
        assert len(after) == sum(map(len, kept))
        stored = book.rows("SELECT count(*) FROM message_texts")[0][0]
        assert stored == len(prefixes(kept))
        blobs = book.rows("SELECT count(*) FROM blobs WHERE hash <> x''")[0][0]
        # As part of a message (once, whoever says it); nothing else is long here.
        assert blobs == any("L" in text for path in prefixes(kept) for text in path)
        book.check()
        book.close()


def test_a_batch_begins_with_what_is_new(book: Book) -> None:
    """What is marked in the midst of a transaction is judged by what has been committed until then: an old message
    that a new event names is kept, and so are messages stored after the marking began."""
    gone = book.session()
    book.llm(gone, "a", "b")
    book.end(gone)
    book.change("DELETE FROM events")
    with closing(sqlite3.connect(book.path, isolation_level=None)) as connection:
        marks = Marks(connection)
        assert list(marks.mark_events()) == []
        assert len(marks.messages(None)) == 3
        book.llm(book.session(), "a", "c")
        marks.catch_up()
        left = {row[0] for row in connection.execute("SELECT content FROM messages WHERE id IN (SELECT value FROM "
                                                     "json_each(?))", (json.dumps(marks.messages(None)),))}  # fmt: skip
    assert {json.loads(content)["content"] for content in left} == {"b", "yes"}


def test_what_was_stored_meanwhile_keeps_its_parents(book: Book) -> None:
    """A message that was stored after the marking began, by whatever event, keeps the messages above it."""
    gone = book.session()
    book.llm(gone, "a", "b")
    book.change("DELETE FROM events")
    with closing(sqlite3.connect(book.path, isolation_level=None)) as connection:
        marks = Marks(connection)
        top = max(marks.messages(None))
        book.change("INSERT INTO messages (id, parent, hash, content) VALUES (?, ?, x'01', '1')", top + 1, top - 1)
        marks.catch_up()
        assert marks.messages(None) == [top]


def test_the_weight_of_a_session_is_what_only_it_needs(book: Book) -> None:
    """A message that several sessions share weighs for the first of them that is marked, and no second time."""
    first, second = book.session(), book.session()
    for state in (first, second):
        book.llm(state, "x" * 1000, "y" * 10_000)
        book.tool(state, params="z" * 5000)
    numbers = [row[0] for row in book.rows("SELECT seq FROM sessions ORDER BY seq")]
    with closing(sqlite3.connect(book.path, isolation_level=None)) as connection:
        marks = Marks(connection)
        assert marks.mark_session(numbers[1]) > 16_000
        assert marks.mark_session(numbers[0]) == 0
