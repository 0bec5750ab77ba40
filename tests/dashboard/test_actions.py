from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import requests

from agentops_local import analytics
from agentops_local.dashboard.forms import way_back
from tests.analytics.recording import Book, died
from tests.dashboard.running import Site

if TYPE_CHECKING:
    pass

if TYPE_CHECKING:
    from playwright.sync_api import Page

HOSTILE = "<img src=x onerror=alert(1)>"


def token_of(site: Site) -> str:
    """The token that stands in the pages of this server."""
    found = re.search(r'data-token="([0-9a-f]+)"', site.get("/sync").text)
    assert found is not None
    return found[1]


def send(site: Site, action: str, headers: dict[str, str] | None = None, **fields: Any) -> requests.Response:
    """A change, as a page sends it."""
    fields = {"token": token_of(site), **fields}
    url = f"{site.url}/actions/{action}"
    return requests.post(url, data=fields, headers=headers, timeout=60, allow_redirects=False)


@pytest.fixture
def over(book: Book) -> str:
    """A session that has ended."""
    state = book.session("a", "b")
    book.tool(state)
    return book.end(state)


def test_tags(book: Book, site: Site, over: str) -> None:
    """Tags are added and taken away, and the revision tells whoever uploads the session of it."""
    (before,) = book.rows("SELECT revision FROM sessions WHERE id = ?", over)
    answer = send(site, "tag", session=over, add=[" c ", "a"], remove="b")
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/sessions/{over}")
    assert book.rows("SELECT tags, revision > ? FROM sessions WHERE id = ?", *before, over) == [('["a", "c"]', 1)]
    assert send(site, "tag", session=over, add="x\ny").status_code == 400


def test_the_end_of_a_dead_session(book: Book, site: Site) -> None:
    """A session whose processes are gone is ended at the time at which it was last heard of; one that runs or has ended
    is not, and it is said why."""
    gone, running = died(book, "act"), book.session()
    (last,) = book.rows("SELECT max(end_us) FROM events")
    assert send(site, "end", session=gone, state="Fail", reason=" it crashed ").status_code == 303
    row = book.rows(
        "SELECT end_state, end_state_reason, end_us >= ?, auto_ended FROM sessions WHERE id = ?", *last, gone
    )
    assert row == [("Fail", "it crashed", 1, 0)]
    for session, words in ((gone, "has ended already"), (running.id, "is still running")):
        answer = send(site, "end", session=session)
        assert answer.status_code == 409
        assert words in answer.text
    assert send(site, "end", session=running.id, state="Won").status_code == 400
    assert book.rows("SELECT end_us FROM sessions WHERE id = ?", running.id) == [(None,)]


def test_erased_after_a_question(book: Book, site: Site, over: str) -> None:
    """A session is erased only by the page that asks whether one is sure; one that runs is refused before."""
    running = book.session()
    assert send(site, "delete", session=over).status_code == 400
    page = site.get(f"/actions/delete?session={over}").text
    assert over in page
    assert 'name="sure" value="yes"' in page
    assert "still running" in site.get(f"/actions/delete?session={running.id}").text
    assert send(site, "delete", session=running.id, sure="yes", force="yes").status_code == 409
    answer = send(site, "delete", session=over, sure="yes")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/sessions")
    assert book.rows("SELECT id FROM sessions WHERE id <> ''") == [(running.id,)]
    assert send(site, "delete", session=over, sure="yes").status_code == 404


