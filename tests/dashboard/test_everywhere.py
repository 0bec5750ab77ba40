"""What holds on every page there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agentops_local.dashboard.pages import PAGES
from agentops_local.event import ActionEvent, ErrorEvent, LLMEvent, ToolEvent
from tests.analytics.recording import Book
from tests.dashboard.markup import HOSTILE
from tests.dashboard.running import Site

if TYPE_CHECKING:
    from playwright.sync_api import Page

VIEWS = ("waterfall", "chat", "tree", "errors", "media", "env", "raw")


def fill(book: Book, texts: list[str]) -> list[str]:
    """Two sessions in which these texts stand wherever a text may stand; their ids."""
    ids = []
    for number in range(2):
        state = book.session(*texts[:40])
        messages = [
            {"role": "user" if place % 2 else texts[place], "content": text} for place, text in enumerate(texts)
        ]
        call = LLMEvent(
            prompt=messages, completion={"role": "assistant", "content": texts[0]}, model=texts[number],
            params={texts[1]: texts[2]}, cost=1, prompt_tokens=100,
        )  # fmt: skip
        book.add(state, call)
        for text in texts[:30]:
            tool = ToolEvent(name=text, params={text: text}, returns=[text], logs=text)
            book.add(state, tool)
            book.add(state, ErrorEvent(trigger_event=tool, error_type=text, code=text, details=text, logs=text))
        book.add(state, ActionEvent(action_type=texts[3], params=texts[4], screenshot=texts[5]))
        book.end(state, "Fail", texts[6])
        ids.append(state.id)
    return ids


def addresses(book: Book, site: Site) -> list[str]:
    """Every page, of what is there."""
    ids = [row[0] for row in book.rows("SELECT id FROM sessions WHERE id <> '' ORDER BY seq")]
    found: list[str] = []
    for url, page in PAGES.items():
        if page.template is None:
            continue
        if url == "/sessions/{id}":
            found += [f"/sessions/{ids[0]}?view={view}" for view in VIEWS] if ids else []
        elif url.startswith("/errors/"):
            found += [f"/errors/{one['fingerprint']}" for one in site.json("/index.json")["errors"][:1]]
        elif url == "/compare":
            found += [f"/compare?a={ids[0]}&b={ids[1]}"] if len(ids) > 1 else ["/compare"]
        elif url == "/search":
            found += ["/search", "/search?q=script"]
        elif url == "/breakdown":
            found += [f"/breakdown?by={by}" for by in ("model", "tool", "agent", "tag", "host")]
        elif "{" not in url:
            found.append(url)
    return found


def test_what_agents_said_runs_nothing(book: Book, page: Page, site: Site) -> None:
    """Over a hundred texts that would be markup or script, in every place that holds a text, run nothing on any
    page."""
    assert len(HOSTILE) > 100
    fill(book, HOSTILE)
    page.on("dialog", lambda dialog: pytest.fail(f"a text has opened a dialog: {dialog.message}"))
    for address in addresses(book, site):
        page.goto(address)
        page.wait_for_load_state("networkidle") if "view=waterfall" in address else page.wait_for_timeout(50)
        assert page.evaluate("window.ran") is None, address
        assert page.evaluate("document.querySelectorAll('main script, main iframe, main base, main meta').length") == 0
        assert page.url.startswith(site.url)


@pytest.mark.parametrize("filled", [False, True])
def test_every_page_is_there_as_data(book: Book, site: Site, filled: bool) -> None:
    """Each page is a page, and its data JSON, with nothing recorded and with something."""
    if filled:
        fill(book, [f"text {number}" for number in range(60)])
    else:
        book.close()
    for address in addresses(book, site):
        path, _, query = address.partition("?")
        answer = site.get(address)
        assert answer.status_code == 200, (address, answer.text[:300])
        assert answer.text.startswith("<!doctype html>"), address
        data = site.get(("/index" if path == "/" else path) + f".json?{query}")
        assert data.status_code == 200, (address, data.text[:300])
        assert isinstance(data.json(), dict)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_who_does_not_see_it_can_use_it(book: Book, page: Page, site: Site, scheme: str) -> None:
    """No page has anything that a checker for accessibility finds serious; of the dark ones, those that differ most are
    looked at."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    fill(book, [f"text {number}" for number in range(60)])
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # one of the two
    found: dict[str, list[str]] = {}
    pages = addresses(book, site)
    for address in pages if scheme == "light" else [one for one in pages if one in ("/", "/sessions") or "chat" in one]:
        page.goto(address)
        page.wait_for_timeout(150)
        results = axe.run(page).response["violations"]
        grave = [
            f"{one['id']}: {one['nodes'][0]['html'][:120]}"
            for one in results
            if one["impact"] in ("serious", "critical")
        ]
        if grave:
            found[address] = grave
    assert found == {}


@pytest.mark.parametrize("width", [360, 3840])
def test_any_screen_will_do(book: Book, page: Page, site: Site, width: int) -> None:
    """No page is wider than the screen, from 360 points to 3840."""
    fill(book, [f"text {number} that is somewhat longer than others" for number in range(60)])
    page.set_viewport_size({"width": width, "height": 800})
    for address in addresses(book, site):
        page.goto(address)
        page.wait_for_timeout(50)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, address
