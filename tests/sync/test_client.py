from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from requests.structures import CaseInsensitiveDict

from agentops_local.errors import WrongUse
from agentops_sync.client import Client, Outcome, Request, Verdict, judge, normal_endpoint
from tests.fakes.agentops_api import AgentOpsAPI

TOKEN = "a.b.c"  # noqa: S105 - of nothing
SESSION = "2b4ef3a1-6c5e-4a52-8a0f-0d9a3c7f1e11"


@pytest.fixture
def client(api: AgentOpsAPI) -> Iterator[Client]:
    """A client of the server."""
    made = Client(api.url)
    yield made
    made.close()


def create(api: AgentOpsAPI) -> Request:
    """The creation of a session."""
    body = {"session": {"session_id": SESSION, "init_timestamp": "2025-01-01T00:00:00+00:00"}}
    return Request("/v2/create_session", key=api.api_key, body=json.dumps(body).encode())


def judged(status: int, content: bytes | str, **headers: str) -> Outcome:
    """What is made of an answer."""
    raw = content if isinstance(content, bytes) else content.encode()
    return judge(status, raw, CaseInsensitiveDict({name.replace("_", "-"): text for name, text in headers.items()}))


@pytest.mark.parametrize(
    ("fault", "verdict", "stored"),
    [
        ("reset_before", Verdict.UNKNOWN, False),
        ("reset_after", Verdict.UNKNOWN, True),
        ("lost_answer", Verdict.UNKNOWN, True),
        ("hang", Verdict.UNKNOWN, False),
        ("502_before", Verdict.UNKNOWN, False),
        ("502_after", Verdict.UNKNOWN, True),
        ({"fault": "502_after", "status": 503}, Verdict.UNKNOWN, True),
        ({"fault": "502_before", "status": 504}, Verdict.UNKNOWN, False),
        ("html_200", Verdict.UNKNOWN, False),
        ("cut_body", Verdict.UNKNOWN, True),
        ({"fault": "redirect", "location": "/elsewhere"}, Verdict.UNKNOWN, False),
        ({"fault": "redirect", "status": 302, "location": "http://[garbage"}, Verdict.UNKNOWN, False),
        ("413", Verdict.TOO_LARGE, False),
        ({"fault": "413", "early": True}, Verdict.TOO_LARGE, False),
        ("429", Verdict.SLOW_DOWN, False),
        ({"fault": "slow", "seconds": 0.01}, Verdict.OK, True),
    ],
    ids=str,
)
def test_each_fault_has_its_verdict(
    api: AgentOpsAPI, client: Client, fault: Any, verdict: Verdict, stored: bool
) -> None:
    """What has gone wrong tells what the server may have done; a request that may have reached it is unclear, and no
    request is ever made twice."""
    api.faults(fault)
    outcome = client.send(create(api))
    assert outcome.verdict is verdict, outcome
    assert len(api.requests) == 1
    assert (api.session(SESSION) is not None) == stored


def test_a_server_that_takes_too_long_leaves_it_open(api: AgentOpsAPI) -> None:
    """A read time-out says nothing about what the server does."""
    api.fault("hang", seconds=60)
    client = Client(api.url, read=0.05)
    assert client.send(create(api)).verdict is Verdict.UNKNOWN
    client.close()


def test_a_refused_connection_sent_nothing(api: AgentOpsAPI, client: Client) -> None:
    """Where nobody listens nothing is sent, also on a connection that was good before."""
    assert client.send(create(api)).verdict is Verdict.OK
    api.refuse()
    outcome = client.send(create(api))
    assert (outcome.verdict, outcome.status) == (Verdict.NOT_SENT, None)


