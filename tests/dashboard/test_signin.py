from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jwt
import pytest
import requests
from starlette.routing import Route

from agentops_local import analytics, clock
from agentops_local.dashboard import signing
from agentops_local.dashboard.access import LIFE, Access
from agentops_local.dashboard.app import Dashboard
from agentops_local.dashboard.throttle import FREE, LONGEST, Throttle
from agentops_local.server import registry
from agentops_local.server.sqlite_store import FOLDER, SqliteStore
from agentops_local.server.sqlite_writer import SqliteWriter
from agentops_local.server.tokens import Claims, Tokens, load_secret
from tests.analytics.recording import Book
from tests.dashboard.running import Site, shown

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SECRET = "only-of-the-other-project"  # noqa: S105 - it is none
PART = "other-project"  # what is looked for: a page may repeat that


@dataclass
class Team:
    """A project of a collector.

    Attributes:
        key: its key. db: its database.
        session, event: what was recorded there.
    """

    key: str
    db: Path
    session: str
    event: str


def join(book: Book, name: str, text: str) -> Team:
    """A project with a key and a run that says something."""
    with closing(SqliteWriter(book.path)) as writer:
        key = str(registry.add_key(writer, name))
        (row,) = (row for row in registry.list_keys(writer) if row.project == name)
    db = book.path.parent / FOLDER / f"{row.project_id}.db"
    own = Book(db)
    state = own.session(text)
    call = own.llm(state, text, completion=text, model=text)
    own.error(state, own.tool(state, text, text, text), text)
    own.end(state, "Fail", text)
    own.close()
    analytics.note(state.id, text, db=db)
    return Team(key, db, state.id, str(call.id))


@pytest.fixture
def teams(book: Book) -> tuple[Team, Team]:
    """Two projects beside the database that is served."""
    local = book.session(SECRET)
    book.tool(local, SECRET)
    book.end(local)
    book.close()
    return join(book, "ours", "ours alone"), join(book, "theirs", SECRET)


class Visitor:
    """Somebody with a browser that keeps cookies."""

    def __init__(self, site: Site) -> None:
        self.url = site.url
        self.http = requests.Session()

    def get(self, path: str, **how: Any) -> requests.Response:
        """A page; redirects are not followed."""
        return self.http.get(self.url + path, timeout=20, allow_redirects=False, **how)

    def post(self, path: str, fields: Mapping[str, str], headers: dict[str, str] | None = None) -> requests.Response:
        """A form."""
        return self.http.post(self.url + path, data=fields, headers=headers, timeout=60, allow_redirects=False)

    def sign_in(self, key: str, headers: dict[str, str] | None = None, to: str = "") -> requests.Response:
        """Signs in, as the page does."""
        token = re.search(r'name="token" value="([0-9a-f]+)"', self.get("/signin").text)
        assert token is not None
        return self.post("/signin", {"token": token[1], "key": key, "to": to}, headers)

    @property
    def token(self) -> str:
        """What a change must bring with it."""
        found = re.search(r'data-token="([0-9a-f]+)"', self.get("/sync").text)
        assert found is not None
        return found[1]


@pytest.fixture
def visitor(site: Site) -> Iterator[Visitor]:
    """Somebody who has not signed in."""
    found = Visitor(site)
    yield found
    found.http.close()


def addresses(team: Team) -> list[str]:
    """Every address that can be looked at, with the ids of a project in its place."""
    store = SqliteStore(team.db)
    try:
        routes = Dashboard(Access(store, True)).routes()
    finally:
        store.close()
    found = []
    for route in routes:
        if isinstance(route, Route) and "GET" in (route.methods or ()) and route.path not in ("/live", "/signin"):
            path = route.path.replace("{id}", team.session).replace("{event}", team.event)
            path = re.sub(r"\{[^}]*\}", "x", path)
            found += [path, f"{path}?q={PART}&a={team.session}&b=last&session={team.session}&by=tool"]
    assert len(found) > 20
    return found


def test_who_has_no_key_sees_nothing(teams: tuple[Team, Team], site: Site, visitor: Visitor) -> None:
    """As soon as a key is registered, every page leads whoever has not signed in to the sign-in page, and all data is
    refused."""
    for path in addresses(teams[1]):
        answer = visitor.get(path)
        if answer.status_code == 303:
            assert answer.headers["Location"].startswith("/signin"), path
        else:
            assert answer.status_code == 401, path
        assert "<h1" not in answer.text
    assert visitor.get("/live").status_code == 403
    assert visitor.post("/actions/tag", {"session": teams[1].session, "add": "x"}).headers["Location"] == "/signin"
    assert visitor.get("/signin").status_code == 200


