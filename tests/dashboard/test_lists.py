from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING

import pytest

from agentops_local import clock
from agentops_local.event import LLMEvent
from tests.analytics.recording import Book
from tests.dashboard.running import Site

if TYPE_CHECKING:
    from playwright.sync_api import Page

HOSTILE = '<img src=x onerror="document.title=1">"\'{{ 7 * 7 }}'


def fill(book: Book, runs: int = 3) -> list[str]:
    """Runs with calls, tools and errors; the ids."""
    ids = []
    for number in range(runs):
        state = book.session("nightly" if number % 2 else "web", f"t{number}")
        book.llm(state, f"hello {number}", cost=str(number), model="big" if number % 2 else "small")
        book.error(state, book.tool(state, "search"), f"no answer in {number} s")
        book.end(state, "Fail" if number % 2 else "Success", "late" if number % 2 else None)
        ids.append(state.id)
    return ids


def linked(page: str, text: str) -> str:
    """Where the link around a text leads."""
    found = re.search(rf'<a href="([^"]+)"[^>]*>(?:<span>)?{re.escape(text)}', page)
    assert found, text
    return unescape(found[1])


PATHS = (
    "/sessions", "/errors", "/breakdown", "/breakdown?by=tool", "/breakdown?by=agent", "/breakdown?by=tag",
    "/breakdown?by=host", "/breakdown?by=day", "/search", "/search?q=hello", "/compare",
)  # fmt: skip


@pytest.mark.parametrize("runs", [0, 1, 60])
def test_however_many_runs(book: Book, site: Site, runs: int) -> None:
    """Each list is a page, and its data JSON, whether there are no runs, one, or more than fit on a page."""
    fill(book, runs)
    for path in PATHS:
        answer = site.get(path)
        assert answer.status_code == 200, (path, answer.text)
        assert site.get(path.replace("?", ".json?") if "?" in path else f"{path}.json").status_code == 200
    page = site.get("/sessions").text
    assert ("Nothing was recorded yet" in page) == (runs == 0)
    assert ('rel="next"' in page) == (runs == 60)
    assert page.count("<tr data-row") == min(runs, 50)


def test_sorted_by_a_link(book: Book, site: Site) -> None:
    """The head of a column sorts by it, the largest number first, and the other way round when it is followed again;
    filters stay."""
    ids = fill(book)
    page = site.get("/sessions?tag=web").text
    first = linked(page, "Cost")
    assert [row["session_id"] for row in site.json(first.replace("?", ".json?"))["sessions"]] == [ids[2], ids[0]]
    again = linked(site.get(first).text, "Cost")
    assert [row["session_id"] for row in site.json(again.replace("?", ".json?"))["sessions"]] == [ids[0], ids[2]]
    assert 'aria-sort="ascending"' in site.get(again).text


def test_choices_toggle(book: Book, site: Site) -> None:
    """A choice beside the list narrows it down to as many as it says; followed again it is taken away. Tags are added
    to each other."""
    fill(book, 4)
    page = site.get("/sessions").text
    chosen = linked(page, "nightly")
    narrowed = site.get(chosen)
    assert site.json(chosen.replace("?", ".json?"))["total"] == 2
    assert linked(narrowed.text, "nightly") == "/sessions"
    both = linked(narrowed.text, "t1")
    assert site.json(both.replace("?", ".json?"))["total"] == 1
    model = linked(page, "big")
    assert linked(site.get(model).text, "small") == "/sessions?model=small"


def test_pages_follow_each_other(book: Book, site: Site) -> None:
    """The links to the next and the previous page lead through all runs and back."""
    ids = fill(book, 5)
    path, seen = "/sessions?limit=2&sort=started", []
    while True:
        page = site.get(path).text
        seen += re.findall(r'data-row="/sessions/([^"?]+)', page)
        following = re.search(r'rel="next" href="([^"]+)"', page)
        if following is None:
            break
        path = unescape(following[1])
    assert seen == ids
    back = re.search(r'rel="prev" href="([^"]+)"', page)
    assert back
    assert re.findall(r'data-row="/sessions/([^"?]+)', site.get(unescape(back[1])).text) == ids[2:4]


def test_a_part_links_to_whole_pages(book: Book, site: Site) -> None:
    """The links in a part that is fetched again lead to whole pages, not to that part."""
    fill(book, 3)
    for path in (
        "/sessions?part=rows&limit=1",
        "/errors?part=body",
        "/breakdown?part=body",
        "/search?q=hello&part=found",
    ):
        part = site.get(path).text
        assert "<html" not in part
        assert "href=" in part
        assert "part=" not in part


