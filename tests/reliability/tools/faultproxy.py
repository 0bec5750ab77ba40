"""A proxy on loopback that does to HTTP what networks, gateways and servers do to it.

It stands between any client and any server, by a plan ("the second `create_events` loses its answer") or at random with
a seed::

    python -m tests.reliability.tools.faultproxy --upstream http://127.0.0.1:8420 --rate 0.28 --seed 7
    python -m tests.reliability.tools.faultproxy --upstream http://127.0.0.1:8420 --plan plan.json --log seen.jsonl

    with FaultProxy("http://127.0.0.1:8420") as proxy:
        proxy.plan("lost", path="create_events", nth=2)
        proxy.chaos(0.28, seed=7)
        ...                                     # proxy.url is the endpoint, proxy.seen what came

A plan is a JSON array of faults, each a name or an object with the fields of `Fault`. Threads and plain sockets, for a
server library mends on its way out what is wanted here. Bodies are held in memory; there is no TLS to the client.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import socket
import struct
import sys
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from email.message import Message
from http.client import HTTPConnection, HTTPException, HTTPSConnection, parse_headers
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TextIO, cast
from urllib.parse import urlsplit

from tests.reliability.tools.faultproxy_answers import ANSWERS, Reply, plain

FAULTS = {
    "drop": "the connection is reset; with `forwarded` when the server has answered",
    "lost": "the server answers, and the connection is closed without a byte",
    "cut_request": "the server gets half of the body, and no more",
    "cut_answer": "half of the answer's body, and no more",
    "delay": "forwarded after `seconds`",
    "late": "closed at once, and forwarded after `seconds`",
    "slow": "answered after `seconds`",
    "drip": "the answer comes a byte at a time, `seconds` apart",
    "twice": "the server gets it twice; the second answer goes back",
    "close": "answered, and then the connection is closed, though nothing had said so",
    "stale": "answered, and the connection is reset when the next request comes on it",
    "informational": "100 and 103 before the answer",
    "portal": "200 with the page of a captive portal",
    "proxy_auth": "407",
    "redirect": "`status` (307) to `location`",
    "too_large": "413; for bodies `above` a size",
    "slow_down": "429, `retry_after` in seconds or as a date",
    "page": "`status` (502) with a page",
    "garbage": "200 with bytes that are no JSON",
    "truncated": "200 with half of the JSON, and the length of that",
    "endless": "200 with `size` bytes",
    "longer": "a content length beyond the body, and the end of the connection",
    "shorter": "a content length within the body",
    "bad_chunks": "chunks whose sizes are none",
    "not_http": "an answer that is not HTTP",
}
# At random: not what needs a number, and not what no client can tell from a second request of its own.
AT_RANDOM = tuple(name for name in FAULTS if name not in ("endless", "drip", "too_large", "redirect", "twice"))

_RESETS = (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # makes close() a reset
_PATIENCE = 60.0  # seconds for the server
_HOP = frozenset(("connection", "keep-alive", "transfer-encoding", "content-length", "host", "proxy-connection"))


@dataclass
class Fault:
    """What goes wrong, with which requests. Those that fit are counted; it happens to `times` of them from the n-th."""

    fault: str
    path: str | None = None  # the last part of the path, or the whole of it
    method: str | None = None
    above: int = -1  # the body has more bytes
    nth: int = 1
    times: int | None = 1  # None: to all from there on
    forwarded: bool = False  # the server gets the request all the same, and its answer is replaced
    seconds: float = 0.0
    status: int = 0
    location: str = ""
    retry_after: str = ""
    size: int = 1 << 20
    fits: int = field(default=0, compare=False)

    def __post_init__(self) -> None:
        if self.fault not in FAULTS:
            raise ValueError(f"no fault is called {self.fault!r}; there are {', '.join(FAULTS)}")

    def takes(self, request: Request) -> bool:
        """Whether it happens to this one."""
        if self.path not in (None, request.path, request.path.rsplit("/", 1)[-1]):
            return False
        if self.method not in (None, request.method) or len(request.body) <= self.above:
            return False
        self.fits += 1
        return self.nth <= self.fits and (self.times is None or self.fits < self.nth + self.times)


def fault(described: str | dict[str, Any] | Fault) -> Fault:
    """A fault from its name, or from an object of a plan.

    Raises:
        ValueError: it is none.
    """
    if isinstance(described, Fault):
        return described
    values = {"fault": described} if isinstance(described, str) else dict(described)
    unknown = set(values) - {one.name for one in fields(Fault)}
    if unknown or "fault" not in values:
        raise ValueError(f"a fault has a name and no {', '.join(sorted(unknown)) or 'other form'}: {described!r}")
    return Fault(**values)


class Request(NamedTuple):
    """What a client has sent."""

    method: str
    target: str
    headers: Message
    body: bytes

    @property
    def path(self) -> str:
        """Without the query."""
        return self.target.partition("?")[0]


@dataclass
class Seen:
    """A request that came, and what became of it."""

    method: str
    target: str
    size: int
    fault: str | None = None
    forwarded: int = 0  # times
    answered: int | None = None  # by the server


class FaultProxy:
    """The proxy; it listens as soon as it is made.

    Args:
        upstream: the URL of the server.
        host, port: where to listen; 0 for a free port.
        log: a line of JSON for each request goes there.

    Attributes:
        upstream: the server; it may be changed.
        seen: every request that has come.
    """

    def __init__(self, upstream: str, host: str = "127.0.0.1", port: int = 0, log: TextIO | None = None) -> None:
        self.upstream = upstream
        self._log = log
        self._lock = threading.Lock()
        self._script: list[Fault] = []
        self._chaos: tuple[float, random.Random, list[Fault]] | None = None
        self._stopping = threading.Event()
        self._open: dict[socket.socket, threading.Thread] = {}
        self.seen: list[Seen] = []
        self._listener = socket.create_server((host, port), backlog=128)
        self.url = f"http://{host}:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> FaultProxy:
        return self

    def __exit__(self, *_: object) -> None:
        """Ends it, with its connections."""
        self._stopping.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            open_still = dict(self._open)
        for connection, thread in open_still.items():
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            thread.join(_PATIENCE)  # the log is to be whole

    # What goes wrong ------------------------------------------------------------------------------------------------

    def plan(self, *described: str | dict[str, Any] | Fault, **more: Any) -> None:
        """Adds faults to the plan; the first that takes a request has it."""
        found = [fault({"fault": one, **more} if isinstance(one, str) else one) for one in described]
        with self._lock:
            self._script += found

    def chaos(self, rate: float, seed: int = 0, faults: Iterable[str | dict[str, Any] | Fault] = AT_RANDOM) -> None:
        """From now on a share of the requests meets one of some faults, by chance; 0 ends that."""
        found = [fault(one) for one in faults]
        with self._lock:
            self._chaos = (rate, random.Random(seed), found) if rate else None

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        with self._lock:
            self._script, self._chaos = [], None

    def _pick(self, request: Request) -> Fault | None:
        with self._lock:
            for each in self._script:
                if each.takes(request):
                    return each
            if self._chaos is not None:
                rate, chance, faults = self._chaos
                if chance.random() < rate:
                    return chance.choice(faults)
        return None

    # Connections ----------------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with self._lock:
            self._open[connection] = threading.current_thread()
        try:
            with connection, cast("BinaryIO", connection.makefile("rb")) as stream:
                stays = True
                while stays and not self._stopping.is_set():
                    request = _read(stream)
                    if request is None:
                        return
                    stays = self._exchange(connection, stream, request)
        except (OSError, ValueError, HTTPException):
            pass  # the client has left, or speaks no HTTP
        finally:
            with self._lock:
                del self._open[connection]

    def _exchange(self, connection: socket.socket, stream: BinaryIO, request: Request) -> bool:
        """One request and what comes back; whether the connection stays."""
        found = self._pick(request)
        seen = Seen(request.method, request.target, len(request.body), found.fault if found else None)
        with self._lock:
            self.seen.append(seen)
        try:
            if found is None:
                connection.sendall(plain(self._forward(request, seen)))
                return True
            if found.fault in ANSWERS:
                real = self._forward(request, seen) if found.forwarded or found.fault in _REAL else None
                for piece in ANSWERS[found.fault](found, real):
                    connection.sendall(piece)
                return found.fault in _STAYS
            if found.fault in _SILENT:
                return self._vanish(connection, request, found, seen)
            return self._answer(connection, stream, request, found, seen)
        finally:
            self._note(seen)

    def _vanish(self, connection: socket.socket, request: Request, found: Fault, seen: Seen) -> bool:
        """The client gets no byte; False, for the connection is over."""
        if found.fault == "late":
            timer = threading.Timer(found.seconds, self._forward, (request, seen))
            timer.daemon = True
            timer.start()
        elif found.fault == "cut_request":
            self._cut(request, seen)
        elif found.fault == "lost" or found.forwarded:
            self._forward(request, seen)
        if found.fault == "drop":
            connection.setsockopt(*_RESETS)
        return False

    def _answer(self, connection: socket.socket, stream: BinaryIO, request: Request, found: Fault, seen: Seen) -> bool:
        """The client gets the server's answer, late or once too often; whether the connection stays."""
        name = found.fault
        if name == "delay":
            self._stopping.wait(found.seconds)
        reply = self._forward(request, seen)
        if name == "twice":
            reply = self._forward(request, seen)
        if name == "slow":
            self._stopping.wait(found.seconds)
        if name == "drip":
            for byte in plain(reply):
                connection.sendall(bytes((byte,)))
                self._stopping.wait(found.seconds)
        else:
            connection.sendall(plain(reply))
        if name == "stale" and stream.read(1):
            connection.setsockopt(*_RESETS)
        return name not in ("close", "stale")

    def _note(self, seen: Seen) -> None:
        if self._log is not None:
            with self._lock:
                self._log.write(json.dumps(asdict(seen)) + "\n")
                self._log.flush()

    # The server -----------------------------------------------------------------------------------------------------

    def _forward(self, request: Request, seen: Seen) -> Reply:
        """Has the server do it; 502 if it cannot be reached."""
        seen.forwarded += 1
        connection = self._begin(request, len(request.body))
        try:
            connection.endheaders(request.body or None)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, HTTPException) as error:
            return Reply(502, {"Content-Type": "text/plain"}, f"{type(error).__name__}: {error}".encode())
        finally:
            connection.close()
        seen.answered = answer.status
        return Reply(answer.status, {k: v for k, v in answer.getheaders() if k.lower() not in _HOP}, body)

    def _cut(self, request: Request, seen: Seen) -> None:
        seen.forwarded += 1
        connection = self._begin(request, len(request.body))
        with suppress(OSError):
            connection.endheaders(request.body[: len(request.body) // 2] or None)
        connection.close()

    def _begin(self, request: Request, length: int) -> HTTPConnection:
        server = urlsplit(self.upstream)
        kind = HTTPSConnection if server.scheme == "https" else HTTPConnection
        connection = kind(server.hostname or "", server.port, timeout=_PATIENCE)
        path = server.path.rstrip("/") + request.target
        connection.putrequest(request.method, path, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", server.netloc)
        for name, value in request.headers.items():
            if name.lower() not in _HOP:
                connection.putheader(name, value)
        if length or request.method in ("POST", "PUT", "PATCH"):
            connection.putheader("Content-Length", str(length))
        return connection


_SILENT = frozenset(("drop", "lost", "late", "cut_request"))
_REAL = frozenset(
    ("cut_answer", "truncated", "longer", "shorter", "bad_chunks", "informational")
)  # made of the real one
_STAYS = frozenset(
    ("informational", "portal", "proxy_auth", "redirect", "too_large", "slow_down", "page", "garbage", "truncated")
)


def _read(stream: BinaryIO) -> Request | None:
    """The next request; None at the end.

    Raises:
        ValueError, HTTPException: it is no HTTP, or comes in chunks.
    """
    line = stream.readline(1 << 16)
    if not line.endswith(b"\n"):
        return None
    method, target, _ = line.decode("latin-1").split()
    headers = parse_headers(stream)
    if headers.get("Transfer-Encoding"):
        raise ValueError("requests in chunks are not forwarded")
    length = int(headers.get("Content-Length") or 0)
    body = stream.read(length)
    return Request(method, target, headers, body) if len(body) == length else None


def main(words: Sequence[str] | None = None) -> None:
    """Runs until SIGTERM or Ctrl-C; the first line on standard output is the URL."""
    names = "\n".join(f"  {name:<14} {what}" for name, what in FAULTS.items())
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, epilog=f"faults:\n{names}"
    )
    parser.add_argument("--upstream", required=True, metavar="URL", help="the server")
    parser.add_argument("--host", default="127.0.0.1", help="the loopback address to listen on")
    parser.add_argument("--port", type=int, default=0, help="0 for a free one")
    parser.add_argument("--plan", type=Path, metavar="FILE", help="a JSON array of faults")
    parser.add_argument("--rate", type=float, default=0.0, help="the share of requests that meet a fault by chance")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", default=",".join(AT_RANDOM), metavar="NAMES", help="of these; with commas")
    parser.add_argument("--log", type=Path, metavar="FILE", help="a line of JSON for each request")
    given = parser.parse_args(words)
    log = given.log.open("a", encoding="utf-8") if given.log else None
    with FaultProxy(given.upstream, given.host, given.port, log) as proxy:
        proxy.plan(*(json.loads(given.plan.read_text(encoding="utf-8")) if given.plan else ()))
        proxy.chaos(given.rate, given.seed, given.faults.split(","))
        print(proxy.url, flush=True)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