def test_scores_and_notes(book: Book, site: Site, over: str) -> None:
    """Sessions and events are scored and noted, and what was given is taken away again."""
    (event,) = (str(row[0]) for row in book.rows("SELECT id FROM tools"))
    assert send(site, "score", session=over, name="thumb", value="up").status_code == 303
    answer = send(site, "score", session=over, name="helpful", value="0.5", event=event, note=HOSTILE)
    assert answer.headers["Location"] == f"/sessions/{over}#e={event}"
    send(site, "note", session=over, text="0.5")
    send(site, "score", session=over, name="note", value="7")
    given = analytics.scores(over, db=book.path)
    assert [(one.name, one.kind, one.value, one.event_id, one.remark, one.author) for one in given] == [
        ("thumb", "thumb", 1.0, None, None, None), ("helpful", "number", 0.5, event, HOSTILE, None),
        ("note", "text", "0.5", None, None, None), ("note", "text", "7", None, None, None),
    ]  # fmt: skip
    assert send(site, "unscore", session=over, number=given[0].number, at_us=given[0].at_us).status_code == 303
    for number, at_us in ((given[0].number, given[0].at_us), (given[1].number, 1), ("x", "y")):
        assert send(site, "unscore", session=over, number=number, at_us=at_us).status_code == 400
    assert [one.name for one in analytics.scores(over, db=book.path)] == ["helpful", "note", "note"]
    assert send(site, "score", session=over, name="a>b", value="1").status_code == 400
    assert send(site, "score", session=over, name="a").status_code == 400
    assert send(site, "score", session=over, name="a", value="1", event="f" * 32).status_code == 404


def test_dead_letters_are_sent_again(book: Book, site: Site, over: str) -> None:
    """What was given up waits to be sent again, of one session or of all; where nothing was ever uploaded, that is
    said."""
    assert "nothing was ever uploaded" in send(site, "requeue").text
    other = book.session()
    book.tool(other)
    book.change("INSERT INTO targets (id, url, taken_seq) VALUES (1, 'http://127.0.0.1:1', 2)")
    for seq in (1, 2):
        book.change("INSERT INTO deliveries (target, session) VALUES (1, ?)", seq)
        book.change(
            "INSERT INTO uploads (target, event, session, kind, state) VALUES (1, ?1, ?1, 'tools', 'dead')", seq
        )
        book.change("INSERT INTO dead_letters VALUES (1, ?, 1, 'refused', 'no')", seq)
    answer = send(site, "requeue", session=over, headers={"Accept": "application/json"})
    assert (answer.status_code, answer.json()["page"]) == (200, f"/sessions/{over}")
    assert "1 dead letter to be sent again" in answer.json()["done"]
    assert book.rows("SELECT event, state FROM uploads ORDER BY event") == [(1, "pending"), (2, "dead")]
    assert send(site, "requeue", target="http://elsewhere").status_code == 400
    assert send(site, "requeue").headers["Location"] == "/sync"
    assert book.rows("SELECT count(*) FROM dead_letters") == [(0,)]


@pytest.mark.parametrize(
    ("headers", "fields"),
    [
        ({}, {"token": ""}),
        ({}, {"token": "0" * 64}),
        ({}, {"token": "ä"}),
        ({"Sec-Fetch-Site": "cross-site"}, {}),
        ({"Sec-Fetch-Site": "same-site"}, {}),
        ({"Sec-Fetch-Site": "none"}, {}),
        ({"Origin": "https://example.com"}, {}),
        ({"Origin": "null"}, {}),
        ({"Host": "example.com"}, {}),
        ({"Content-Type": "text/plain"}, {}),
    ],
)
def test_what_no_page_of_ours_has_sent(
    book: Book, site: Site, over: str, headers: dict[str, str], fields: dict[str, str]
) -> None:
    """Without the token of our own pages, or from a page of somebody else, nothing is changed, whatever is asked."""
    for action in ("tag", "end", "delete", "requeue", "score", "note", "unscore"):
        asked = {"session": over, "add": "x", "sure": "yes", "name": "n", "value": "1", "text": "t", **fields}
        answer = send(site, action, headers, **asked)
        assert answer.status_code in (403, 415), action
    assert book.rows("SELECT tags FROM sessions") == [('["a", "b"]',)]
    assert book.rows("SELECT * FROM scores") == []


