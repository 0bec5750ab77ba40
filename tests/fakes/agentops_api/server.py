"""The network side: a socket that listens, a thread for each connection, and faults on the way.

Every request is done to its end whether or not its client is still there, as the real server does.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import threading
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, BinaryIO, TextIO, cast

from tests.fakes.agentops_api.api import API
from tests.fakes.agentops_api.effects import EFFECTS
from tests.fakes.agentops_api.faults import Faults
from tests.fakes.agentops_api.wire import Answer, Malformed, Request, read_request, render

if TYPE_CHECKING:
    from collections.abc import Callable

_RESET = struct.pack("ii", 1, 0)  # linger for no time: closing sends a reset
_BACKLOG = 512
_CONTROL = "/_control/"


@dataclass
class Received:
    """One request as the tests see it."""

    method: str
    path: str
    headers: dict[str, str]  # names in lower case
    size: int  # of the body, in bytes
    kinds: tuple[str, ...]  # of the events in the body
    fault: str | None = None
    done: int | None = None  # the status with which the work ended, whoever saw it; None: not done (yet)
    answered: int | None = None  # the status sent; None: no answer (yet)


class Server:
    """Serves an API on a port of loopback."""

    def __init__(self, api: API, *, port: int = 0, record: TextIO | None = None) -> None:
        self.api = api
        self.faults = Faults()
        self.requests: list[Received] = []
        self.control: Callable[[Request], Answer] | None = None
        self._record = record
        self._lock = threading.Lock()
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._late: list[threading.Timer] = []
        self._resets = 0  # how many connections are still to be reset when they come
        self._closed_for: float | None = None  # seconds for which the listener is asked to go away
        self._gone, self._back = threading.Event(), threading.Event()
        # While nobody listens the system must give the port neither to another server nor to a client, which would
        # then be connected to itself instead of refused. Other systems do not let two sockets share a port like that.
        self._holder = _bound(port) if sys.platform == "linux" else None
        self._listener = _listen(port if self._holder is None else self._holder.getsockname()[1])
        self.port: int = self._listener.getsockname()[1]
        self._woken, self._waker = socket.socketpair()
        self._acceptor = threading.Thread(target=self._accept, name="look-alike", daemon=True)
        self._acceptor.start()

    def close(self) -> None:
        """Stop: nothing is listened to, nothing is done any more."""
        if self.api.stopping.is_set():
            return
        self.api.stopping.set()
        self._back.set()
        self._wake()
        self._acceptor.join()
        self._gone.set()
        for timer in self._late:
            timer.cancel()
        with self._lock:
            connections = dict(self._connections)
        for connection in connections:
            _shut(connection)
        for thread in (*connections.values(), *self._late):
            if thread.ident is not None and thread is not threading.current_thread():
                thread.join()
        for each in (self._woken, self._waker, self._holder):
            if each is not None:
                each.close()

    # connections ----------------------------------------------------------------------------------------------------

    def refuse(self, seconds: float | None = None, *, connections: int = 0) -> None:
        """Reset the next connections; without their number, stop listening for a while, or until `listen`."""
        if connections:
            self._resets = connections
            return
        self._gone.clear()
        self._back.clear()
        self._closed_for = -1.0 if seconds is None else seconds
        if not self.api.stopping.is_set():
            self._wake()
            self._gone.wait()

    def listen(self) -> None:
        """Listen again before the time."""
        self._resets = 0
        self._back.set()

    def _wake(self) -> None:
        self._waker.send(b"!")

    def _accept(self) -> None:
        while not self.api.stopping.is_set():
            readable, _, _ = select.select([self._listener, self._woken], [], [])
            if self._woken in readable:
                self._woken.recv(64)
                if self._closed_for is not None:
                    self._go_away(self._closed_for)
            elif readable:
                try:
                    connection, _ = self._listener.accept()
                except OSError:
                    continue  # gone again before it was looked at
                self._start(connection)
        self._listener.close()

    def _go_away(self, seconds: float) -> None:
        self._closed_for = None
        self._listener.close()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            _shut(connection)  # whoever holds a connection would not notice otherwise
        self._gone.set()
        self._back.wait(None if seconds < 0 else seconds)
        if not self.api.stopping.is_set():
            self._listener = _listen(self.port)

    def _start(self, connection: socket.socket) -> None:
        if self._resets > 0:
            self._resets -= 1
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            connection.close()
            return
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
        with self._lock:
            self._connections[connection] = thread
        thread.start()

    def _serve(self, connection: socket.socket) -> None:
        stream = cast("BinaryIO", connection.makefile("rb"))
        try:
            open_still = True
            while open_still and not self.api.stopping.is_set():
                request = read_request(stream, lambda begun: self._begun(connection, begun))
                open_still = request is not None and self._exchange(connection, request)
        except (OSError, Malformed, _Over):
            pass  # the client went away, is no HTTP client, or was sent away
        finally:
            with self._lock:
                del self._connections[connection]
            stream.close()
            connection.close()

    def _begun(self, connection: socket.socket, request: Request) -> None:
        length = request.headers.get("content-length", "0")
        size = int(length) if length.isdecimal() else 0
        fault = None if request.path.startswith(_CONTROL) else self.faults.pick_early(request, size)
        if fault is not None:
            received = Received(request.method, request.path, request.headers, size, (), fault.fault)
            self.requests.append(received)
            EFFECTS[fault.fault](_Exchange(self, connection, request, received), fault)
            self._note(received)
            raise _Over
        if request.headers.get("expect", "").lower() == "100-continue":
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _exchange(self, connection: socket.socket, request: Request) -> bool:
        if request.path.startswith(_CONTROL) and self.control is not None:
            connection.sendall(render(self.control(request), closes=request.closes))
            return not request.closes
        received = Received(request.method, request.path, request.headers, len(request.body), request.kinds())
        exchange = _Exchange(self, connection, request, received)
        self.requests.append(received)
        fault = self.faults.pick(request)
        try:
            if fault is None:
                exchange.send(exchange.work())
            else:
                received.fault = fault.fault
                EFFECTS[fault.fault](exchange, fault)
        finally:  # a client that has left is no reason to forget what it asked for
            self._note(received)
        return exchange.open and not request.closes

    def _note(self, received: Received) -> None:
        if self._record is not None:
            with self._lock:
                self._record.write(json.dumps(asdict(received)) + "\n")
                self._record.flush()

    # late work ------------------------------------------------------------------------------------------------------

    def later(self, seconds: float, work: Callable[[], object]) -> None:
        """Have something done some time from now."""
        timer = threading.Timer(seconds, work)
        timer.daemon = True
        with self._lock:
            self._late = [each for each in self._late if each.is_alive()]
            self._late.append(timer)
            timer.start()

    @property
    def late(self) -> int:
        """How many requests have yet to be committed."""
        with self._lock:
            return sum(timer.is_alive() for timer in self._late)

    def settle(self) -> None:
        """Wait until every late request is committed."""
        with self._lock:
            waiting = list(self._late)
        for timer in waiting:
            timer.join()


class _Over(Exception):
    """The connection is at its end although its request has not been read."""


class _Exchange:
    """One request on its connection."""

    def __init__(self, server: Server, connection: socket.socket, request: Request, received: Received) -> None:
        self._server = server
        self._connection = connection
        self._request = request
        self._received = received
        self.open = True

    def work(self) -> Answer:
        """Have the request done."""
        answer = self._server.api.handle(self._request)
        self._received.done = answer.status
        return answer

    def send(self, answer: Answer, *, cut: int = 0) -> None:
        """Send an answer."""
        self._received.answered = answer.status
        raw = render(answer, closes=self._request.closes)
        self._connection.sendall(raw[: len(raw) - cut])

    def reset(self) -> None:
        """Close the connection with a reset."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.open = False

    def close(self) -> None:
        """Close the connection."""
        self.open = False

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self._server.api.stopping.wait(seconds)

    def later(self, seconds: float | None) -> None:
        """Have the request done after all."""
        self._server.later(self._server.api.settings.late if seconds is None else seconds, self.work)

    def refuse(self, seconds: float) -> None:
        """Stop listening."""
        self._server.refuse(seconds)


def _bound(port: int) -> socket.socket:
    """A socket that has a port and does not listen."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    return bound


def _listen(port: int) -> socket.socket:
    listener = _bound(port)
    listener.listen(_BACKLOG)
    return listener


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # closed already
