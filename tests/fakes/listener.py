"""What serves on a port of loopback: a socket that listens, a thread for each connection, one request after another.

The sockets are in plain sight, since the faults of the fakes are faults of sockets.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
from abc import ABC, abstractmethod
from typing import BinaryIO, cast

from tests.fakes.wire import Malformed, Request, read_request

RESET = struct.pack("ii", 1, 0)  # linger for no time: closing sends a reset
_BACKLOG = 512


class Over(Exception):
    """The connection is at its end although its request has not been answered."""


class Listener(ABC):
    """Hands every request of every connection to `exchange`; `stopping` is set when all is to end."""

    def __init__(self, listening: socket.socket, stopping: threading.Event) -> None:
        self.stopping = stopping
        self.lock = threading.Lock()
        self.listening = listening
        self.port: int = listening.getsockname()[1]
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._closed = False
        self._woken, self._waker = socket.socketpair()
        self._acceptor = threading.Thread(target=self._accept, name="listener", daemon=True)

    def start(self) -> None:
        """Accept connections from now on."""
        self._acceptor.start()

    def close(self) -> None:
        """Stop: nothing is listened to, no connection stays open, and no thread is left."""
        if self._closed:
            return
        self._closed = True
        self.stopping.set()
        self.wake()
        self._acceptor.join()
        self.hang_up()
        with self.lock:
            threads = list(self._connections.values())
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join()
        self._woken.close()
        self._waker.close()

    def hang_up(self) -> None:
        """End every connection there is."""
        with self.lock:
            connections = list(self._connections)
        for connection in connections:
            shut(connection)

    # what a kind of server does its own way -------------------------------------------------------------------------

    @abstractmethod
    def exchange(self, connection: socket.socket, request: Request) -> bool:
        """Answer a request; whether its connection stays open."""

    def begun(self, connection: socket.socket, request: Request) -> None:
        """The head of a request is here, its body is not."""
        if request.headers.get("expect", "").lower() == "100-continue":
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    def admits(self, connection: socket.socket) -> bool:
        """Whether a new connection is served."""
        return True

    def awoken(self) -> None:  # noqa: B027 - most servers have nothing to do then
        """Somebody has called `wake`: this is the acceptor's thread."""

    # connections ----------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Have the acceptor look up."""
        self._waker.send(b"!")

    def _accept(self) -> None:
        while not self.stopping.is_set():
            readable, _, _ = select.select([self.listening, self._woken], [], [])
            if self._woken in readable:
                self._woken.recv(64)
                self.awoken()
            elif readable:
                try:
                    connection, _ = self.listening.accept()
                except OSError:
                    continue  # gone again before it was looked at
                self._start(connection)
        self.listening.close()

    def _start(self, connection: socket.socket) -> None:
        if not self.admits(connection):
            return
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
        with self.lock:
            self._connections[connection] = thread
        thread.start()

    def _serve(self, connection: socket.socket) -> None:
        stream = cast("BinaryIO", connection.makefile("rb"))
        try:
            open_still = True
            while open_still and not self.stopping.is_set():
                request = read_request(stream, lambda begun: self.begun(connection, begun))
                open_still = request is not None and self.exchange(connection, request)
        except (OSError, Malformed, Over):
            pass  # the client went away, is no HTTP client, or was sent away
        finally:
            with self.lock:
                del self._connections[connection]
            stream.close()
            connection.close()


def bound(port: int) -> socket.socket:
    """A socket that has a port and does not listen."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", port))
    return made


def listen(port: int = 0) -> socket.socket:
    """A socket that listens; without a port the system chooses one."""
    listening = bound(port)
    listening.listen(_BACKLOG)
    return listening


def shut(connection: socket.socket) -> None:
    """End a connection, whoever reads from it."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # closed already
