from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentops_local.analytics import filters
from agentops_local.analytics.index import forget, words
from agentops_local.analytics.questions.search import Hit, search
from agentops_local.errors import WrongUse
from agentops_local.event import ToolEvent
from tests.analytics.index.test_sums import shelf
from tests.analytics.recording import Book


def hits(book: Book, text: str, limit: int = 20, **where: str) -> list[Hit]:
    """What is found."""
    return search(text, limit, where=filters.parse(**where), db=book.path)  # type: ignore[arg-type]


def test_everywhere(book: Book) -> None:
    """Prompts, answers, parameters, results, logs, names and errors are searched; a hit names its place, and shows of a
    message what it says."""
    state = book.session()
    asked = book.llm(state, "the needle asked", completion="the needle answered")
    tool = ToolEvent(name="search", params={"q": ["the needle given"]}, logs="the needle logged")
    book.add(state, tool)
    found = book.tool(state, returns={"the needle named": 1})
    wrong = book.error(state, text="the needle failed")
    named = book.tool(state, name="needle_threader")
    where = {(hit.event_id, hit.field, hit.role): hit.before + hit.match + hit.after for hit in hits(book, "needle")}
    assert {key: text.split("\n") for key, text in where.items()} == {
        (str(asked.id), "prompt", "user"): ["the needle asked"],
        (str(asked.id), "completion", "assistant"): ["the needle answered"],
        (str(tool.id), "params", None): ["q", "the needle given"],
        (str(found.id), "returns", None): ["the needle named", "1"],
        (str(wrong.id), "details", None): ["the needle failed"],
        (str(named.id), "name", None): ["needle_threader"],
    }
    assert {hit.session_id for hit in hits(book, "needle")} == {state.id}
    assert hits(book, "needle in a haystack") == []


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ("我想取消我的航班 请退款", "取消我的航班"),
        ("أريد إلغاء حجزي من فضلك", "إلغاء حجزي"),
        ("Grüße aus Köln", "GRÜSSE"[:3]),
        ("ΟΔΥΣΣΕΥΣ", "οδυσσ"),
        ('he said "no" \\ left', 'said "no" \\'),
        ("tab\there", "b\th"),
        ("ab", "ab"),
        ("航", "航"),
        ("100% of _all_ * rows", "% of _all_ *"),
    ],
)
def test_any_script(book: Book, said: str, asked: str) -> None:
    """A piece of a text is found in any script, in either case, with quotes, wildcards and spaces as they stand; also
    where it is shorter than three characters."""
    state = book.session()
    book.llm(state, said)
    book.llm(state, "something else altogether")
    (hit,) = hits(book, asked)
    assert hit.match.casefold() == asked.casefold()


def test_a_message_is_told_once(book: Book) -> None:
    """A message that many calls and sessions repeat is one hit, at its first call, with the number of sessions."""
    first, second = book.session("x"), book.session("y")
    begun = book.llm(first, "you are a robot", "hello")
    book.llm(first, "you are a robot", "hello", "again")
    other = book.llm(second, "you are a robot", "hello", "otherwise")
    (hit,) = hits(book, "a robot")
    assert (hit.event_id, hit.session_id, hit.sessions) == (str(begun.id), first.id, 2)
    (hit,) = hits(book, "a robot", tags="y")
    assert (hit.event_id, hit.session_id, hit.sessions) == (str(other.id), second.id, 2)
    assert hits(book, "a robot", tags="z") == []


def test_what_is_left_out(book: Book) -> None:
    """Filters narrow the search down; the latest come first, as many as asked for."""
    states = [book.session(name) for name in "abc"]
    for number, state in enumerate(states):
        book.llm(state, f"find me {number}", model=f"m{number}")
    book.end(states[0], "Fail")
    assert [hit.session_id for hit in hits(book, "find me")] == [state.id for state in reversed(states)]
    assert [hit.session_id for hit in hits(book, "find me", limit=2)] == [states[2].id, states[1].id]
    assert [hit.session_id for hit in hits(book, "find me", model="m1")] == [states[1].id]
    assert [hit.session_id for hit in hits(book, "find me", state="fail")] == [states[0].id]
    assert hits(book, "find me", until="2020-01-01") == []