def test_no_change_by_a_link(book: Book, site: Site, over: str) -> None:
    """To look at an address changes nothing: a change is a POST."""
    for action in ("tag", "end", "requeue", "score", "note", "unscore"):
        assert site.get(f"/actions/{action}?session={over}&add=x&token={token_of(site)}").status_code == 405
    assert book.rows("SELECT tags FROM sessions") == [('["a", "b"]',)]


def test_a_token_in_a_header(site: Site, over: str) -> None:
    """A script of ours sends the token in a header and is answered in JSON, with words where it is refused."""
    token = {"X-Agentops-Token": token_of(site), "Accept": "application/json"}
    answer = send(site, "tag", token, session=over, add="c", token=None)
    assert answer.json() == {"done": "the session has the tags a, b, c", "page": f"/sessions/{over}"}
    answer = send(site, "tag", token, session="nothing", token=None)
    assert (answer.status_code, "no session" in answer.json()["message"]) == (404, True)


@pytest.mark.parametrize(
    "given",
    ["//example.com", "https://example.com/", "/\\example.com", "\\\\example.com", "example.com", "javascript:alert(1)",
     "/%0d%0aX: y\r\nX: y", " /", "/\t/example.com", "///example.com", "/ä", "", None],
)  # fmt: skip
def test_the_way_back_stays_here(given: str | None) -> None:
    """After a change a browser comes to a page of ours, wherever the form would have sent it."""
    assert way_back(given, "/here") == "/here"
    assert way_back("/sessions?tag=a%2F%2Fb#e=1", "/here") == "/sessions?tag=a%2F%2Fb#e=1"


def test_back_and_too_much(site: Site, over: str) -> None:
    """The page that sent a change is shown again; a form that is too large, or has too many fields, is refused."""
    assert send(site, "tag", session=over, add="c", back="/sessions?tag=c").headers["Location"] == "/sessions?tag=c"
    assert send(site, "tag", session=over, add="c", back="//evil").headers["Location"] == f"/sessions/{over}"
    assert send(site, "note", session=over, text="x" * (1 << 20)).status_code == 413
    assert send(site, "tag", session=over, add=["x"] * 200).status_code == 400


def test_scored_in_a_browser(book: Book, site: Site, page: Page) -> None:
    """In a browser a session, and an event beside it, are scored, noted and tagged by a few clicks, and the same page
    shows what was said as text."""
    state = book.session()
    tool = book.tool(state)
    book.end(state)
    page.goto(f"/sessions/{state.id}#e={tool.id}")
    changes = page.get_by_label("Scores, notes and tags")
    changes.get_by_role("button", name="thumb down").click()
    page.locator(".changes .given", has_text="down").wait_for()
    page.locator("#detail .judge summary", has_text="Score").click()
    page.locator("#detail").get_by_label("Name").fill("helpful")
    page.locator("#detail").get_by_label("Value").fill("0.5")
    page.locator("#detail").get_by_label("Remark").fill(HOSTILE)
    page.locator("#detail").get_by_role("button", name="Save").click()
    page.locator("#detail .given", has_text="onerror").wait_for()
    changes.locator("summary", has_text="Tags").click()
    changes.get_by_label("Add a tag").fill("looked at")
    changes.get_by_role("button", name="Add").click()
    page.get_by_role("link", name="looked at").wait_for()
    given = analytics.scores(state.id, db=book.path)
    assert [(one.name, one.value, one.event_id) for one in given] == [
        ("thumb", 0.0, None), ("helpful", 0.5, str(tool.id)),
    ]  # fmt: skip
    assert page.locator(".given img").count() == 0


def test_in_a_browser(book: Book, site: Site, page: Page) -> None:
    """In a browser a session is erased by two clicks, and what it holds is text and never markup."""
    other = book.session(HOSTILE)
    book.end(other)
    page.goto(f"/actions/delete?session={other.id}")
    assert page.locator("td", has_text=HOSTILE).count() == 1
    with page.expect_navigation():
        page.get_by_role("button", name="Erase for good").click()
    assert book.rows("SELECT count(*) FROM sessions WHERE id <> ''") == [(0,)]
