"""The network side: requests answered by the API, and faults on the way.

Every request is done to its end whether or not its client is still there, as the real server does.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, TextIO

from tests.fakes.agentops_api.api import API
from tests.fakes.agentops_api.effects import EFFECTS
from tests.fakes.agentops_api.faults import Faults, kinds_of
from tests.fakes.listener import RESET, Listener, Over, bound, listen
from tests.fakes.wire import Answer, Request, render

if TYPE_CHECKING:
    from collections.abc import Callable

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


class Server(Listener):
    """Serves an API on a port of loopback."""

    def __init__(self, api: API, *, port: int = 0, record: TextIO | None = None) -> None:
        self.api = api
        self.faults = Faults()
        self.requests: list[Received] = []
        self.control: Callable[[Request], Answer] | None = None
        self._record = record
        self._late: list[threading.Timer] = []
        self._resets = 0  # how many connections are still to be reset when they come
        self._closed_for: float | None = None  # seconds for which the listener is asked to go away
        self._gone, self._back = threading.Event(), threading.Event()
        # While nobody listens the system must give the port neither to another server nor to a client, which would
        # then be connected to itself instead of refused. Other systems do not let two sockets share a port like that.
        self._holder = bound(port) if sys.platform == "linux" else None
        super().__init__(listen(port if self._holder is None else self._holder.getsockname()[1]), api.stopping)
        self.start()

    def close(self) -> None:
        """Stop: nothing is listened to, nothing is done any more."""
        if self.stopping.is_set():
            return
        self.stopping.set()
        self._back.set()
        self._gone.set()
        super().close()
        for timer in self._late:  # there will be no more
            timer.cancel()
        for timer in self._late:
            if timer is not threading.current_thread():
                timer.join()
        if self._holder is not None:
            self._holder.close()

    # connections ----------------------------------------------------------------------------------------------------

    def refuse(self, seconds: float | None = None, *, connections: int = 0) -> None:
        """Reset the next connections; without their number, stop listening for a while, or until `listen`."""
        if connections:
            self._resets = connections
            return
        self._gone.clear()
        self._back.clear()
        self._closed_for = -1.0 if seconds is None else seconds
        if not self.stopping.is_set():
            self.wake()
            self._gone.wait()

    def listen(self) -> None:
        """Listen again before the time."""
        self._resets = 0
        self._back.set()

    def awoken(self) -> None:
        """Go away if that is what is wanted."""
        if self._closed_for is None:
            return
        seconds, self._closed_for = self._closed_for, None
        self.listening.close()
        self.hang_up()  # whoever holds a connection would not notice otherwise
        self._gone.set()
        self._back.wait(None if seconds < 0 else seconds)
        if not self.stopping.is_set():
            self.listening = listen(self.port)

    def admits(self, connection: socket.socket) -> bool:
        """Not those that are to be reset."""
        if self._resets <= 0:
            return True
        self._resets -= 1
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        connection.close()
        return False

    def begun(self, connection: socket.socket, request: Request) -> None:
        """Fail before the body is read, if the script says so."""
        length = request.headers.get("content-length", "0")
        size = int(length) if length.isdecimal() else 0
        fault = None if request.path.startswith(_CONTROL) else self.faults.pick_early(request, size)
        if fault is not None:
            received = Received(request.method, request.path, request.headers, size, (), fault.fault)
            self.requests.append(received)
            EFFECTS[fault.fault](_Exchange(self, connection, request, received), fault)
            self._note(received)
            raise Over
        super().begun(connection, request)

    def exchange(self, connection: socket.socket, request: Request) -> bool:
        """Have a request done, or what the script says instead."""
        if request.path.startswith(_CONTROL) and self.control is not None:
            connection.sendall(render(self.control(request), closes=request.closes))
            return not request.closes
        received = Received(request.method, request.path, request.headers, len(request.body), kinds_of(request))
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
            with self.lock:
                self._record.write(json.dumps(asdict(received)) + "\n")
                self._record.flush()

    # late work ------------------------------------------------------------------------------------------------------

    def later(self, seconds: float, work: Callable[[], object]) -> None:
        """Have something done some time from now."""
        timer = threading.Timer(seconds, work)
        timer.daemon = True
        with self.lock:
            self._late = [each for each in self._late if each.is_alive()]
            self._late.append(timer)
            timer.start()

    @property
    def late(self) -> int:
        """How many requests have yet to be committed."""
        with self.lock:
            return sum(timer.is_alive() for timer in self._late)

    def settle(self) -> None:
        """Wait until every late request is committed."""
        with self.lock:
            waiting = list(self._late)
        for timer in waiting:
            timer.join()


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
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
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
