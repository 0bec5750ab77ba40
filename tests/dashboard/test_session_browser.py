"""A session in a real browser: the waterfall, the pane of an event, video and waterfall in step."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from agentops_local import clock
from agentops_local.event import ActionEvent, ErrorEvent, LLMEvent, ToolEvent
from agentops_local.recorder.state import SessionState
from tests.analytics.recording import Book
from tests.dashboard.running import Site

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

SECOND = 1_000_000
BEGAN = 1_800_000_000_000_000
MANY = 3_000


def fill(book: Book) -> str:
    """A run of a minute: a plan with two searches in it, of which the second failed, and an answer; its id."""
    state = book.session(began=BEGAN)
    plan = book.timed(ActionEvent(action_type="plan"), BEGAN + 10 * SECOND, 20 * SECOND)
    tools = [ToolEvent(name=name, params={"n": 2**60 + 1}) for name in ("first search", "second search")]
    for number, tool in enumerate(tools):
        book.add(state, book.timed(tool, BEGAN + (12 + 8 * number) * SECOND, SECOND), plan)
    error = ErrorEvent(trigger_event=tools[1], error_type="Timeout", details="<img src=x onerror=alert(1)>")
    book.add(state, book.timed(error, BEGAN + 22 * SECOND, 0))
    book.add(state, plan)
    answer = LLMEvent(prompt=[{"role": "user", "content": "and?"}], completion="that is all", model="m", cost=0.5,
                      prompt_tokens=10, completion_tokens=4)  # fmt: skip
    book.add(state, book.timed(answer, BEGAN + 40 * SECOND, 20 * SECOND))
    return book.end(state, "Fail", at=BEGAN + 60 * SECOND)


def long_one(book: Book) -> SessionState:
    """A session of thousands of events."""
    state = book.session(began=BEGAN)
    book.action(state, "first")
    with closing(sqlite3.connect(book.path)) as connection, connection:
        row = connection.execute("SELECT session, owner, agent FROM events").fetchone()
        connection.executemany(
            "INSERT INTO events (id, session, owner, agent, kind, name, init_us, end_us)"
            " VALUES (?, ?, ?, ?, 'tools', ?, ?, ?)",
            [(clock.new_id().bytes, *row, f"step {number}", BEGAN + number * 1000, BEGAN + number * 1000 + 500)
             for number in range(MANY - 1)],
        )  # fmt: skip
    return state


@pytest.fixture
def waterfall(page: Page, book: Book) -> Page:
    """The waterfall of that run, ready."""
    page.goto(f"/sessions/{fill(book)}")
    page.locator(".grid[aria-busy=false]").wait_for()
    return page


def rows(page: Page) -> list[str]:
    """The names in the rows that are seen, from top to bottom."""
    shown = page.locator(".space .row:visible")
    return [one.locator(".name").inner_text() for one in sorted(shown.all(), key=place)]


def place(row: Locator) -> int:
    """Where a row stands."""
    return int(row.get_attribute("aria-rowindex") or 0)


def pane(page: Page) -> Locator:
    """The pane of an event."""
    return page.locator("#detail:not([aria-busy])")


def test_the_waterfall(waterfall: Page) -> None:
    """Every event is a row with its name, time, tokens and cost as text, in the order of the story; bars lie where the
    events lie in time, and what failed is marked."""
    assert rows(waterfall) == ["plan", "first search", "second search", "Timeout", "m"]
    levels = [
        one.get_attribute("aria-level") for one in sorted(waterfall.locator(".space .row:visible").all(), key=place)
    ]
    assert levels == ["1", "2", "2", "3", "1"]
    last = waterfall.get_by_role("row", name="m", exact=False).filter(has_text="$0.5").first
    assert last.inner_text().split("\n")[-4:] == ["+40.0s", "20.0s", "10+4", "$0.5000"]
    bar, track = last.locator(".bar").bounding_box(), last.locator(".track").bounding_box()
    assert bar is not None
    assert track is not None
    assert (bar["x"] - track["x"]) / track["width"] == pytest.approx(2 / 3, abs=0.01)
    assert bar["width"] / track["width"] == pytest.approx(1 / 3, abs=0.01)
    assert waterfall.locator(".space .row.failed:visible").count() == 2


def test_keys_and_history(waterfall: Page) -> None:
    """`e` goes to the next error, Enter shows it whole beside, with its text as text, and the URL names it; back and
    forward move as well, and whoever opens the URL sees the same event."""
    waterfall.keyboard.press("e")
    waterfall.keyboard.press("Enter")
    pane(waterfall).get_by_role("heading", name="Timeout").wait_for()
    assert "<img src=x onerror=alert(1)>" in pane(waterfall).inner_text()
    assert waterfall.locator(".space .row.on .name").inner_text() == "Timeout"
    error = waterfall.url
    pane(waterfall).get_by_role("link", name="second search").first.click()
    pane(waterfall).get_by_role("heading", name="second search").wait_for()
    assert str(2**60 + 1) in pane(waterfall).inner_text()
    waterfall.go_back()
    pane(waterfall).get_by_role("heading", name="Timeout").wait_for()
    waterfall.go_back()
    pane(waterfall).wait_for(state="hidden")
    waterfall.go_forward()
    waterfall.go_forward()
    pane(waterfall).get_by_role("heading", name="second search").wait_for()
    waterfall.goto("about:blank")
    waterfall.goto(error)
    pane(waterfall).get_by_role("heading", name="Timeout").wait_for()
    waterfall.locator(".space .row.on", has_text="Timeout").wait_for()
    waterfall.keyboard.press("Escape")
    assert not waterfall.locator("#detail").is_visible()


def test_folding_and_filters(waterfall: Page) -> None:
    """The left key folds what happened in the course of an event, the right one shows it again; a text and the kinds
    leave rows out (a text that stands in an event as well), and the URL keeps that."""
    waterfall.keyboard.press("j")
    waterfall.keyboard.press("ArrowLeft")
    assert rows(waterfall) == ["plan", "m"]
    waterfall.keyboard.press("ArrowRight")
    assert len(rows(waterfall)) == 5
    waterfall.keyboard.press("/")
    waterfall.keyboard.type("SEARCH")
    waterfall.locator(".count", has_text="2 of 5").wait_for()
    assert rows(waterfall) == ["first search", "second search"]
    waterfall.keyboard.press("Escape")
    waterfall.locator("[data-filter]").fill("is all")
    waterfall.locator(".count", has_text="1 of 5").wait_for()
    assert rows(waterfall) == ["m"]
    waterfall.locator("[data-filter]").fill("")
    waterfall.get_by_role("button", name="tools").click()
    waterfall.locator(".count", has_text="3 of 5").wait_for()
    waterfall.reload()
    waterfall.locator(".count", has_text="3 of 5").wait_for()
    assert rows(waterfall) == ["plan", "Timeout", "m"]


def test_a_stretch_of_time(waterfall: Page) -> None:
    """A stretch that is chosen on the small map leaves the rows that lie in it, and bars that fill it; two clicks show
    the whole again."""
    box = waterfall.locator(".minimap").bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    waterfall.mouse.move(box["x"] + box["width"] * 0.6, middle)
    waterfall.mouse.down()
    waterfall.mouse.move(box["x"] + box["width"] * 0.8, middle, steps=3)
    waterfall.mouse.up()
    waterfall.locator(".count", has_text="1 of 5").wait_for()
    assert rows(waterfall) == ["m"]
    assert "from=" in waterfall.url
    waterfall.locator(".minimap").dblclick()
    waterfall.locator(".count", has_text="5 events").wait_for()


def test_thousands_of_events(page: Page, book: Book, site: Site) -> None:
    """Of thousands of events the page holds some dozens of rows, which are those that are scrolled to; the last one is
    reached by a key; and an event that the URL names is scrolled to."""
    one = long_one(book)
    page.goto(f"/sessions/{one.id}")
    page.locator(".grid[aria-busy=false]").wait_for()
    assert page.locator(".grid").get_attribute("aria-rowcount") == str(MANY + 1)
    assert page.locator(".grid *").count() < 800
    page.keyboard.press("End")
    page.locator(".space .row.on:visible").wait_for()
    assert f"step {MANY - 2}" in rows(page)
    assert page.locator(".grid *").count() < 800
    seq = site.json(f"/sessions/{one.id}/columns.json")["seq"] - MANY // 2
    page.goto("about:blank")
    page.goto(f"/sessions/{one.id}#e={seq}")
    page.locator(".space .row.on:visible").wait_for()
    assert pane(page).get_by_role("heading").first.inner_text() in rows(page)


def test_new_events_appear(page: Page, book: Book) -> None:
    """Events of a session that runs come into its waterfall by themselves."""
    state = book.session()
    book.tool(state, "before")
    page.goto(f"/sessions/{state.id}")
    page.locator(".space .row", has_text="before").wait_for()
    book.tool(state, "after")
    page.locator(".space .row", has_text="after").wait_for()
    assert rows(page) == ["before", "after"]


def test_video_and_waterfall_in_step(page: Page, book: Book) -> None:
    """Whoever chooses an event moves the video to its time; whoever moves the video moves the waterfall. (What plays is
    stood in for by its clock: no film is at hand that every browser plays.)"""
    (book.path.parent.parent / "run.webm").write_bytes(b"\x1a\x45\xdf\xa3" + bytes(64))
    one = fill(book)
    book.change("UPDATE sessions SET video = 'run.webm' WHERE id = ?", one)
    page.add_init_script("""
        let at = 0;
        const clock = { get: () => at, set: (value) => { at = value; } };
        Object.defineProperty(HTMLMediaElement.prototype, "duration", { get: () => 60 });
        Object.defineProperty(HTMLMediaElement.prototype, "currentTime", clock);
    """)
    page.goto(f"/sessions/{one}?view=media")
    page.locator(".grid[aria-busy=false]").wait_for()
    page.locator(".space .row", has_text="second search").click()
    assert page.evaluate("document.getElementById('video').currentTime") == 20
    page.evaluate(
        "const v = document.getElementById('video'); v.currentTime = 41; v.dispatchEvent(new Event('seeked'))"
    )
    assert page.locator(".space .row.on .name").inner_text() == "m"
    assert page.evaluate("document.getElementById('video').currentTime") == 41


def test_chat_and_pane(page: Page, book: Book) -> None:
    """A step of the chat opens beside it, under its own URL."""
    page.goto(f"/sessions/{fill(book)}?view=chat")
    page.get_by_role("link", name="step 1").click()
    pane(page).get_by_text("that is all").wait_for()
    assert "view=chat#e=" in page.url
