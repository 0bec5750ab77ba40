"""The dashboard with a million events: what its pages take on the server and until they can be read in a browser,
beside an empty page; the waterfall of the largest session; the memory of the server, and many open tabs.

    python -m benchmarks.dashboard [--db PATH] [--small]
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

import psutil
import requests

from benchmarks.common import options, show, surroundings, workplace
from benchmarks.million import build

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TIMES = 5  # that each page is asked, after a first time
TABS = 20
PAGES = (
    "/", "/?range=7d", "/?range=30d", "/sessions", "/sessions?sort=cost", "/errors", "/breakdown?by=model",
    "/breakdown?by=agent&range=7d", "/search?q=refund", "/sync", "/storage",
)  # fmt: skip
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update "
    "--disable-sync"
).split()
_LARGEST = """
SELECT s.id, count(*) AS n FROM events e JOIN sessions s ON s.seq = e.session GROUP BY e.session ORDER BY n DESC
"""

Row = tuple[object, ...]


@contextmanager
def served(db: Path) -> Iterator[tuple[str, psutil.Process]]:
    """A server of its own, with its URL."""
    command = [sys.executable, "-m", "agentops_local.cli", "--db", str(db), "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip(), psutil.Process(process.pid)
        finally:
            process.terminate()


def times(call: Callable[[], object]) -> float:
    """Milliseconds: the median of some times, after a first that is not counted."""
    call()
    found = []
    for _ in range(TIMES):
        begun = perf_counter()
        call()
        found.append((perf_counter() - begun) * 1000)
    return median(found)


def on_the_server(url: str) -> list[Row]:
    """What each page takes until its last byte is here, and how many there are."""
    rows: list[Row] = []
    with requests.Session() as client:
        for page in PAGES:
            answer = client.get(url + page, timeout=120)
            assert answer.status_code == 200, (page, answer.text[:200])
            rows.append((page, times(partial(client.get, url + page, timeout=120)), len(answer.content) / 1000))
    return rows


def in_the_browser(url: str, largest: str) -> list[Row]:
    """What each page takes until it can be read, as a ratio to an empty page of ours; the waterfall until its rows are
    there, and its frames while it is scrolled."""
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if path is None:
        return [("no browser is installed", "", "")]
    rows: list[Row] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_FLAGS)
        tab = browser.new_page(viewport={"width": 1280, "height": 900})

        def ready(page: str, wanted: str = "main h1") -> float:
            def load() -> None:
                tab.goto(url + page, wait_until="domcontentloaded")
                tab.wait_for_selector(wanted)

            return times(load)

        empty = ready("/storage")
        for page in ("/", "/?range=7d", "/sessions", "/errors", "/breakdown?by=model"):
            took = ready(page)
            rows.append((page, took, took / empty))
        data = times(lambda: requests.get(f"{url}/sessions/{largest}/columns.json", timeout=60).content)
        took = ready(f"/sessions/{largest}", "[role=row], [data-row]")
        rows.append(
            ("waterfall of the largest (ratio: to the smallest page and its data)", took, took / (empty + data))
        )
        rows.append(("its frames while scrolled, p50", frames(tab, 0.5), ""))
        rows.append(("its frames while scrolled, p95", frames(tab, 0.95), ""))
        rows.append((f"of {TABS} open tabs, those that hear", many(browser, url), ""))
        browser.close()
    return rows


_SCROLL = """async () => {
    const boxes = [...document.querySelectorAll("main *")];
    const long = boxes.filter((one) => one.scrollHeight > one.clientHeight + 2000);
    const box = long.find((one) => /auto|scroll/.test(getComputedStyle(one).overflowY)) ?? document.scrollingElement;
    const times = [];
    let last = performance.now();
    for (let step = 0; step < 120; step += 1) {
        box.scrollTop = (box.scrollHeight - box.clientHeight) * step / 120;
        await new Promise(requestAnimationFrame);
        const now = performance.now();
        times.push(now - last);
        last = now;
    }
    return times.sort((a, b) => a - b);
}"""


def frames(tab: Page, share: float) -> float:
    """Milliseconds between two frames while the waterfall is scrolled from end to end, for this share of them."""
    found: list[float] = tab.evaluate(_SCROLL)
    return found[int(len(found) * share)]


def many(browser: Browser, url: str) -> int:
    """How many tabs, all open at once, hear what is new."""
    context = browser.new_context()
    tabs = [context.new_page() for _ in range(TABS)]
    heard = 0
    for tab in tabs:
        tab.goto(url + "/sync")
    for tab in tabs:
        tab.wait_for_selector("html[data-heard]", timeout=5000)
        heard += 1
    context.close()
    return heard


def main() -> None:
    """Measures, and prints."""
    parser = options(__doc__)
    parser.add_argument("--db", type=Path, help="a database that was built by benchmarks.million")
    parser.add_argument("--small", action="store_true", help="50,000 events instead of a million")
    chosen = parser.parse_args()
    with workplace(chosen.dir) as folder:
        db = chosen.db or folder / ".agentops" / "agentops.db"
        if chosen.db is None:
            build(db, 50_000 if chosen.small else 1_000_000)
        with closing(sqlite3.connect(db)) as connection:
            largest, events = connection.execute(_LARGEST).fetchone()
        with served(db.resolve()) as (url, process):
            requests.get(url, timeout=600)
            before = process.memory_info().rss
            server = on_the_server(url)
            browser = in_the_browser(url, largest)
            grown = (process.memory_info().rss - before) / 1e6
    if chosen.json:
        print(json.dumps({"server": server, "browser": browser, "memory_mb": grown}))
        return
    print(surroundings())
    show("On the server", ("page", "ms", "kB"), server)
    show("In the browser, until it can be read", ("page", "ms", "ratio to the smallest page"), browser)
    print(f"\nthe largest session has {events:,} events; the memory of the server grew by {grown:.1f} MB")


if __name__ == "__main__":
    main()
