"""A network that can fail: a relay on loopback between the daemon and the collector, for the demo."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress

_CHUNK = 1 << 16
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends a reset


class Relay:
    """Passes on what comes, until the network is cut.

    Args:
        port: of the server, on loopback.
    """

    def __init__(self, port: int) -> None:
        self._server = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._lock = threading.Condition()
        self._up = False
        self._answers = True
        self._requests = 0
        self._refused = 0
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def connect(self) -> None:
        """The network is there."""
        with self._lock:
            self._up = self._answers = True

    def cut(self) -> None:
        """The network is gone: connections are reset, and new ones are reset at once."""
        with self._lock:
            self._up = False
            for end in self._open:
                with suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    end.shutdown(socket.SHUT_RDWR)

    def hold_answers(self) -> None:
        """Requests still arrive; what the server answers is lost on the way."""
        with self._lock:
            self._answers = False

    def wait_for_requests(self, more: int, seconds: float = 30.0) -> bool:
        """Waits until so many more requests have passed; False if they have not come in time."""
        return self._wait(lambda: self._requests, more, seconds)

    def wait_for_refusals(self, more: int, seconds: float = 30.0) -> bool:
        """Waits until so many more connections have found the network gone."""
        return self._wait(lambda: self._refused, more, seconds)

    def close(self) -> None:
        """Ends it."""
        self.cut()
        self._listener.close()

    def _wait(self, count: Callable[[], int], more: int, seconds: float) -> bool:
        with self._lock:
            target = count() + more
            return self._lock.wait_for(lambda: count() >= target, seconds)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                up = self._up
                if not up:
                    self._refused += 1
                    self._lock.notify_all()
            if not up:
                with suppress(OSError):
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._server))
            except OSError:
                client.close()
                continue
            with self._lock:
                self._open |= {client, server}
            for source, sink, is_request in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pass, args=(source, sink, is_request), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, is_request: bool) -> None:
        try:
            while chunk := source.recv(_CHUNK):
                with self._lock:
                    if not is_request and not self._answers:
                        continue
                sink.sendall(chunk)
                if is_request and chunk[:4] in (b"POST", b"GET "):
                    with self._lock:
                        self._requests += 1
                        self._lock.notify_all()
        except OSError:
            pass
        finally:
            with self._lock:
                self._open -= {source, sink}
            for end in (source, sink):
                with suppress(OSError):
                    end.close()