def test_a_name_that_nobody_knows_sent_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an address for the host nothing is sent."""

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    client = Client("https://nowhere.invalid")
    assert client.send(Request("/v2/create_session", key="x", body=b"{}")).verdict is Verdict.NOT_SENT
    client.close()


def test_a_server_without_tls_gets_nothing(api: AgentOpsAPI) -> None:
    """A failed handshake comes before the request."""
    client = Client(api.url.replace("http:", "https:"))
    assert client.send(create(api)).verdict is Verdict.NOT_SENT
    assert api.session(SESSION) is None
    client.close()


def test_a_connection_that_does_not_come_about_sent_nothing() -> None:
    """A connect time-out is a request that was not sent."""
    with contextlib.ExitStack() as stack:
        deaf = stack.enter_context(socket.socket())
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for _ in range(4):  # more than it keeps waiting
            knock = stack.enter_context(socket.socket())
            knock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                knock.connect(deaf.getsockname())
        client = Client(f"http://127.0.0.1:{deaf.getsockname()[1]}", connect=0.2, read=0.2)
        outcome = client.send(Request("/v2/create_session", key="x", body=b"{}"))
        client.close()
    if "read timed out" in outcome.words.lower():
        pytest.skip("this system accepts more connections than it was told to")
    assert outcome.verdict is Verdict.NOT_SENT


def test_a_redirect_is_not_followed(api: AgentOpsAPI, client: Client) -> None:
    """Neither a request nor its key goes to where a redirect points."""
    with AgentOpsAPI() as elsewhere:
        for status in (301, 302, 303, 307, 308):
            api.fault("redirect", status=status, location=f"{elsewhere.url}/v2/create_session")
            assert client.send(create(api)).verdict is Verdict.UNKNOWN
        assert elsewhere.requests == []
    assert len(api.requests) == 5


def test_netrc_does_not_replace_the_token(
    api: AgentOpsAPI, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A password for the host in ~/.netrc is not sent, with a token or without."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    client.send(Request("/v2/update_session", token=TOKEN, body=b"{}"))
    client.send(create(api))
    assert [one.headers.get("authorization") for one in api.requests] == [f"Bearer {TOKEN}", None]


def test_plain_http_goes_to_no_proxy(api: AgentOpsAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that may travel in plain text to this machine only is not given to a proxy in plain text either."""
    with AgentOpsAPI() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        client = Client(api.url)
        assert client.send(create(api)).verdict is Verdict.OK
        client.close()
        assert proxy.requests == []


def test_headers(api: AgentOpsAPI, client: Client) -> None:
    """A request carries the credentials that it was given, says what it is, and no more."""
    client.send(Request("/v2/create_session", key="k", parent_key="p", body=b"{}"))
    client.send(Request("/v2/create_events", token=TOKEN, body=b"{}"))
    client.send(Request(f"/v2/sessions/{SESSION}/stats", key="k"))
    secret = ("x-agentops-api-key", "x-agentops-parent-key", "authorization", "content-type")
    json_type = "application/json; charset=UTF-8"
    assert [(one.method, *map(one.headers.get, secret)) for one in api.requests] == [
        ("POST", "k", "p", None, json_type),
        ("POST", None, None, f"Bearer {TOKEN}", json_type),
        ("GET", "k", None, None, None),
    ]
    assert all(one.headers["user-agent"].startswith("agentops-sync/") for one in api.requests)


@pytest.mark.parametrize(
    ("status", "content", "verdict"),
    [
        (200, '"Success"', Verdict.OK),
        (200, '{"jwt": "x"}', Verdict.OK),
        (200, "", Verdict.UNKNOWN),
        (200, "<html>", Verdict.UNKNOWN),
        (200, "[" * 100_000, Verdict.UNKNOWN),
        (200, b"\xff\xfe\x00", Verdict.UNKNOWN),
        (201, '"Success"', Verdict.UNKNOWN),
        (204, "", Verdict.UNKNOWN),
        (400, '{"path": "/", "message": "Invalid API Key"}', Verdict.ANSWERED),
        (400, "<html>Bad Request</html>", Verdict.UNKNOWN),
        (401, '{"message": "Expired Token"}', Verdict.EXPIRED),
        (401, '{"message": "Unauthorized"}', Verdict.UNKNOWN),
        (403, "{}", Verdict.UNKNOWN),
        (404, '{"detail": "Not Found"}', Verdict.UNKNOWN),
        (413, "", Verdict.TOO_LARGE),
        (429, "", Verdict.SLOW_DOWN),
        (500, '{"error": "Internal Server Error"}', Verdict.ANSWERED),
        (500, "Internal Server Error", Verdict.UNKNOWN),
        (502, '{"error": "Internal Server Error"}', Verdict.UNKNOWN),
        (503, "", Verdict.UNKNOWN),
    ],
)
def test_the_verdict_on_an_answer(status: int, content: str | bytes, verdict: Verdict) -> None:
    """Only the server's own words are its own: whatever something in between may have said is unclear."""
    assert judged(status, content).verdict is verdict


