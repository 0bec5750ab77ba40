"""A server with a dashboard, and a browser, for the tests of a module."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("uvicorn", reason="the extra `server` is not installed")
pytest.importorskip("jinja2", reason="the extra `server` is not installed")

from tests.analytics.recording import Book
from tests.dashboard.running import Site, shown

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage"
).split()
SHOTS = Path(__file__).parents[2] / "build" / "screenshots"  # ignored by git


@pytest.fixture
def book(project: Path) -> Iterator[Book]:
    """An empty database of the project."""
    found = Book(project / ".agentops" / "agentops.db")
    yield found
    found.close()


@pytest.fixture
def site(book: Book) -> Iterator[Site]:
    """The dashboard of that database."""
    with shown(book.path) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real browser, without a screen. Not for longer: Playwright keeps an event loop running in this thread, in which
    no test of another module could run one of its own."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium is installed")
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield found
        found.close()


@pytest.fixture
def page(browser: Browser, site: Site, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A tab of it, at the dashboard. What a script complains of, and what a policy forbids, fails the test; a picture
    of how it ended is kept under build/screenshots."""
    context = browser.new_context(base_url=site.url, viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(10_000)
    tab = context.new_page()
    complaints: list[str] = []
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    yield tab
    if not os.environ.get("AGENTOPS_TEST_NO_PICTURES"):
        SHOTS.mkdir(parents=True, exist_ok=True)
        tab.screenshot(path=SHOTS / f"{request.node.name.replace('/', '_')[:80]}.png")
    context.close()
    assert complaints == []
