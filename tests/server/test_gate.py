from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
import pytest

from agentops_local.server.tokens import LIFE, Claims, Tokens, load_secret
from tests.server.running import BEGAN, Api, in_process, tool

KEY = "X-Agentops-Api-Key"


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A collector with a prefix, a name of its own and a small limit."""
    path = tmp_path_factory.mktemp("narrow") / "agentops.db"
    settings = {"root_path": "/agentops/", "allow_hosts": ("Collector.example.com",), "max_body": 20_000}
    with in_process(path, **settings) as url, Api(url.removesuffix("/agentops")) as api:
        yield api


def raw(url: str, request: bytes) -> bytes:
    """The answer to a request as it stands."""
    host, _, port = url.partition("//")[2].partition("/")[0].partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(request)
        found = b""
        while part := connection.recv(1 << 16):
            found += part
        return found


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "evil.example:80", "", "[::2]"]
)
@pytest.mark.parametrize("path", ["/health", "/v2/create_session", "/v2/openapi.json", "/nothing"])
def test_a_name_that_is_not_ours_is_refused(api: Api, host: str, path: str) -> None:
    """Whoever calls us by a name that can lead anywhere (DNS rebinding) is refused with 403, whatever he asks for."""
    answer = api.send("GET", path, headers={"Host": host})
    assert answer.status == 403
    assert set(answer.body) == {"path", "message"}


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1234", "127.0.0.1", "127.8.9.1:80", "[::1]:80", "app.localhost"]
)
def test_names_of_loopback_are_ours(api: Api, host: str) -> None:
    """The names and addresses of loopback are let through, with any port."""
    assert api.send("GET", "/health", headers={"Host": host}).status == 200


def test_a_web_page_elsewhere_is_refused(api: Api) -> None:
    """A request that a browser sends for a page of another origin is refused, and no answer allows it to be read."""
    assert api.send("GET", "/health", headers={"Origin": "https://evil.example"}).status == 403
    assert api.send("GET", "/health", headers={"Origin": "null"}).status == 403
    answer = api.send("GET", "/health", headers={"Origin": api.url})
    assert answer.status == 200
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    assert api.send("OPTIONS", "/v2/create_events").status == 405


def test_further_names_are_let_through(narrow: Api) -> None:
    """With --allow-host a name is let through, whatever its case."""
    assert narrow.send("GET", "/health", headers={"Host": "collector.EXAMPLE.com:443"}).status == 200
    assert narrow.send("GET", "/health", headers={"Host": "example.com"}).status == 403


def test_slashes_are_collapsed(api: Api) -> None:
    """A path with doubled slashes, as of an endpoint with one at its end, is the path with single ones."""
    host = api.url.partition("//")[2]
    body = json.dumps({"session": {"session_id": str(uuid4()), "init_timestamp": BEGAN}}).encode()
    for path in (b"//v2/create_session", b"/v2//create_session", b"///v2///create_session"):
        found = raw(
            api.url,
            b"POST %s HTTP/1.1\r\nHost: %s\r\nX-Agentops-Api-Key: %s\r\nContent-Length: %d\r\n"
            b"Connection: close\r\n\r\n%s" % (path, host.encode(), api.key.encode(), len(body), body),
        )
        assert found.startswith(b"HTTP/1.1 200"), found


def test_a_prefix_is_taken_off(narrow: Api) -> None:
    """With --root-path the paths are found with the prefix and without; other prefixes are other paths."""
    for path in ("/agentops/health", "/health", "/agentops//health", "//agentops/health"):
        assert narrow.send("GET", path).status == 200
    assert narrow.send("GET", "/agentopsy/health").status == 404
    session = {"session": {"session_id": str(uuid4())}}
    answer = narrow.by_key("/agentops/v2/create_session", session)
    assert answer.body["session_url"].startswith(f"{narrow.url}/agentops/drilldown?")


def test_an_unknown_path_is_told_so(api: Api) -> None:
    """What is not there is 404, a method that a path does not know is 405 with those it does; both in the shape of
    every failure."""
    for method, path, status in (
        ("POST", "/v2/nothing", 404), ("GET", "/", 404), ("GET", f"/v2/sessions/{uuid4()}", 404),
        ("GET", "/v2/create_session", 405), ("DELETE", f"/v2/sessions/{uuid4()}/export", 405), ("POST", "/health", 405),
    ):  # fmt: skip
        answer = api.send(method, path)
        assert (answer.status, set(answer.body)) == (status, {"path", "message"})
        assert answer.body["path"] == path
        assert (status == 405) is ("allow" in answer.headers)


@pytest.mark.parametrize("size", [20_001, 300_000, 5_000_000])
def test_a_body_that_is_too_large_is_refused(narrow: Api, size: int) -> None:
    """A body beyond the limit is answered with 413, whether it says its size beforehand or not, and nothing of it is
    stored; one of the size of the limit is taken."""
    session = narrow.create()
    assert session.post("/v2/create_events", b"x" * size).status == 413
    answer = narrow._http.post(
        f"{narrow.url}/v2/create_events", data=iter([b"x" * 20_000, b"x" * (size - 20_000)]), timeout=60
    )
    assert answer.status_code == 413
    body = json.dumps({"events": [tool(params="")]})
    body = json.dumps({"events": [tool(params="y" * (20_000 - len(body)))]})
    assert len(body) == 20_000
    assert session.post("/v2/create_events", body).status == 200


def test_a_compressed_body_is_refused(api: Api) -> None:
    """A body that says it is compressed is answered with 415."""
    assert api.send("POST", "/v2/create_events", b"x", {"Content-Encoding": "gzip"}).status == 415
    assert api.send("POST", "/v2/create_events", b"x", {"Content-Encoding": "identity"}).status == 400


def test_the_content_type_does_not_matter(api: Api) -> None:
    """A body is parsed as JSON whatever it says it is."""
    body = json.dumps({"session": {"session_id": str(uuid4())}})
    for kind in ("text/plain", "application/json; charset=UTF-8", ""):
        assert api.send("POST", "/v2/create_session", body, {KEY: api.key, "Content-Type": kind}).status == 200


@pytest.mark.parametrize("path", ["create_session", "reauthorize_jwt"])
def test_a_key_has_a_form(api: Api, path: str) -> None:
    """A key that is missing or no UUID is told so in the words that clients know; any spelling of a UUID will do."""
    body = {"session": {"session_id": str(uuid4())}, "session_id": str(uuid4())}
    for headers in ({}, {KEY: ""}, {KEY: "abc"}, {KEY: "x" * 5000}):
        answer = api.send("POST", f"/v2/{path}", body, headers)
        assert (answer.status, answer.message) == (400, "Invalid API key format")
    key = uuid4()
    for spelling in (key.hex, str(key).upper(), f"{{{key}}}", key.urn):
        assert api.send("POST", "/v2/create_session", body, {"x-agentops-api-key": spelling}).status == 200


def test_an_open_collector_is_read_without_a_key(api: Api) -> None:
    """While no key is registered, statistics and exports are had without a key, and with any."""
    session = api.create()
    for what in ("stats", "export"):
        path = f"/v2/sessions/{session.id}/{what}"
        assert api.send("GET", path).status == 200
        assert api.send("GET", path, headers={KEY: str(uuid4())}).status == 200
        assert api.send("GET", path, headers={KEY: "x"}).message == "Invalid API key format"


def test_a_token_must_be_ours(api: Api) -> None:
    """Without a token a request is refused with 400, with a token that is none of ours with 401."""
    session = api.create()
    for path in ("update_session", "create_agent", "create_events", "update_events", "create_thread"):
        body = {"events": [], "session": {}, "id": str(uuid4())}
        answer = api.send("POST", f"/v2/{path}", body)
        assert (answer.status, answer.message) == (400, "Bearer Token is Missing")
        unsigned: Any = None
        forged = jwt.encode({"session_id": session.id, "project": "local", "exp": 1 << 33}, "x" * 40, algorithm="HS256")
        none = jwt.encode({"session_id": session.id, "project": "local", "exp": 1 << 33}, unsigned, algorithm="none")
        for value in ("garbage", "Bearer", "Bearer garbage", f"Bearer {forged}", f"Bearer {none}", "Bearer a b c"):
            answer = api.send("POST", f"/v2/{path}", body, {"Authorization": value})
            assert (answer.status, answer.message) == (401, "Invalid Token")
    assert (
        api.send("POST", "/v2/create_events", {"events": []}, {"Authorization": f"Token {session.token}"}).status == 200
    )


def test_a_token_has_an_end(path: Path) -> None:
    """A token is good for 30 days; then the answer is 401 `Expired Token`, by which clients know that, and nothing is
    done."""
    with in_process(path) as url, Api(url) as api:
        session = api.create()
        tokens, now = Tokens(load_secret(path)), time.time()
        claims = Claims(session.id, "local", None)
        old = tokens.issue(claims, now - LIFE - 10)
        answer = api.by_token(old, "/v2/create_events", {"events": [tool()]})
        assert (answer.status, answer.message) == (401, "Expired Token")
        assert session.stats()["events"] == 0
        assert api.by_token(tokens.issue(claims, now - LIFE + 60), "/v2/create_events", {"events": []}).status == 200
        said = jwt.decode(session.token, options={"verify_signature": False})
        assert set(said) == {"session_id", "project", "exp"}
        assert abs(said["exp"] - now - 30 * 24 * 3600) < 60


def test_faults_of_clients_are_taken_note_of(path: Path) -> None:
    """A client's report of a fault of its own is answered with 204 and counted; one that is no JSON is refused."""
    with in_process(path) as url, Api(url) as api:
        for body in ({}, {"sdk_version": "0.3.26", "type": "ValueError\n", "message": "m" * 9999, "stack_trace": "s"}):
            answer = api.by_key("/v2/developer_errors", body)
            assert (answer.status, answer.body) == (204, "")
        assert api.by_key("/v2/developer_errors", "{").status == 400
        assert api.send("GET", "/health").body["developer_errors"] == 2


def test_a_connection_is_kept(api: Api) -> None:
    """Requests of all outcomes follow one another on one connection."""
    connection = http.client.HTTPConnection(api.url.partition("//")[2], timeout=30)
    for path, status in (("/health", 200), ("/nothing", 404), ("/v2/sessions/x/stats", 400), ("/health", 200)):
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == status
        assert answer.getheader("connection") != "close"
    connection.close()