def test_a_project_never_sees_another(teams: tuple[Team, Team], site: Site, visitor: Visitor) -> None:
    """With the key of a project one sees that project: no page and no data has a row of another, or of the database
    that is served, whatever is asked for."""
    ours, theirs = teams
    assert visitor.sign_in(ours.key).headers["Location"] == "/"
    for path in addresses(theirs):
        answer = visitor.get(path)
        assert answer.status_code < 500, path
        assert SECRET not in answer.text, path
        if path.startswith((f"/sessions/{theirs.session}", "/compare?", "/actions/delete?")):
            assert answer.status_code == 404, path
        else:
            assert theirs.session not in answer.text or f"session={theirs.session}" in path, path
    assert any("ours alone" in visitor.get(path).text for path in addresses(ours))
    for action in ("tag", "end", "delete", "score", "note"):
        fields = {"add": "x", "sure": "yes", "name": "n", "value": "1", "text": "t", "token": visitor.token}
        assert visitor.post(f"/actions/{action}", {"session": theirs.session, **fields}).status_code == 404, action
    with closing(Book(theirs.db)) as their:
        assert their.rows("SELECT tags FROM sessions") == [(f'["{SECRET}"]',)]
        assert their.rows("SELECT count(*) FROM scores") == [(1,)]


def test_what_is_changed_is_ones_own(teams: tuple[Team, Team], visitor: Visitor) -> None:
    """A viewer changes his own project, and what he says bears the beginning of his key; the token of somebody else is
    none of his."""
    ours, theirs = teams
    other = Visitor(Site(visitor.url))
    other.sign_in(theirs.key)
    visitor.sign_in(ours.key)
    fields = {"session": ours.session, "text": "hm"}
    assert visitor.post("/actions/note", {"token": other.token, **fields}).status_code == 403
    assert visitor.post("/actions/note", {"token": visitor.token, **fields}).status_code == 303
    assert analytics.scores("last", db=ours.db)[-1].author == f"key {ours.key[:8]}"
    other.http.close()


def test_the_database_itself_may_have_a_key(book: Book, teams: tuple[Team, Team], visitor: Visitor) -> None:
    """The key of the local project leads to the database that is served."""
    with closing(SqliteWriter(book.path)) as writer:
        key = registry.add_key(writer, "me", local=True)
    visitor.sign_in(str(key).upper())
    assert SECRET in visitor.get("/index.json").text or SECRET in visitor.get("/").text


def test_the_cookie(teams: tuple[Team, Team], visitor: Visitor) -> None:
    """No script reads the cookie and no other site brings it along; behind https it travels by https alone."""
    said = visitor.sign_in(teams[0].key).headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=strict", "Path=/", f"Max-Age={LIFE}"} <= set(said.split("; "))
    assert "Secure" not in said
    assert teams[0].key not in said
    https = Visitor(Site(visitor.url))
    host = https.url.removeprefix("http://")
    assert "Secure" in https.sign_in(teams[0].key, {"Origin": f"https://{host}"}).headers["Set-Cookie"]
    https.http.close()


def test_no_longer_in(book: Book, teams: tuple[Team, Team], visitor: Visitor) -> None:
    """Signing out ends a cookie for good, copies of it included; revoking the key ends all that it opened."""
    key = teams[0].key
    visitor.sign_in(key)
    copy = Visitor(Site(visitor.url))
    copy.http.cookies.update(visitor.http.cookies)
    assert copy.get("/").status_code == 200
    assert visitor.post("/signout", {"token": "0"}).status_code == 403
    assert visitor.get("/").status_code == 200
    answer = visitor.post("/signout", {"token": visitor.token})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/signin")
    assert visitor.get("/").status_code == copy.get("/").status_code == 303
    copy.sign_in(key)
    assert copy.get("/").status_code == 200
    with closing(SqliteWriter(book.path)) as writer:
        registry.revoke_key(writer, key)
    assert copy.get("/").status_code == 303
    assert copy.sign_in(key).status_code == 403
    copy.http.close()


def test_nothing_is_told_any_more(book: Book, teams: tuple[Team, Team], visitor: Visitor) -> None:
    """Who is told what is new is told no more when his key is revoked."""
    visitor.sign_in(teams[0].key)
    with visitor.get("/live", stream=True) as answer:
        lines = answer.iter_lines()
        assert next(lines) == b"event: changed"
        with closing(SqliteWriter(book.path)) as writer:
            registry.revoke_key(writer, teams[0].key)
        own = Book(teams[0].db)
        own.session()
        own.close()
        for line in lines:  # until the server ends the stream
            assert line not in (b"event: changed", b": still here")


def test_forged_cookies(book: Book, teams: tuple[Team, Team], site: Site, visitor: Visitor) -> None:
    """A cookie of another server, one that nobody signed, and a token that a client got are none."""
    visitor.sign_in(teams[0].key)
    ((name, good),) = visitor.http.cookies.items()
    said = jwt.decode(good, options={"verify_signature": False})
    said["key"] = registry.tag_of(registry.key_hash(registry.parse_key(teams[1].key)))  # type: ignore[arg-type]
    secret = load_secret(book.path)
    client = Tokens(secret).issue(Claims(teams[1].session, teams[1].db.stem, said["key"]), clock.now_us() / 1e6)
    head, _, signature = good.split(".")
    body = jwt.encode(said, "k" * 32, algorithm="HS256").split(".")[1]
    with shown(book.path) as later:
        (elsewhere,) = (Visitor(later),)
        elsewhere.sign_in(teams[0].key)
        ((_, other),) = elsewhere.http.cookies.items()
        elsewhere.http.close()
    forged = [
        jwt.encode(said, secret, algorithm="HS256"), jwt.encode(said, "", algorithm="none"),
        f"{head}.{body}.{signature}", client, other, good[:-2], "", "x", "ä",
    ]  # fmt: skip
    for cookie in forged:
        answer = requests.get(f"{site.url}/index.json", headers={"Cookie": f"{name}={cookie}".encode()}, timeout=20)
        assert answer.status_code == 401, cookie
    assert requests.get(f"{site.url}/index.json", headers={"Cookie": f"{name}={good}"}, timeout=20).status_code == 200