def test_errors_that_are_alike(book: Book, site: Site) -> None:
    """The list of errors leads to each of them, and from there to the event in its session and to what failed."""
    ids = fill(book)
    (group,) = site.json("/errors.json")["groups"]
    assert (group["events"], group["sessions"], group["failed"]) == (3, 3, "search")
    found = site.json(f"/errors/{group['fingerprint']}.json")
    assert [one["session_id"] for one in found["errors"]] == ids[::-1]
    page = site.get(linked(site.get("/errors").text, group["error_type"])).text
    for one in found["errors"]:
        assert f'href="/sessions/{one["session_id"]}#e={one["event_id"]}"' in page
        assert f'href="/sessions/{one["session_id"]}#e={one["failed_id"]}"' in page
    assert site.get("/errors/" + "0" * 32).status_code == 404
    assert "None of these" in site.get(f"/errors/{group['fingerprint']}?tag=gone").text


def test_what_is_used(book: Book, site: Site) -> None:
    """What is used is sorted by any column, what is unknown last, and charted by it; each row leads to its runs."""
    fill(book)
    book.llm(book.session(), "hello", model="free")
    rows = site.json("/breakdown.json?by=model&sort=cost")["rows"]
    assert [(row["name"], row["cost"], row["unpriced"]) for row in rows] == [
        ("big", 1.0, 0),
        ("small", 2.0, 0),
        ("free", 0.0, 1),
    ]
    found = site.json("/breakdown.json?by=model&sort=-calls")
    assert (found["charted"], [bar["value"] for bar in found["chart"]["bars"]["bars"]]) == ("calls", [2, 1, 1])
    assert site.json("/sessions.json?model=small")["total"] == 2
    assert linked(site.get("/breakdown?by=model").text, "small") == "/sessions?model=small"
    day = site.json("/breakdown.json?by=day")["rows"][0]
    leads = linked(site.get("/breakdown?by=day").text, day["name"])
    assert site.json(leads.replace("?", ".json?"))["total"] == 4
    assert linked(site.get("/breakdown?by=tool").text, "search") == "/search?q=search&kind=tools"
    for wrong in ("by=colour", "sort=colour", "by=tool&sort=cost"):
        assert site.get(f"/breakdown?{wrong}").status_code == 400


def test_recorded_text_is_no_markup(book: Book, site: Site) -> None:
    """Names, tags, reasons and words that look like markup are shown as the text they are."""
    state = book.session(HOSTILE)
    state.agent_names["0197a1b2-0000-7000-8000-000000000001"] = HOSTILE
    book.llm(state, HOSTILE, completion=HOSTILE, model=HOSTILE)
    book.error(state, book.tool(state, HOSTILE, HOSTILE, HOSTILE), HOSTILE)
    book.end(state, "Fail", HOSTILE)
    other = book.session(HOSTILE)
    book.llm(other, HOSTILE + "!", model=HOSTILE)
    fingerprint = site.json("/errors.json")["groups"][0]["fingerprint"]
    for path in (*PATHS, "/search?q=onerror", f"/errors/{fingerprint}", f"/compare?a={state.id}&b={other.id}"):
        page = site.get(path).text
        assert "<img" not in page
        assert 'onerror="' not in page


def test_ticked(book: Book, page: Page) -> None:
    """Two rows are ticked, by the mouse or with x, and c lays them side by side; the third tick takes the first away,
    and ticks stay when the list is fetched again."""
    book.session()
    ids = fill(book, 4)
    page.goto("/sessions")
    page.wait_for_selector(".live:not([hidden])")
    button = page.get_by_role("button", name="Compare")
    page.wait_for_selector("[data-compare]:disabled")
    for run in ids[:3]:
        page.check(f'input[value="{run}"]')
    assert not page.is_checked(f'input[value="{ids[0]}"]')
    assert button.is_enabled()
    later = book.session()
    page.wait_for_selector(f'input[value="{later.id}"]', state="attached")
    assert page.is_checked(f'input[value="{ids[1]}"]')
    page.keyboard.press("c")
    page.wait_for_url("**/compare?**")
    assert page.locator("table.versus a").all_inner_texts() == [ids[1], ids[2]]
    page.go_back()
    page.keyboard.press("j")
    page.keyboard.press("x")
    assert page.is_checked(f'input[value="{later.id}"]')


def test_narrow_and_wide(book: Book, page: Page) -> None:
    """No list is wider than its window, from a telephone to a wall; wide tables scroll by themselves."""
    fill(book, 3)
    book.add(book.session("a" * 200), LLMEvent(model="m" * 120, prompt="w" * 300, end_timestamp=clock.now_iso()))
    for width in (360, 1280, 3840):
        page.set_viewport_size({"width": width, "height": 800})
        for path in ("/sessions", "/errors", "/breakdown", "/breakdown?by=day", "/search?q=www", "/compare"):
            page.goto(path)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (path, width)
