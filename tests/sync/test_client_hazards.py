"""What a network may do to one request: proxies, certificates, answers without an end, tokens that are none."""

from __future__ import annotations

import select
import shutil
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from agentops_sync import client as client_module
from agentops_sync.client import Client, Request, Verdict

EVENTS = Request("/v2/create_events", token="a.b.c", body=b'{"events":[1]}')  # noqa: S106 - of nothing
FINE = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"Success"'
ENDLESS = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000000\r\n\r\n"

Serve = Callable[[socket.socket], None]


class Peer:
    """Listens on loopback, and has each connection served in a thread of its own until it is closed."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                self._open.append(connection)
                self._threads.append(threading.Thread(target=self._one, args=(connection,)))
                self._threads[-1].start()

    def _one(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            self._serve(connection)

    def close(self) -> None:
        """Breaks off whatever is under way."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._threads[0].join()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join()


def head(connection: socket.socket) -> bytes:
    """A request up to its body; nothing if there comes none."""
    text = b""
    while b"\r\n\r\n" not in text:
        piece = connection.recv(65536)
        if not piece:
            return b""
        text += piece
    return text


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Hands over all that comes, and the end."""
    with suppress(OSError):
        while piece := source.recv(65536):
            sink.sendall(piece)
    for one in (source, sink):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


def tunnel(port: int) -> Serve:
    """A proxy that knows CONNECT, and connects to one port."""

    def serve(connection: socket.socket) -> None:
        if not head(connection).startswith(b"CONNECT "):
            return
        with socket.create_connection(("127.0.0.1", port)) as onwards:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=pump, args=(onwards, connection))
            back.start()
            pump(connection, onwards)
            back.join()

    return serve


class Certified:
    """A TLS server that takes each request as a whole, and then does to the answer what it is told to."""

    def __init__(self, certificate: Path) -> None:
        self.taken: list[bytes] = []
        self.lose: Callable[[ssl.SSLSocket], None] | None = None
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, certificate.with_name("key.pem"))

    def serve(self, connection: socket.socket) -> None:
        """Serves a connection."""
        with self._context.wrap_socket(connection, server_side=True) as secured:
            while text := head(secured):
                while not text.endswith(EVENTS.body or b""):
                    text += secured.recv(65536)
                self.taken.append(text)
                if self.lose is not None:
                    self.lose(secured)
                    return
                secured.sendall(FINE)


def reset(connection: ssl.SSLSocket) -> None:
    """Breaks the connection off."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


LOSSES: dict[str, Callable[[ssl.SSLSocket], None]] = {
    "closed": lambda connection: connection.shutdown(socket.SHUT_RDWR),
    "reset": reset,
    "garbage": lambda connection: connection.sendall(b"xx\r\n"),
    "half": lambda connection: connection.sendall(FINE[:-4]),
}


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost that nobody has signed but itself."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl command that would make a certificate")
    made = tmp_path_factory.mktemp("tls") / "certificate.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(made.with_name("key.pem")), "-out", str(made)]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    subprocess.run(["openssl", "req", "-x509", *kind, *files, *subject], check=True, capture_output=True)
    return made


@pytest.fixture
def listen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Serve], int]]:
    """Has something served; returns the port. No proxy of the environment is in the way."""
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with ExitStack() as stack:

        def make(serve: Serve) -> int:
            peer = Peer(serve)
            stack.callback(peer.close)
            return peer.port

        yield make


@pytest.fixture
def clients() -> Iterator[Callable[[str], Client]]:
    """Makes clients of an endpoint, which do not wait long."""
    with ExitStack() as stack:

        def make(endpoint: str, read: float = 5.0) -> Client:
            client = Client(endpoint, connect=5.0, read=read)
            stack.callback(client.close)
            return client

        yield make


@pytest.mark.parametrize("reused", [False, True], ids=["fresh", "reused"])
@pytest.mark.parametrize("through_proxy", [False, True], ids=["direct", "proxy"])
@pytest.mark.parametrize("loss", LOSSES)
def test_an_answer_lost_behind_a_proxy_is_unclear(
    certificate: Path, listen: Callable[[Serve], int], clients: Callable[[str], Client],
    monkeypatch: pytest.MonkeyPatch, loss: str, through_proxy: bool, reused: bool,
) -> None:  # fmt: skip
    """Once the server has a request its lost answer leaves open what became of it, through a proxy as without one."""
    server = Certified(certificate)
    port = listen(server.serve)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    if through_proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{listen(tunnel(port))}")
    client = clients(f"https://localhost:{port}")
    if reused:
        assert client.send(EVENTS).verdict is Verdict.OK
    server.lose = LOSSES[loss]
    outcome = client.send(EVENTS)
    assert outcome.verdict is Verdict.UNKNOWN, outcome
    assert len(server.taken) == 1 + reused


def refusing(status: bytes) -> Serve:
    """A proxy that does not connect."""

    def serve(connection: socket.socket) -> None:
        head(connection)
        connection.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")

    return serve


def hang_up(connection: socket.socket) -> None:
    """A proxy that only hangs up."""
    head(connection)