def test_its_time_is_over(book: Book, teams: tuple[Team, Team]) -> None:
    """A cookie opens nothing any more when its time is over."""
    now = [1_800_000_000.0]
    store = SqliteStore(book.path)
    try:
        access = Access(store, False, lambda: now[0])
        value = access.sign_in(teams[0].key)
        assert value is not None
        assert access._read(value) is not None
        now[0] += LIFE - 1
        assert access._read(value) is not None
        now[0] += 1
        assert access._read(value) is None
    finally:
        store.close()


def test_guessing_is_slow() -> None:
    """After some failures each further one makes an address wait twice as long, up to a limit; others do not wait, and
    whoever succeeds does not either."""
    throttle = Throttle()
    waits = []
    now = 1000.0
    for _ in range(FREE + 8):
        waits.append(throttle.wait("a", now))
        now += waits[-1]
        throttle.fail("a", now)
    assert waits == [0.0] * FREE + [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, LONGEST, LONGEST]
    assert throttle.wait("b", now) == 0
    assert throttle.wait("a", now + LONGEST) == 0
    throttle.fail("a", now)
    assert throttle.wait("a", now + 1000) == 0
    throttle.succeed("a")
    assert throttle.wait("a", now) == 0


def test_too_many_wrong_keys(teams: tuple[Team, Team], visitor: Visitor) -> None:
    """A key that opens nothing is refused in words that tell nothing more; after some of them none is looked at for a
    while, not even a good one."""
    for _ in range(FREE):
        answer = visitor.sign_in("00000000-0000-4000-8000-000000000000")
        assert (answer.status_code, signing._NO_KEY in answer.text) == (403, True)
    answer = visitor.sign_in(teams[0].key)
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "1"
    assert "Set-Cookie" not in answer.headers


def test_the_way_in(teams: tuple[Team, Team], visitor: Visitor) -> None:
    """Whoever signs in comes to the page that he wanted to see, of ours alone; a form from elsewhere signs nobody
    in."""
    to = visitor.get("/sync?range=7d").headers["Location"]
    assert to == "/signin?to=%2Fsync%3Frange%3D7d"
    assert 'name="to" value="/sync?range=7d"' in visitor.get(to).text
    assert 'name="to" value=""' in visitor.get("/signin?to=//evil").text
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil"}):
        assert visitor.sign_in(teams[0].key, headers).status_code == 403
    assert visitor.post("/signin", {"key": teams[0].key}).status_code == 403
    assert not visitor.http.cookies
    assert visitor.sign_in(teams[0].key, to="//evil").headers["Location"] == "/"
    assert visitor.get("/signin?to=/sync").headers["Location"] == "/sync"


def test_a_shared_link(teams: tuple[Team, Team], visitor: Visitor) -> None:
    """Who is signed in and follows a link on somebody else's page, which brings no cookie, comes in all the same: the
    sign-in page calls itself once more, and that brings it."""
    page = visitor.get("/signin?to=/sync", headers={"Sec-Fetch-Site": "cross-site"}).text
    assert "url=/signin?to=%2Fsync&amp;again=1" in page
    assert "<h1>Sign in" in visitor.get("/signin?to=/sync&again=1", headers={"Sec-Fetch-Site": "cross-site"}).text


def test_nobody_need_sign_in(book: Book, site: Site, visitor: Visitor) -> None:
    """As long as no key is registered the sign-in page leads on, and with the first one it is needed at once."""
    book.end(book.session())
    assert visitor.get("/signin").headers["Location"] == "/"
    assert visitor.get("/").status_code == 200
    join(book, "ours", "x")
    assert visitor.get("/").status_code == 303


def test_in_a_browser(teams: tuple[Team, Team], site: Site, browser: Browser) -> None:
    """In a browser one signs in with a key, sees the name of the project, and signs out."""
    context = browser.new_context(base_url=site.url)
    context.set_default_timeout(10_000)
    page = context.new_page()
    page.goto("/sync")
    page.get_by_label("API key").fill("nonsense")
    page.get_by_role("button", name="Sign in").click()
    assert "opens no project" in page.get_by_role("alert").inner_text()
    page.get_by_label("API key").fill(teams[0].key)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/sync")
    assert "ours" in page.locator("header").inner_text()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/signin")
    assert context.cookies() == []
    context.close()
