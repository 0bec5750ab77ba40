"""Visitors of a web server that is being killed: a request that breaks off is none, and the next one is made."""

from __future__ import annotations

import http.client
import itertools
import threading
from types import TracebackType


class Visitors:
    """Threads that ask a server on loopback one thing after another, each by a connection of its own, until the end of
    the `with` block.

    Args:
        port: the server's.
        count: how many at once.

    Attributes:
        answered: the paths for which the whole answer came.
        broken: how many requests broke off.
    """

    def __init__(self, port: int, count: int = 4) -> None:
        self.answered: list[str] = []
        self.broken = 0
        self._port = port
        self._numbers = itertools.count()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._visit) for _ in range(count)]

    def __enter__(self) -> Visitors:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _visit(self) -> None:
        while not self._over.is_set():
            path = f"/{next(self._numbers)}"
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
            try:
                connection.request("GET", path)
                answer = connection.getresponse()
                if answer.status == 200 and answer.read():
                    self.answered.append(path)
            except (OSError, http.client.HTTPException):
                self.broken += 1
            finally:
                connection.close()