@pytest.mark.parametrize("status", [b"403 Forbidden", b"407 Proxy Authentication Required", b"502 Bad Gateway", b""])
def test_a_proxy_that_refuses_sent_nothing(
    listen: Callable[[Serve], int], clients: Callable[[str], Client], monkeypatch: pytest.MonkeyPatch, status: bytes
) -> None:
    """Where a proxy does not connect, or only hangs up, nothing has reached the server."""
    proxy = listen(refusing(status) if status else hang_up)
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy}")
    outcome = clients("https://localhost").send(EVENTS)
    assert outcome.verdict is Verdict.NOT_SENT, outcome


@pytest.mark.parametrize("through_proxy", [False, True], ids=["direct", "proxy"])
@pytest.mark.parametrize("trouble", ["nobody vouches for it", "another name", "no TLS"])
def test_a_tls_that_cannot_be_set_up_sent_nothing(
    certificate: Path, listen: Callable[[Serve], int], clients: Callable[[str], Client],
    monkeypatch: pytest.MonkeyPatch, trouble: str, through_proxy: bool,
) -> None:  # fmt: skip
    """A certificate that fails its verification, or something that speaks no TLS, gets nothing of a request."""
    server = Certified(certificate)
    port = listen(server.serve if trouble != "no TLS" else lambda connection: connection.sendall(FINE))
    if trouble != "nobody vouches for it":
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    if through_proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{listen(tunnel(port))}")
    host = "127.0.0.1" if trouble == "another name" else "localhost"
    outcome = clients(f"https://{host}:{port}").send(EVENTS)
    assert outcome.verdict is Verdict.NOT_SENT, outcome
    assert server.taken == []


@pytest.mark.parametrize("text", [None, "", "no certificate"])
def test_certificates_that_are_not_there(
    clients: Callable[[str], Client], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    """A file of certificates that is not there, or holds none, is told like a connection that did not come about."""
    bundle = tmp_path / "bundle.pem"
    if text is not None:
        bundle.write_text(text)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    outcome = clients("https://localhost:1").send(EVENTS)
    assert outcome.verdict is Verdict.NOT_SENT, outcome
    assert text is not None or str(bundle) in outcome.words


def without_end(first: bytes, more: bytes) -> Serve:
    """An answer that goes on and on."""

    def serve(connection: socket.socket) -> None:
        head(connection)
        connection.sendall(first)
        enough = threading.Event()  # never set: a clock of the server's own
        while not enough.wait(0.02):
            connection.sendall(more)

    return serve


@pytest.mark.parametrize(
    ("first", "more"),
    [
        (ENDLESS, b" "),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (b"HTTP/1.1 200 OK\r\n", b"X"),
        (b"", b"H"),
    ],
    ids=["body", "chunks", "headers", "status"],
)
def test_an_answer_that_drips_for_ever(
    listen: Callable[[Serve], int], clients: Callable[..., Client], monkeypatch: pytest.MonkeyPatch,
    first: bytes, more: bytes,
) -> None:  # fmt: skip
    """An answer each byte of which comes in time, and which does not end, is unclear after some read time-outs."""
    monkeypatch.setattr(client_module, "_ANSWERS", 0.1)
    client = clients(f"http://127.0.0.1:{listen(without_end(first, more))}", read=2.0)
    outcomes: list[Verdict] = []
    sending = threading.Thread(target=lambda: outcomes.append(client.send(EVENTS).verdict), daemon=True)
    sending.start()
    sending.join(1.9)  # the test is over then, and the peer hangs up
    assert outcomes == [Verdict.UNKNOWN]


def test_an_answer_that_is_too_large(
    listen: Callable[[Serve], int], clients: Callable[[str], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer larger than any that could be meant is unclear, and is not read to its end."""
    monkeypatch.setattr(client_module, "_LARGEST", 1000)
    body = b'"' + b"x" * 200_000 + b'"'
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    def serve(connection: socket.socket) -> None:
        head(connection)
        connection.sendall(answer)

    outcome = clients(f"http://127.0.0.1:{listen(serve)}").send(EVENTS)
    assert (outcome.verdict, outcome.body) == (Verdict.UNKNOWN, None)


@pytest.mark.parametrize("token", ["secret\nsecret", "secret\r\nX-Other: secret", "secret€", "secret\x85\n"])
@pytest.mark.parametrize("where", ["token", "key", "parent_key"])
def test_a_token_that_cannot_stand_in_a_header(clients: Callable[[str], Client], token: str, where: str) -> None:
    """A token or key that cannot stand in a header is told as such, and is not quoted."""
    outcome = clients("http://127.0.0.1:1").send(Request("/v2/create_events", body=b"{}", **{where: token}))
    assert outcome.verdict is Verdict.UNUSABLE, outcome
    assert "secret" not in outcome.words


@pytest.mark.parametrize("status", [100, 102, 103])
def test_what_comes_before_an_answer_is_none(
    listen: Callable[[Serve], int], clients: Callable[[str], Client], status: int
) -> None:
    """What a server says before its answer is passed over, and no answer is taken for that of the next request."""
    early = f"HTTP/1.1 {status} Early\r\nLink: </style.css>\r\n\r\n".encode()

    def serve(connection: socket.socket) -> None:
        while head(connection):
            connection.sendall(early)
            select.select([connection], [], [], 0.1)  # until the next request comes, if it does
            connection.sendall(FINE)

    client = clients(f"http://127.0.0.1:{listen(serve)}")
    assert [client.send(Request("/health")).verdict for _ in range(3)] == [Verdict.OK] * 3
