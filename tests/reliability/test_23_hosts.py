"""Web pages, and names that lead here (DNS rebinding): whom the collector answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.reliability.scorecard import Score
from tests.reliability.tools.bare import Reply, message, send

pytest.importorskip("uvicorn", reason="the extra `server` is not installed")

from tests.server.running import BEGAN, in_process

# {own} is the host and port of the collector, {port} its port. Each of them is refused whatever is asked for.
FOREIGN_HOSTS = {
    "another name": ["Host: evil.example"],
    "another name, our port": ["Host: evil.example:{port}"],
    "ours in front": ["Host: 127.0.0.1.evil.example:{port}"],
    "localhost in front": ["Host: localhost.evil.example:{port}"],
    "ours behind": ["Host: evil.127.0.0.1:{port}"],
    "localhost glued": ["Host: evillocalhost:{port}"],
    "a dot behind the name": ["Host: localhost.:{port}"],
    "a dot behind the address": ["Host: 127.0.0.1.:{port}"],
    "a dot behind another": ["Host: evil.example.:{port}"],
    "a user in front": ["Host: 127.0.0.1@evil.example"],
    "a user in front, with ports": ["Host: 127.0.0.1:{port}@evil.example:{port}"],
    "another as the port": ["Host: localhost:evil.example"],
    "two ports": ["Host: localhost:{port}:{port}"],
    "a path": ["Host: 127.0.0.1/evil.example"],
    "behind brackets": ["Host: [::1]evil.example:{port}"],
    "brackets open": ["Host: [::1"],
    "brackets empty": ["Host: []:{port}"],
    "another IPv6 address": ["Host: [2001:db8::1]:{port}"],
    "IPv6 without brackets": ["Host: ::1"],
    "any address": ["Host: 0.0.0.0:{port}"],
    "any address of IPv6": ["Host: [::]:{port}"],
    "an address of the network": ["Host: 192.168.1.10:{port}"],
    "an address of the cloud": ["Host: 169.254.169.254"],
    "short": ["Host: 127.1:{port}"],
    "as a number": ["Host: 2130706433:{port}"],
    "in hexadecimal": ["Host: 0x7f.0.0.1:{port}"],
    "in octal": ["Host: 0177.0.0.1:{port}"],
    "encoded": ["Host: %6cocalhost:{port}"],
    "another script": ["Host: l\u00f6calhost:{port}"],
    "full-width digits": ["Host: \u00b9\u00b2\u00b7.0.0.1"],
    "empty": ["Host: "],
    "none at all": [],
    "a space in between": ["Host: localhost evil.example"],
    "several in one": ["Host: localhost, evil.example"],
    "ours, then another": ["Host: {own}", "Host: evil.example"],
    "another, then ours": ["Host: evil.example", "Host: {own}"],
    "ours twice": ["Host: {own}", "Host: {own}"],
    "as forwarded": ["Host: evil.example", "X-Forwarded-Host: {own}"],
    "as forwarded, by the standard": ["Host: evil.example", "Forwarded: host={own}"],
}
FOREIGN_ORIGINS = {
    "another site": ["Origin: https://evil.example"],
    "another site, our port": ["Origin: http://evil.example:{port}"],
    "no origin to tell": ["Origin: null"],
    "empty": ["Origin: "],
    "our host, another port": ["Origin: http://127.0.0.1:1"],
    "our host, no port": ["Origin: http://127.0.0.1"],
    "our other name": ["Origin: http://localhost:{port}"],
    "ours of IPv6": ["Origin: http://[::1]:{port}"],
    "ours in front": ["Origin: http://127.0.0.1:{port}.evil.example"],
    "a user in front": ["Origin: http://{own}@evil.example"],
    "a user behind": ["Origin: http://evil.example@{own}"],
    "a dot behind": ["Origin: http://127.0.0.1.:{port}"],
    "a path behind": ["Origin: http://{own}/evil"],
    "a broken address": ["Origin: http://[::1"],
    "a broken port": ["Origin: http://127.0.0.1:x"],
    "another scheme": ["Origin: file://{own}"],
    "an extension": ["Origin: chrome-extension://abcdefghijklmnop"],
    "no scheme": ["Origin: {own}"],
    "any": ["Origin: *"],
    "ours, then another": ["Origin: http://{own}", "Origin: https://evil.example"],
    "another, then ours": ["Origin: https://evil.example", "Origin: http://{own}"],
    "several in one": ["Origin: http://{own} https://evil.example"],
}
ASKED = [
    "GET /health",
    "GET /v2/openapi.json",
    "POST /v2/create_session",
    "DELETE /nothing",
    "OPTIONS /v2/create_session",
]
# What a page may send without being asked first: none of it carries an API key, so none of it may pass by an origin.
SIMPLE = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An open collector: any key will do."""
    with in_process(tmp_path_factory.mktemp("collector") / "agentops.db") as found:
        yield found


def filled(headers: list[str], url: str) -> list[str]:
    """Headers with the collector's own address in them."""
    own = url.partition("//")[2]
    return [header.replace("{own}", own).replace("{port}", own.rpartition(":")[2]) for header in headers]


def session(session_id: str | None = None) -> bytes:
    """The body of a request that would change something."""
    said = {"session_id": session_id or str(uuid4()), "init_timestamp": BEGAN}
    return json.dumps({"session": said}).encode()


def ask(url: str, asked: str, *headers: str, body: bytes = b"") -> Reply:
    """Sends a request."""
    return send(url, message(f"{asked} HTTP/1.1", *headers, body=body))