def test_what_comes_later_and_what_goes(book: Book) -> None:
    """What is recorded after one search is found by the next; what was erased is not."""
    from tests.analytics.recording import erase

    first, second = book.session(), book.session()
    book.tool(first, returns="a secret thing")
    assert len(hits(book, "secret")) == 1
    book.tool(second, returns="another secret thing")
    assert len(hits(book, "secret")) == 2
    erase(book, book.end(first))
    (hit,) = hits(book, "secret")
    assert hit.session_id == second.id


def test_images_are_no_words(book: Book) -> None:
    """What is encoded (an image, a file) is not searched; the text beside it is."""
    state = book.session()
    book.tool(state, params=["data:image/png;base64," + "needle" * 200, "A" * 2000 + "needle"], returns="a needle")
    (hit,) = hits(book, "needle")
    assert hit.field == "returns"


def test_nothing_to_search_for(book: Book) -> None:
    """An empty text is refused."""
    book.session()
    with pytest.raises(WrongUse, match="empty"):
        hits(book, " ")


def test_without_fts(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where SQLite has no trigrams every text is looked at, and the same is found."""
    state = book.session()
    book.llm(state, "a needle")
    book.tool(state, returns="another needle")
    there = hits(book, "needle")
    monkeypatch.setattr(words, "TEXTS", ("CREATE VIRTUAL TABLE idx.none USING no_such_module (text)",))
    forget(book.path)
    assert hits(book, "needle") == there
    assert len(there) == 2


@pytest.mark.parametrize("known", [0, 2, 5])
def test_whatever_part_is_known(book: Book, monkeypatch: pytest.MonkeyPatch, known: int) -> None:
    """What the index does not know yet is found all the same: letters of any script in either case, quotes, wildcards,
    and messages with the calls in which they stand."""
    state, other = book.session(), book.session()
    said = 'Grüße, "needle" 100%_ 航班'
    for number in range(6):
        book.llm(state, "hello", f"{said} {number}", completion=f"answer {number} {said}")
    book.llm(other, "hello", f"{said} 0", "and on")
    book.tool(state, params={"q": said})
    asked = ("GRÜSSE"[:3], '"NEEDLE" 100%_', "航班", "%_")
    there = [hits(book, text, 50) for text in asked]
    assert [len(found) for found in there] == [13, 13, 13, 13]
    assert {hit.sessions for hit in there[0]} == {1, 2}
    forget(book.path)
    monkeypatch.setattr(words, "PIECE", known)
    monkeypatch.setattr(words, "_LONGEST", 0.0)
    if known == 0:
        monkeypatch.setattr(words, "_piece", lambda _: True)
    again = [hits(book, text, 50) for text in asked]
    assert [sorted(found, key=str) for found in again] == [sorted(found, key=str) for found in there]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.text('abAB "%_é漢字', min_size=1, max_size=12), min_size=1, max_size=8),
    st.text('abAB "%_é漢字', min_size=1, max_size=5).filter(str.strip),
)
def test_found_is_what_holds_it(texts: list[str], asked: str) -> None:
    """Found are exactly the texts that hold what was asked for, upper and lower case alike."""
    with shelf() as book:
        state = book.session()
        events = [book.tool(state, name="-", returns=text) for text in texts]
        there = {str(event.id) for event, text in zip(events, texts, strict=True) if asked.lower() in text.lower()}
        assert {hit.event_id for hit in hits(book, asked)} == there


def test_plans(book: Book) -> None:
    """A search of three characters or more goes by the index; no statement of it looks through all events."""
    from agentops_local.analytics.project import indexed
    from agentops_local.analytics.questions import search as searching

    book.llm(book.session(), "x")
    values = {"match": '"abc"', "message": 1}
    with indexed(book.path, words.catch_up) as connection:
        for sql in (searching.MESSAGES, searching.EVENTS, searching.CALLS):
            plan = [row["detail"] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
            assert not [line for line in plan if line.startswith(("SCAN e", "SCAN m", "SCAN c"))], plan
        plan = [row["detail"] for row in connection.execute(f"EXPLAIN QUERY PLAN {searching.EVENT}", (1,))]
        assert not [line for line in plan if line.startswith("SCAN e")], plan
