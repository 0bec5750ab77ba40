from __future__ import annotations

from agentops_local.event import LLMEvent
from agentops_local.recorder.state import SessionState
from tests.analytics.recording import Book
from tests.dashboard.running import Site


def ask(book: Book, state: SessionState, *texts: str, completion: str = "yes") -> None:
    """A call with a system prompt and some messages."""
    roles = ("system", *("user", "assistant") * len(texts))
    prompt = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]
    book.add(state, LLMEvent(prompt=prompt, completion=completion, model="m", cost=0.5))


def two(book: Book) -> tuple[str, str]:
    """A run, and another that was told otherwise and took one step more."""
    a, b = book.session("a"), book.session("b")
    ask(book, a, "Be kind.", "Find me a flight.")
    book.tool(a, "search", {"to": "Rome"}, ["AZ 1"])
    ask(book, b, "Be brief.", "Find me a flight.")
    book.tool(b, "search", {"to": "Rome"}, ["AZ 2"])
    book.tool(b, "book", {"flight": "AZ 2"})
    return book.end(a, "Success"), book.end(b, "Fail", "no seat")


def test_side_by_side(book: Book, site: Site) -> None:
    """Two runs stand side by side: numbers with their difference, the message at which they part, what differs in their
    prompts line by line, and their steps, each linked to its event."""
    a, b = two(book)
    found = site.json(f"/compare.json?a={a}&b={b}")
    assert {one["name"]: one["difference"] for one in found["metrics"]}["events"] == 1
    assert [row["mark"] for row in found["rows"]] == ["asked otherwise", "gave another", "only B"]
    page = site.get(f"/compare?a={a}&b={b}").text
    assert '<span class="minus">-Be kind.' in page
    assert '<span class="plus">+Be brief.' in page
    assert "--- a" not in page
    assert "they part at message 1" in page
    for row in found["rows"]:
        for side, run in (("a", a), ("b", b)):
            if row[side]:
                assert book.rows("SELECT seq FROM payloads WHERE id = ?", row[side]["event_id"]) == [
                    (row[side]["seq"],)
                ]
                assert f'href="/sessions/{run}#e={row[side]["event_id"]}"' in page


def test_steps_that_are_the_same_are_counted(book: Book, site: Site) -> None:
    """Steps far from any difference are told by their number, so that a long run shows where it parts."""
    a, b = book.session(), book.session()
    for state in (a, b):
        for number in range(40):
            book.tool(state, "step", number, state.id if number == 20 else None)
    rows = site.json(f"/compare.json?a={a.id}&b={b.id}")["rows"]
    assert [row["skipped"] or row["a"]["number"] for row in rows] == [18, 19, 20, 21, 22, 23, 17]
    assert "17 steps the same" in site.get(f"/compare?a={a.id}&b={b.id}").text


def test_two_that_were_ticked(book: Book, site: Site) -> None:
    """Of two runs that were ticked in a list, the newest first, the older one is A."""
    a, b = two(book)
    assert site.json(f"/compare.json?run={b}&run={a}")["chosen"] == {"a": a, "b": b}


def test_choosing(book: Book, site: Site) -> None:
    """Where one of the two is missing there are runs to choose from, and the other is kept; a run that is not there is
    told with 404."""
    a, b = two(book)
    found = site.json(f"/compare.json?a={a}")
    assert found["chosen"] == {"a": a, "b": None}
    assert {one["session_id"] for one in found["choices"]["sessions"]} == {a, b}
    assert f'name="a" value="{a}" aria-label="A: {a[:13]}" checked' in site.get(f"/compare?a={a}").text
    assert f'type="hidden" name="a" value="{a}"' in site.get(f"/compare?a={a}&q=no+seat").text
    assert site.get(f"/compare?a={a}&b=0000").status_code == 404


def test_the_same_run_twice(book: Book, site: Site) -> None:
    """A run beside itself has no difference anywhere, and says so."""
    a, _ = two(book)
    page = site.get(f"/compare?a={a}&b={a}").text
    for text in ("Both did the same things", "Their prompts begin alike", "1 the same to the end"):
        assert text in page
