"""A daemon that has nothing to do.

A process with a daemon has drained 1,000 sessions, all ended, against a server that accepts everything. Then nothing
new comes. Over some seconds: the share of one core that the process takes (user and system), the requests it makes and
the transactions it begins.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import Connection
from time import perf_counter, sleep

import psutil

import agentops_local
from agentops_local import ToolEvent
from agentops_sync.ledger import Ledger
from benchmarks.common import options, ready, show, surroundings, together, workplace
from benchmarks.uploading import Acceptor, close_recorders, daemon, drain, uploading


def record_sessions(path: Path, sessions: int) -> None:
    """Records so many sessions, each with one event and an end."""
    agentops_local.init(db=path, auto_start_session=False)
    for number in range(sessions):
        session = agentops_local.start_session()
        assert session is not None
        session.record(ToolEvent(name="search_flights", params={"number": number}))
        session.end_session("Success")
    close_recorders()


class Counted:
    """Counts the transactions of a ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self.begun = 0
        self._inner = ledger.transaction
        setattr(ledger, "transaction", self.transaction)  # noqa: B010 - a method, which mypy would not let us assign

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One more."""
        self.begun += 1
        with self._inner() as connection:
            yield connection


def idle(path: str, seconds: float) -> dict[str, float]:
    """Lets a daemon idle in this process."""
    server = Acceptor()
    drain(Path(path), transport=server)
    drained = server.requests
    with uploading(Path(path), transport=server) as uploaders:
        counted = Counted(uploaders[0].ledger)
        running = daemon(uploaders)
        thread = threading.Thread(target=running.run)
        thread.start()
        sleep(3)  # it has looked at everything once, and noted that nothing is left
        ready()
        process = psutil.Process()
        requests, transactions = server.requests, counted.begun
        before, begun = process.cpu_times(), perf_counter()
        sleep(seconds)
        after, passed = process.cpu_times(), perf_counter() - begun
        found = {
            "seconds": passed,
            "cpu_percent": 100 * (after.user + after.system - before.user - before.system) / passed,
            "requests": server.requests - requests,
            "transactions": counted.begun - transactions,
            "requests_to_drain": drained,
        }
        running.stop()
        thread.join()
    return found


def main() -> None:
    """Measures and prints what was found."""
    parser = options(__doc__)
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=20.0)
    given = parser.parse_args()
    with workplace(given.dir) as folder:
        record_sessions(folder / "idle.db", given.sessions)
        (found,) = together("benchmarks.idle:idle", [(str(folder / "idle.db"), given.seconds)])
    if given.json:
        print(json.dumps(found))
        return
    print(f"A daemon with nothing to do, {given.sessions:,} sessions drained. {surroundings()}")
    show(
        f"over {found['seconds']:.0f} s",
        ("", "CPU, % of a core", "requests", "transactions"),
        [("idle", found["cpu_percent"], found["requests"], found["transactions"])],
    )


if __name__ == "__main__":
    main()
