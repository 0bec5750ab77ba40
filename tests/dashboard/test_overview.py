from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from agentops_local import clock
from agentops_local.dashboard.app import HEADERS
from agentops_local.dashboard.charts import stacked, ticks
from agentops_local.event import LLMEvent
from tests.analytics.recording import Book
from tests.dashboard.running import Site

if TYPE_CHECKING:
    from playwright.sync_api import Page

HOUR = 3_600_000_000


def fill(book: Book) -> None:
    """Two runs: a dear one that failed a day ago, a cheap one that runs."""
    now = clock.now_us()
    first, second = book.session("nightly", began=now - 20 * HOUR), book.session()
    book.add(first, book.timed(LLMEvent(model="big", cost=2, prompt_tokens=1200), now - 20 * HOUR, 1000))
    book.error(first, book.tool(first, "search"), "no answer in 17 s")
    book.end(first, "Fail")
    book.llm(second, "hello", cost="0.5", model="small")


def test_what_it_tells(book: Book, site: Site) -> None:
    """The overview has the sums of the time chosen, the dearest runs, what fails, what runs and the cost of each day;
    in HTML and, with the same numbers, as JSON."""
    fill(book)
    found = site.json("/index.json")  # of this week, unless another time is chosen
    assert [tool["failed"] for tool in found["tools"]] == [1]
    assert {tile["name"]: tile["value"] for tile in found["tiles"]} == {
        "cost": 2.5, "sessions": 2, "LLM calls": 2, "tokens": 1212, "errors": 1,
    }  # fmt: skip
    assert [run["cost"] for run in found["top"]] == [2.0, 0.5]
    assert found["errors"][0]["text"] == "no answer in <n> s"
    assert [run["status"] for run in found["active"]] == ["running"]
    assert sum(map(sum, found["days"]["series"].values())) == 2.5
    page = site.get("/").text
    for text in ("$2.5000", "no answer in &lt;n&gt; s", "Fail", "local only"):
        assert text in page
    hour = site.json("/index.json?range=1h")
    assert [run["cost"] for run in hour["top"]] == [0.5, 0.0]
    day = {tile["name"]: tile["before"] for tile in site.json("/index.json?range=24h")["tiles"]}
    assert day["cost"] == 0


@pytest.mark.parametrize("path", ["/", "/sync", "/storage"])
def test_an_empty_database(book: Book, site: Site, path: str) -> None:
    """Where nothing was recorded yet a page says so, and is one all the same."""
    book.close()
    assert site.get(path).status_code == 200
    assert site.get(f"{path}.json" if path != "/" else "/index.json").status_code == 200


def test_what_cannot_be_asked(book: Book, site: Site) -> None:
    """A choice that there is not is told on a page with status 400, what is not there with 404; as JSON likewise."""
    book.session()
    answer = site.get("/?range=fortnight")
    assert answer.status_code == 400
    assert "fortnight" in answer.text
    assert site.get("/index.json?range=fortnight").json()["message"].startswith("range must be")
    assert site.get("/no-such-page").status_code == 404


def test_every_answer_is_guarded(book: Book, site: Site) -> None:
    """Every page forbids scripts and styles inside of it, frames, guesses at types and caches."""
    for path in ("/", "/index.json", "/sync", "/?range=x"):
        found = site.get(path).headers
        assert {name: found.get(name) for name in HEADERS} == HEADERS
    assert "unsafe" not in HEADERS["Content-Security-Policy"]
    assert "nosniff" in site.get("/static/style.css").headers.get("X-Content-Type-Options", "nosniff")


def test_another_host_is_not_let_in(book: Book, site: Site) -> None:
    """A page that is called by a name that is not ours is not answered: another's name may be made to lead here."""
    assert site.get("/", headers={"Host": "evil.example"}).status_code == 403
    assert site.get("/index.json", headers={"Origin": "http://evil.example"}).status_code == 403


def test_it_appears_by_itself(book: Book, page: Page) -> None:
    """What is recorded while a page is open appears in it without a hand."""
    state = book.session()
    page.goto("/")
    page.wait_for_selector(".live:not([hidden])")
    book.llm(state, "hello", cost="0.25")
    page.wait_for_selector("text=$0.2500")
    book.error(state, text="something new")
    page.wait_for_selector("text=something new")


def test_many_tabs(book: Book, page: Page) -> None:
    """More tabs than a browser has connections to a server hear of what is new, also when the one that listens for all
    is closed."""
    state = book.session()
    tabs = [page, *(page.context.new_page() for _ in range(8))]
    for tab in tabs:
        tab.goto("/sync")
        tab.wait_for_selector("html[data-heard]")
    book.tool(state)
    for tab in tabs:
        tab.wait_for_selector("html[data-heard='1']")
    tabs[1].close()
    page.goto("about:blank")
    book.tool(state)
    for tab in tabs[2:]:
        tab.wait_for_selector("html[data-heard='2']")


def test_keys(book: Book, page: Page) -> None:
    """With j and k one walks over the rows; / goes to the search, ? lists the keys, Escape closes them."""
    fill(book)
    page.goto("/")
    page.keyboard.press("?")
    assert page.locator("dialog#keys").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("dialog#keys").is_visible()
    page.keyboard.press("j")
    page.keyboard.press("j")
    second = page.locator("[data-row].on")
    assert second.count() == 1
    page.keyboard.press("k")
    assert page.locator("[data-row]").first.get_attribute("class") == "on"
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.name") == "q"


def test_light_and_dark(book: Book, page: Page) -> None:
    """A page follows the system's choice of light or dark, and the viewer's own, which is remembered."""
    book.session()
    page.emulate_media(color_scheme="dark")
    page.goto("/")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    page.emulate_media(color_scheme="light")
    light = page.evaluate(ground)
    assert dark != light
    page.click("[data-theme]")
    page.click("[data-theme]")
    assert page.evaluate(ground) == dark
    page.reload()
    assert page.evaluate(ground) == dark


def test_times_are_the_viewers(book: Book, browser: object, site: Site) -> None:
    """A time is shown as the viewer's clock has it, with the exact value on it."""
    state = book.session(began=clock.parse_us("2026-01-31T23:30:00Z"))
    book.llm(state, "x", cost="1")
    context = browser.new_context(base_url=site.url, timezone_id="Asia/Tokyo", locale="en-GB")  # type: ignore[attr-defined]
    tab = context.new_page()
    tab.goto("/?range=all")
    time = tab.locator("section[aria-labelledby=dear] time").first
    assert re.search(r"\b1 Feb|Feb 1\b", time.inner_text())
    assert "2026-01-31T23:30:00.000000+00:00" in (time.get_attribute("title") or "")
    context.close()


def test_round_numbers() -> None:
    """The lines of a chart stand at round numbers, from zero to at least its largest value."""
    assert ticks(0.0) == [0.0, 1.0]
    for most in (0.0003, 0.9, 1, 7, 99.5, 12345):
        found = ticks(most)
        assert found[0] == 0
        assert found[-1] >= most * 0.999
        assert len(found) <= 7
    chart = stacked(["a", "b"], {"x": [1.0, 0.0], "y": [1.0, 3.0]}, "things")
    assert [bar["value"] for bar in chart["bars"]] == [1.0, 1.0, 3.0]  # type: ignore[attr-defined]
