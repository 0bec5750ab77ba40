from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentops_local.analytics.filters import Filter, parse
from agentops_local.analytics.index.fingerprint import fingerprint
from agentops_local.analytics.questions.alike import Alike, errors
from agentops_local.event import ErrorEvent
from tests.analytics.recording import Book


def found(book: Book, session: str | None = None, where: Filter | None = None) -> list[Alike]:
    """The groups of errors."""
    return errors(session, where=where, db=book.path)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("order 17 is gone", "order 4711 is gone"),
        ("no file /tmp/a/b.txt here", "no file /var/lib/c.json here"),
        ("at 2026-01-31T10:00:00.5Z", "at 2025-12-01 09:30"),
        ("not available on 2024-05-12", "not available on 2024-11-30"),
        ("id 0197a1b2-c3d4-7ef0-8a9b-0c1d2e3f4a5b", "id 01a22696-a1f8-7e3f-a8f5-8f1306d2f945"),
        ("GET https://a.example/x?y=1 failed", "GET http://b.example/z failed"),
        ("object at 0x7f9f8b318950", "object at 0x1"),
        ("took 1,234.5 s", "took 3 s"),
        ("request req_011CQxYzAbCd1234567 failed", "request req_9999999999999999aaaa failed"),
        ("digest 0f343b0931126a20f133d67c2b018a3b", "digest 9e107d9d372bb6826bd81d3542a419d6"),
        ("two\n  lines", "two lines"),
    ],
)
def test_alike(one: str, other: str) -> None:
    """Errors whose words differ in numbers, ids, times, paths, addresses and spaces only are alike."""
    assert fingerprint("E", None, one) == fingerprint("E", None, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("E", None, "no flight"), ("E", None, "no seat")),
        (("E", None, "x"), ("F", None, "x")),
        (("E", "404", "x"), ("E", "500", "x")),
        (("E", None, "feed"), ("E", None, "deed")),  # words, not hexadecimal numbers
    ],
)
def test_not_alike(one: tuple[str, str | None, str], other: tuple[str, str | None, str]) -> None:
    """Another type, another code or other words make another error."""
    assert fingerprint(*one).hash != fingerprint(*other).hash


def test_a_traceback_is_its_last_line() -> None:
    """Of a traceback the last line counts: the lines of a program move."""
    text = 'Traceback (most recent call last):\n  File "a.py", line {}, in f\n    f()\nValueError: no'
    assert fingerprint("E", None, text.format(1)) == fingerprint("E", None, text.format(2) + "\n")


@given(st.text(max_size=3000))
def test_any_words(text: str) -> None:
    """Any words have a fingerprint, the same each time, of words that are their own."""
    mark = fingerprint("E", None, text)
    assert mark == fingerprint("E", None, text)
    assert len(mark.text) <= 400


def test_counted_together(book: Book) -> None:
    """Errors that are alike are counted over all sessions, with the first and the last of them, and what failed."""
    first, second = book.session("x"), book.session("y")
    for number, state in enumerate((first, first, second)):
        event = ErrorEvent(error_type="Timeout", code="504", details=f"no answer in {number} s",
                           trigger_event=book.tool(state, "fetch"))  # fmt: skip
        book.add(state, book.timed(event, 1_000_000 * (number + 1), 0))
    book.error(second, text="another")
    one, other = found(book)
    assert (one.error_type, one.code, one.text) == ("Timeout", "504", "no answer in <n> s")
    assert (one.events, one.sessions, one.failed) == (3, 2, "fetch")
    assert (one.first_us, one.last_us) == (1_000_000, 3_000_000)
    assert (one.session_id, one.details) == (second.id, "no answer in 2 s")
    assert (other.error_type, other.events) == ("ValueError", 1)
    assert one.to_json()["first_seen"] == "1970-01-01T00:00:01.000000+00:00"


def test_seen_before(book: Book) -> None:
    """Asked of a session, only its own errors are told, counted over all sessions."""
    first, second = book.session(), book.session()
    book.error(first, text="seen before")
    book.error(first, text="only here")
    book.error(second, text="seen before")
    (one,) = found(book, second.id)
    assert (one.text, one.events, one.sessions) == ("seen before", 2, 2)
    assert found(book, "last") == [one]


def test_what_is_left_out(book: Book) -> None:
    """Filters leave errors out: by tag, state, time and the model whose call failed."""
    first, second = book.session("x"), book.session("y")
    book.error(first, book.llm(first, "q", model="big"), "of a model")
    book.error(second, text="of none")
    book.end(second, "Fail")
    assert [one.text for one in found(book, where=parse(tags="x"))] == ["of a model"]
    assert [one.text for one in found(book, where=parse(state="fail"))] == ["of none"]
    assert [one.text for one in found(book, where=parse(model="big"))] == ["of a model"]
    assert found(book, where=parse(until="1990-01-01")) == found(book, where=parse(agent="nobody")) == []
    assert found(book, where=parse(host="nowhere")) == []
    assert len(found(book, where=parse(since="1h"))) == 2