def test_the_code_in_a_refusal_is_found() -> None:
    """Two refusals are alike when their status and the store's code are, whatever else they say."""
    first = judged(400, json.dumps({"message": "{'code': '22P02', 'details': 'a'}"}))
    second = judged(400, json.dumps({"message": "{'code': '22P02', 'details': 'b'}"}))
    other = judged(400, json.dumps({"message": "The number 2250000 and id 22P02x are no codes"}))
    assert (first.manner, first.sqlstate) == (second.manner, "22P02")
    assert first.manner == "400 22P02"
    assert (other.manner, other.sqlstate) == ("400", None)


@pytest.mark.parametrize(
    ("text", "seconds"), [("7", 7.0), (" 2.5 ", 2.5), ("soon", None), ("-5", None), ("", None), (None, None)]
)
def test_how_long_to_wait_in_seconds(text: str | None, seconds: float | None) -> None:
    """Retry-After may be a number of seconds; what cannot be understood is as if it were not there."""
    assert judged(429, "", **({} if text is None else {"Retry_After": text})).retry_after == seconds


def test_how_long_to_wait_as_a_date() -> None:
    """Retry-After may be a date; one that is past asks for no wait."""
    now = datetime.now(timezone.utc)
    later = judged(429, "", Retry_After=format_datetime(now + timedelta(seconds=1000), usegmt=True)).retry_after
    assert later is not None
    assert 900 < later <= 1000
    assert judged(429, "", Retry_After=format_datetime(now - timedelta(days=1), usegmt=True)).retry_after == 0.0


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("https://api.agentops.ai", "https://api.agentops.ai"),
        ("https://api.agentops.ai/", "https://api.agentops.ai"),
        ("https://api.agentops.ai/v2", "https://api.agentops.ai"),
        ("https://api.agentops.ai/v2/", "https://api.agentops.ai"),
        ("  HTTPS://API.AgentOps.AI:443/v2  ", "https://api.agentops.ai"),
        ("https://example.org:8443/agentops/v2/", "https://example.org:8443/agentops"),
        ("http://localhost:80", "http://localhost"),
        ("http://127.0.0.1:8787/", "http://127.0.0.1:8787"),
        ("http://[::1]:8787", "http://[::1]:8787"),
    ],
)
def test_one_spelling_of_an_endpoint(given: str, normal: str) -> None:
    """However an endpoint is written, the ledger knows it by one spelling."""
    assert normal_endpoint(given) == normal
    assert normal_endpoint(normal) == normal


@pytest.mark.parametrize(
    "wrong",
    [
        "http://api.agentops.ai",
        "http://127.0.0.1.example.org",
        "http://localhost.example.org",
        "http://0.0.0.0",
        "http://192.168.0.1",
        "ftp://localhost",
        "api.agentops.ai",
        "",
        "https://",
        "https://user:password@api.agentops.ai",
        "https://api.agentops.ai?x=1",
        "https://api.agentops.ai#x",
        "https://api.agentops.ai:port",
        "https://[api",
    ],
)
def test_endpoints_that_are_refused(wrong: str) -> None:
    """Plain http leaves this machine never, and what is no endpoint is told at once."""
    with pytest.raises(WrongUse):
        Client(wrong)
