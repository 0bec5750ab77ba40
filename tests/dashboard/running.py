"""A dashboard in this process, and requests to it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from agentops_local.dashboard.app import routes
from agentops_local.server.serve import Serving, Settings


@dataclass(frozen=True)
class Site:
    """A dashboard that runs.

    Attributes:
        url: without a slash at its end.
    """

    url: str

    def get(self, path: str, **how: Any) -> requests.Response:
        """A page, as it comes; redirects are not followed."""
        return requests.get(self.url + path, timeout=20, allow_redirects=False, **how)

    def json(self, path: str) -> Any:
        """The data of a page."""
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()


@contextmanager
def shown(path: Path, **settings: Any) -> Iterator[Site]:
    """A server that shows a database."""
    serving = Serving(Settings(path, port=0, **settings), routes)
    started = threading.Event()
    thread = threading.Thread(target=serving.run, args=(started.set,))
    thread.start()
    try:
        assert started.wait(10)
        yield Site(serving.url)
    finally:
        serving.stop()
        thread.join(10)
