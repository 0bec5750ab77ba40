"""The exact requests that a drain would make, without a network: the same code runs on a copy of the database against a
server that accepts everything."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from agentops_local.analytics.reading import open_reader
from agentops_local.cli.common import to_json
from agentops_local.config import key_hash
from agentops_local.store.backup import back_up
from agentops_sync.client import JSON, Outcome, Request, Verdict
from agentops_sync.daemon import Daemon
from agentops_sync.instance import Settings, uploader
from agentops_sync.ledger import Ledger
from agentops_sync.timing import SystemClock

_TOKEN = "<token>"  # noqa: S105 - it stands for one


class Printer:
    """A server that accepts everything and tells what it was asked."""

    def __init__(self, url: str, tell: Callable[[str], object]) -> None:
        self._url = url
        self._tell = tell

    def send(self, request: Request) -> Outcome:
        """Tells a request: one JSON object, keys by their hashes."""
        headers = request.headers()
        for name in ("X-Agentops-Api-Key", "X-Agentops-Parent-Key"):
            if name in headers:
                headers[name] = f"<key {key_hash(headers[name])}>"
        body = None if request.body is None else json.loads(request.body)
        told = {"method": request.method, "url": self._url + request.path, "headers": headers, "body": body}
        self._tell(to_json(told))
        answer: JSON = "Success" if request.path.endswith(("create_events", "create_agent")) else {"jwt": _TOKEN}
        return Outcome(Verdict.OK, 200, answer)


def print_requests(settings: Settings, tell: Callable[[str], object]) -> None:
    """Tells every request that a drain would make, in order, if each of them succeeded.

    Args:
        tell: takes a line.
    """
    timing, clock = settings.timing(), SystemClock()
    for path in settings.paths():
        authorities = settings.authorities(path)
        with tempfile.TemporaryDirectory(prefix="agentops-sync-") as folder:  # mode 0700
            with closing(open_reader(path)) as connection:
                copy = back_up(connection, Path(folder) / "copy.db")
            ledger = Ledger(copy, settings.url())
            try:
                made = uploader(ledger, Printer(settings.url(), tell), authorities, timing, clock)
                Daemon([made], clock, timing, parallel=0).run(until_idle=True)
            finally:
                ledger.close()
