"""Requests that are made to use up memory, time or connections of the collector."""

from __future__ import annotations

import gzip
import json
import re
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.reliability.scorecard import Score
from tests.reliability.tools.bare import address, message, read, send
from tests.reliability.tools.crash import scaled

pytest.importorskip("uvicorn", reason="the extra `server` is not installed")

from agentops_local.server import patience
from tests.server.running import Api, Process, in_a_process, in_process, tool

MB = 1 << 20
# A body may have 8 MB here. Parsed, empty arrays take 32 times what they took as text: nothing takes more.
MOST = 8_000_000
ROOM = 48 * MOST

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads the memory of a process from /proc")


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A collector in a process of its own, which takes bodies of 8 MB."""
    with in_a_process(tmp_path_factory.mktemp("bombs") / "agentops.db", "--max-body", "8MB") as running:
        yield running
        assert running.stop() == 0
        assert "Traceback" not in "".join(running.said)


@pytest.fixture(autouse=True)
def fresh(request: pytest.FixtureRequest) -> None:
    """What a test measures is its own: the peak of the memory is counted anew."""
    if "collector" in request.fixturenames:
        pid = request.getfixturevalue("collector").process.pid
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def memory(collector: Process) -> int:
    """The most memory that it has had in this test, in bytes."""
    status = Path(f"/proc/{collector.process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s*(\d+) kB", status)
    assert found is not None
    return int(found[1]) << 10


def nested(opening: str, closing: str, depth: int) -> bytes:
    """The body of a request whose one event holds a value of a depth."""
    event = json.dumps(tool(params="HERE"))
    return f'{{"events": [{event.replace(json.dumps("HERE"), opening * depth + "1" + closing * depth)}]}}'.encode()


def filled(part: str, size: int = MOST - 1000) -> bytes:
    """The body of a request whose one event holds as many of a value as fit into the limit."""
    event = json.dumps(tool(params="HERE"))
    many = ",".join([part] * (size // (len(part) + 1)))
    return f'{{"events": [{event.replace(json.dumps("HERE"), f"[{many}]")}]}}'.encode()


BODIES: dict[str, Callable[[], bytes]] = {
    "only opening brackets": lambda: b"[" * (MOST - 1),
    "only opening braces": lambda: b'{"a":' * (MOST // 5 - 1),
    "only quotes": lambda: b'"' * (MOST - 1),
    "only backslashes": lambda: b'{"a":"' + b"\\" * (MOST - 10),
    "escapes of surrogates": lambda: b'{"events": "' + b"\\ud800" * (MOST // 6 - 10) + b'"}',
    "arrays, 1,000 deep": lambda: nested("[", "]", 1_000),
    "arrays, 100,000 deep": lambda: nested("[", "]", 100_000),
    "objects, 100,000 deep": lambda: nested('{"a":', "}", 100_000),
    "NaN, 100,000 deep": lambda: nested("[NaN,", "]", 100_000),
    "empty arrays": lambda: filled("[]"),
    "empty objects": lambda: filled("{}"),
    "small objects": lambda: filled('{"a":1}', MOST // 2),
    "NaN": lambda: filled("NaN"),
    "one integer": lambda: filled("9" * (MOST - 2000)),
    "one fraction": lambda: filled("0." + "9" * (MOST - 2000)),
    "exponents": lambda: filled("1e999999999", MOST // 4),
    "a cost beyond all": lambda: json.dumps({"events": [tool(cost="1e999999999", prompt_tokens="9" * 4000)]}).encode(),
    "a cost of nearly nothing": lambda: json.dumps(
        {"events": [{**tool(), "event_type": "llms", "cost": "1e-999999999"}]}
    ).encode(),
    "a name of megabytes": lambda: json.dumps({"events": [tool(name="n" * (MOST // 2))]}).encode(),
    "no UTF-8": lambda: b"\xff" * (MOST - 1),
    "UTF-16": lambda: ('{"events": []}' * 1000).encode("utf-16"),
    "other keys": lambda: json.dumps({"events": [tool()], **{f"k{n}": n for n in range(300_000)}}).encode(),
    "the same key": lambda: b"{" + b'"events":[],' * (MOST // 13) + b'"events":[]}',
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_is_answered(collector: Process, name: str, score: Score) -> None:
    """Whatever JSON, or no JSON, fits into the limit is taken or refused, never by a failure of the collector, and its
    memory stays within a small multiple of the limit."""
    with Api(collector.url) as api:
        session = api.create()
        answer = session.post("/v2/create_events", BODIES[name]())
        alive = api.send("GET", "/health").status
    used = memory(collector)
    score.add(1, lost=int(answer.status not in (200, 400) or used > ROOM or alive != 200))
    assert answer.status in (200, 400), answer
    assert len(str(answer.body)) < 5000
    assert alive == 200
    assert used < ROOM, f"{used / MB:.0f} MB"


@pytest.mark.parametrize("chunked", [False, True])
def test_a_hundred_megabytes(collector: Process, chunked: bool, score: Score) -> None:
    """A body far beyond the limit is refused with 413, whether it says its size or not, and takes no more memory than
    one of the limit."""

    def parts() -> Iterator[bytes]:
        for _ in range(100):
            yield b"x" * MB

    before = memory(collector)
    with Api(collector.url) as api:
        session = api.create()
        headers = {"Authorization": f"Bearer {session.token}"}
        status = 0
        data: Any = parts() if chunked else b"x" * (100 * MB)
        try:
            status = api._http.post(f"{api.url}/v2/create_events", data=data, headers=headers, timeout=60).status_code
        except OSError:  # cut off: four times the limit are read, and no more
            pass
        assert api.send("GET", "/health").status == 200
    grown = memory(collector) - before
    score.add(1, lost=int(status not in (0, 413) or grown > 4 * MOST))
    assert status in (0, 413)
    assert grown < 4 * MOST, f"{grown / MB:.0f} MB"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "GZIP", "gzip, gzip", "x-gzip"])
def test_a_compressed_bomb(collector: Process, encoding: str, score: Score) -> None:
    """Nothing is decompressed: 100 MB of blanks in 100 kB are refused with 415, as is every other encoding."""
    body = gzip.compress(b" " * (100 * MB)) if encoding == "gzip" else b"x" * 1000
    before = memory(collector)
    with Api(collector.url) as api:
        answer = api.send("POST", "/v2/create_events", body, {"Content-Encoding": encoding})
    score.add(1, lost=int(answer.status != 415))
    assert answer.status == 415
    assert memory(collector) - before < 4 * MB


def test_heads_without_an_end(collector: Process, score: Score) -> None:
    """A head that is too large is refused: 1 MB of one header, of many, of a path, of a query."""
    host = f"Host: {collector.url.partition('//')[2]}"
    heads = [
        message("GET /health HTTP/1.1", host, "X: " + "x" * MB),
        message("GET /health HTTP/1.1", host, *(f"X-{number}: x" for number in range(100_000))),
        message(f"GET /{'x' * MB} HTTP/1.1", host),
        message(f"GET /health?{'x=1&' * (MB // 4)} HTTP/1.1", host),
        message("GET /health HTTP/1.1", "Host: " + "x" * MB),
        b"x" * MB,
        b"\r\n" * (MB // 2),
    ]
    found = [send(collector.url, head).status for head in heads]
    score.add(len(heads), lost=sum(status not in (0, 400, 431) for status in found))
    assert set(found) <= {0, 400, 431}
    assert memory(collector) < ROOM


def test_many_that_say_nothing(collector: Process, score: Score) -> None:
    """While hundreds of connections each hold back the end of their request, others are answered."""
    host = f"Host: {collector.url.partition('//')[2]}".encode()
    halves = [
        b"", b"GET", b"GET /health HTTP/1.1\r\n" + host,
        b"POST /v2/create_events HTTP/1.1\r\n" + host + b"\r\nContent-Length: 1000000\r\n\r\n{",
    ]  # fmt: skip
    count = scaled(400)
    before = memory(collector)
    with ExitStack() as stack, Api(collector.url) as api:
        for number in range(count):
            connection = stack.enter_context(socket.create_connection(address(collector.url), timeout=30))
            connection.sendall(halves[number % len(halves)])
        session = api.create(str(uuid4()))
        answers = [session.events(tool()).status for _ in range(20)]
        grown = memory(collector) - before
    score.add(count, lost=sum(status != 200 for status in answers))
    assert answers == [200] * 20
    assert grown < count * 200_000, f"{grown / MB:.1f} MB"


def test_what_does_not_get_on_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, score: Score) -> None:
    """A request that does not get on is given up: without a word where its head is not there in time, be it the first
    of its connection or the second, with 408 where its body is not."""
    monkeypatch.setattr(patience, "HEAD", 0.2)
    monkeypatch.setattr(patience, "BODY", 0.2)
    with in_process(tmp_path / "agentops.db") as url:
        host = f"Host: {url.partition('//')[2]}\r\n".encode()
        key = b"X-Agentops-Api-Key: " + str(uuid4()).encode()
        whole = b"GET /health HTTP/1.1\r\n" + host + b"\r\n"
        body = b"POST /v2/create_session HTTP/1.1\r\n" + host + key + b"\r\nConnection: close\r\n"
        begun = {
            "nothing": [b""], "a word": [b"GET"], "no end": [b"GET /health HTTP/1.1\r\n" + host],
            "a second without an end": [whole, b"GET"], "a body": [body + b"Content-Length: 100\r\n\r\n{"],
            "a body in chunks": [body + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"],
        }  # fmt: skip
        found = {name: status_of(url, parts) for name, parts in begun.items()}
    score.add(len(found))
    assert found == {
        "nothing": 0, "a word": 0, "no end": 0, "a second without an end": 200, "a body": 408, "a body in chunks": 408,
    }  # fmt: skip


def status_of(url: str, parts: list[bytes]) -> int:
    """The status of the answer to parts of requests, each sent when something was heard of the one before; it is known
    when the collector has closed the connection, which nobody else does."""
    heard = b""
    with socket.create_connection(address(url), timeout=30) as connection:
        for part in parts:
            connection.sendall(part)
            heard += connection.recv(1 << 16)
        while more := connection.recv(1 << 16):
            heard += more
    return read(heard).status
