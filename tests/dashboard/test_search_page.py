from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agentops_local.analytics.filters import Filter
from agentops_local.analytics.index import forget
from agentops_local.analytics.index.progress import progress
from agentops_local.analytics.questions.search import Hits
from agentops_local.dashboard import searching
from agentops_local.dashboard.searching import Question, Searches
from agentops_local.errors import WrongUse
from tests.analytics.recording import Book
from tests.dashboard.running import Site

if TYPE_CHECKING:
    from playwright.sync_api import Page


class Slow:
    """A search that takes until it is told to end."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.times = 0

    def __call__(self, text: str, limit: int, **how: object) -> Hits:
        """Searches."""
        self.times += 1
        assert self.may_end.wait(20)
        if text == "wrong":
            raise WrongUse("no")
        return Hits()


def test_hits(book: Book, site: Site) -> None:
    """Each hit shows the match marked in what stands around it, and leads to its event; a kind leaves only its own."""
    state = book.session()
    call = book.llm(state, "the <b>needle</b> asked")
    tool = book.tool(state, "thread", {"with": "a needle"})
    page = site.get("/search?q=NEEDLE").text
    assert "the &lt;b&gt;<mark>needle</mark>&lt;/b&gt; asked" in page
    for event in (call, tool):
        assert f'href="/sessions/{state.id}#e={event.id}"' in page
    assert [hit["kind"] for hit in site.json("/search.json?q=needle&kind=tools")["hits"]] == ["tools"]
    assert [hit["kind"] for hit in site.json("/search.json?q=needle&kind=llms")["hits"]] == ["llms"]
    assert "Nowhere" in site.get("/search?q=haystack").text
    assert site.json("/search.json?q=")["hits"] is None


def test_a_search_that_takes_long(book: Book, tmp_path: Path) -> None:
    """A search that takes long goes on by itself: who asks hears how far it has come, who asks the same again hears of
    the same search, and of its hits when they are there; it is begun once."""
    book.tool(book.session())
    slow = Slow()
    searches = Searches(soon=0.01, find=slow)
    question = Question(book.path, "x", None, 10)
    for _ in range(3):
        told = searches.ask(question, Filter())
        assert told.hits is None
        assert told.waiting is not None
        assert told.waiting["of"] == 1
    assert slow.times == 1
    slow.may_end.set()
    patient = Searches(soon=10.0, find=slow)
    patient._works = searches._works
    assert patient.ask(question, Filter()).hits == []
    assert slow.times == 1


def test_many_searches_at_once(book: Book) -> None:
    """Only some searches are worked on at a time; another one waits for its turn, and those that nobody wants any more
    are forgotten."""
    book.tool(book.session())
    slow = Slow()
    searches = Searches(soon=0.01, find=slow)
    for number in range(6):
        assert searches.ask(Question(book.path, str(number), None, 10), Filter()).hits is None
    assert slow.times <= searching._AT_ONCE
    assert len(searches._works) == searching._AT_ONCE
    slow.may_end.set()


def test_what_a_search_has_met(book: Book) -> None:
    """What goes wrong in a search is told to whoever asks, and the next one begins anew."""
    book.tool(book.session())
    slow = Slow()
    slow.may_end.set()
    searches = Searches(soon=10.0, find=slow)
    for _ in range(2):
        with pytest.raises(WrongUse):
            searches.ask(Question(book.path, "wrong", None, 10), Filter())
    assert slow.times == 2


def test_how_far_the_index_has_come(book: Book, site: Site) -> None:
    """How far the index has come is told without bringing it further: nothing without one, all after a search."""
    state = book.session()
    for number in range(3):
        book.tool(state, f"tool {number}")
    assert progress(book.path).left == 6
    assert progress(book.path).left == 6
    site.get("/errors")
    assert (progress(book.path).counted, progress(book.path).known) == (3, 0)
    site.get("/search?q=tool")
    assert progress(book.path).left == 0
    forget(book.path)
    assert progress(book.path).counted == 0


def test_it_is_asked_again(book: Book, page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a search goes on the page says so, and the hits take that place by themselves."""
    state = book.session()
    event = book.tool(state, "thread", {"with": "a needle"})
    real = searching.SEARCHES._find
    may_end = threading.Event()

    def slow(*what: object, **how: object) -> Hits:
        assert may_end.wait(20)
        return real(*what, **how)

    monkeypatch.setattr(searching.SEARCHES, "_find", slow)
    monkeypatch.setattr(searching.SEARCHES, "_soon", 0.05)
    page.goto("/search?q=needle")
    page.wait_for_selector("text=Searching")
    assert page.locator("progress").count() == 1
    may_end.set()
    page.wait_for_selector("mark")
    assert page.locator(".hits a").first.get_attribute("href") == f"/sessions/{state.id}#e={event.id}"
