"""What most people come for, and how many clicks away from the overview it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agentops_local import clock
from agentops_local.event import LLMEvent
from tests.analytics.recording import Book

if TYPE_CHECKING:
    from playwright.sync_api import Page

HOUR = 3_600_000_000


class Clicks:
    """A viewer at the overview, whose clicks are counted."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.count = 0
        page.goto("/")

    def click(self, selector: str) -> None:
        """A click."""
        self.count += 1
        self.page.locator(selector).first.click()

    def sees(self, text: str, within: str = "main") -> None:
        """The text is there to be read."""
        self.page.locator(within).get_by_text(text).first.wait_for()


@pytest.fixture
def viewer(book: Book, page: Page) -> Clicks:
    """Somebody who looks at: a dear run that failed, one before it that did not, an old one, and one that runs."""
    now = clock.now_us()
    before, dear, old, running = (
        book.session("good", began=now - 9 * HOUR), book.session("bad", began=now - 8 * HOUR),
        book.session("old", began=now - 900 * HOUR), book.session("live"),
    )  # fmt: skip
    for state, cost, at in ((before, 1, 9), (dear, 7, 8), (old, 99, 900)):
        prompt = [{"role": "system", "content": "be kind"}, {"role": "user", "content": f"a question of {cost}"}]
        call = LLMEvent(prompt=prompt, completion=f"an answer of {cost}", model=f"model-{cost}", cost=cost)
        book.add(state, book.timed(call, now - at * HOUR, 2_000_000))
    for _ in range(3):
        book.error(dear, book.tool(dear, "fetch", {"q": "x"}), "no answer in 17 s")
    book.tool(dear, "calculate")
    book.error(old, text="no answer in 4 s")
    for state, how in ((before, "Success"), (dear, "Fail"), (old, "Fail")):
        book.end(state, how)
    book.tool(running, "wait")
    return Clicks(page)


DEAR = "section[aria-labelledby=dear] tbody a"


def test_without_a_click(viewer: Clicks) -> None:
    """The dearest run this week, the model that burns the money, the tool that fails most, and what is running are on
    the overview."""
    page = viewer.page
    assert "$7.0000" in page.locator("section[aria-labelledby=dear] tbody tr").first.inner_text()
    assert "model-7" in page.locator("section[aria-labelledby=models] tbody tr").first.inner_text()
    assert "fetch" in page.locator("section[aria-labelledby=tools] tbody tr").first.inner_text()
    viewer.sees("running", "section[aria-labelledby=running]")
    assert viewer.count == 0


def test_why_it_failed_and_where_the_time_went(viewer: Clicks) -> None:
    """Why a run failed, and where its time went, is one click away."""
    viewer.click(DEAR)
    viewer.sees("Why it failed")
    viewer.sees("no answer in 17 s")
    viewer.page.locator("[role=row]").get_by_text("model-7").wait_for()
    assert viewer.count == 1


def test_what_was_said(viewer: Clicks) -> None:
    """What the agent said at a step is two clicks away."""
    viewer.click(DEAR)
    viewer.click("a:has-text('Chat')")
    viewer.sees("an answer of 7")
    assert viewer.count == 2


def test_what_changed(viewer: Clicks) -> None:
    """What changed between two runs is one click away from a run, and four from the overview for any two."""
    viewer.click(DEAR)
    viewer.click("a:has-text('Compare with the run before')")
    viewer.sees("a question of 1")
    viewer.sees("a question of 7")
    assert viewer.count == 2
    chosen = Clicks(viewer.page)
    chosen.click("header a:has-text('Sessions')")
    chosen.click("tbody tr:nth-child(1) input[type=checkbox]")
    chosen.click("tbody tr:nth-child(2) input[type=checkbox]")
    chosen.click("button:has-text('Compare'), a.button:has-text('Compare')")
    chosen.page.wait_for_url("**/compare?*")
    assert chosen.count == 4


def test_seen_before(viewer: Clicks) -> None:
    """Whether an error was seen before is one click away: its page has every time, of this week or not."""
    viewer.click("section[aria-labelledby=failing] tbody a")
    viewer.sees("no answer in <n> s")
    assert viewer.count == 1


def test_where_it_occurs(viewer: Clicks) -> None:
    """Where a text occurs is a word in the search away, and a hit leads to the event."""
    viewer.page.keyboard.press("/")
    viewer.page.keyboard.type("question of 7")
    viewer.page.keyboard.press("Enter")
    viewer.page.locator("main mark").first.wait_for()
    viewer.click("main a:has(mark), main tbody a, main li a")
    viewer.page.wait_for_url("**/sessions/**")
    assert viewer.count == 1