def assert_refused(replies: dict[str, Reply], score: Score) -> None:
    """All are refused, and none may be read by a page."""
    let_through = {name: reply.status for name, reply in replies.items() if reply.status not in (400, 403)}
    score.add(len(replies), lost=len(let_through))
    assert not let_through
    assert not [name for name, reply in replies.items() if "access-control-" in reply.head.lower()]


@pytest.mark.parametrize("asked", ASKED)
def test_a_name_that_is_not_ours_is_refused(url: str, asked: str, score: Score) -> None:
    """Whatever is asked for under a name that could lead anywhere, or under no name, is refused."""
    body = session() if asked.startswith("POST") else b""
    key = f"X-Agentops-Api-Key: {uuid4()}"
    assert_refused(
        {name: ask(url, asked, *filled(headers, url), key, body=body) for name, headers in FOREIGN_HOSTS.items()},
        score,
    )


@pytest.mark.parametrize("asked", ASKED)
def test_a_page_from_elsewhere_is_refused(url: str, asked: str, score: Score) -> None:
    """Whatever a web page of another origin asks for is refused, one on another port of this machine included."""
    body = session() if asked.startswith("POST") else b""
    host, key = filled(["Host: {own}"], url)[0], f"X-Agentops-Api-Key: {uuid4()}"
    replies = {
        name: ask(url, asked, host, *filled(headers, url), key, body=body) for name, headers in FOREIGN_ORIGINS.items()
    }
    assert_refused(replies, score)


@pytest.mark.parametrize("kind", SIMPLE)
def test_a_form_changes_nothing(url: str, kind: str, score: Score) -> None:
    """A form on another page, which a browser sends without asking first, changes nothing."""
    refused = {}
    for path in ("create_session", "create_events", "update_session", "developer_errors", "reauthorize_jwt"):
        headers = [*filled(["Host: {own}"], url), "Origin: https://evil.example", f"Content-Type: {kind}"]
        refused[path] = ask(url, f"POST /v2/{path}", *headers, f"X-Agentops-Api-Key: {uuid4()}", body=session())
    assert_refused(refused, score)
    assert json.loads(ask(url, "GET /health", *filled(["Host: {own}"], url)).body)["developer_errors"] == 0


def test_a_target_with_a_host_of_its_own(url: str, score: Score) -> None:
    """A target that names a host (as one would ask a proxy) reaches nothing, whosever host it is; neither do methods
    that are not HTTP's."""
    host = filled(["Host: {own}"], url)
    own = url.partition("//")[2]
    targets = [
        "GET http://evil.example/health", f"GET http://{own}/health", "GET //evil.example/health",
        f"GET https://evil.example@{own}/health", "CONNECT evil.example:443", "OPTIONS *", "GET evil.example/health",
        "TRACE /health", "TRACK /health", "PROPFIND /", "PRI *",
    ]  # fmt: skip
    found = {target: ask(url, target, *host).status for target in targets}
    score.add(len(found), lost=sum(status == 200 for status in found.values()))
    assert set(found.values()) <= {400, 403, 404, 405}, found


def test_two_requests_in_one(url: str, score: Score) -> None:
    """A request whose length can be read in two ways is not read in either: behind a proxy, what follows could be
    somebody else's."""
    host = filled(["Host: {own}"], url)
    smuggled = b"0\r\n\r\nGET /v2/openapi.json HTTP/1.1\r\nHost: evil.example\r\n\r\n"
    cases = [
        ["Content-Length: 5", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Content-Length: 5"],
        ["Content-Length: 5", "Content-Length: 6"],
        ["Content-Length: 5, 6"],
        ["Content-Length: +5"],
        ["Content-Length: -1"],
        ["Content-Length: 0x5"],
        ["Transfer-Encoding: chunked, identity"],
        ["Transfer-Encoding: xchunked"],
        ["Transfer-Encoding : chunked"],
    ]
    replies = [send(url, message("POST /v2/create_session HTTP/1.1", *host, *case) + smuggled) for case in cases]
    read = [case for case, reply in zip(cases, replies, strict=True) if b"openapi" in reply.body]
    score.add(len(cases), lost=len(read))
    assert not read
    assert {reply.status for reply in replies} <= {0, 400, 403, 411, 501}, replies


def test_clients_are_answered(url: str, tmp_path: Path, score: Score) -> None:
    """Clients, which send no origin, are answered under every name of loopback; a page of the collector itself is; and
    with --allow-host so are its public name and the pages there, whatever a proxy calls us."""
    names = ["{own}", "localhost:{port}", "LOCALHOST", "[::1]:{port}", "127.0.0.9", "agentops.localhost:{port}"]
    said = [ask(url, "GET /health", *filled([f"Host: {name}"], url)).status for name in names]
    page = filled(["Host: {own}", "Origin: http://{own}", f"X-Agentops-Api-Key: {uuid4()}"], url)
    said.append(ask(url, "POST /v2/create_session", *page, body=session()).status)
    with in_process(tmp_path / "agentops.db", allow_hosts=("Team.example.com",)) as public:
        said += [
            ask(public, "GET /health", f"Host: {host}", *origin).status
            for host in ("team.example.com", filled(["{own}"], public)[0])
            for origin in ([], ["Origin: https://team.example.com"])
        ]
        headers = ["Host: team.example.com", "Origin: https://team.example.com:8443"]
        other_port = ask(public, "GET /health", *headers).status
    with in_process(tmp_path / "any.db", allow_hosts=("*",)) as public:
        said.append(ask(public, "GET /health", "Host: anything.example").status)
        elsewhere = ask(public, "GET /health", "Host: anything.example", "Origin: https://evil.example").status
    score.add(len(said) + 2, lost=sum(status != 200 for status in said) + (other_port, elsewhere).count(200))
    assert said == [200] * len(said)
    assert (other_port, elsewhere) == (403, 403)
