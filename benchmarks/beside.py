"""What recording costs while the daemon drains the same database.

One process records calls of a tool, 1 kB each, with a short pause after each, as agents do. Another uploads them, and a
backlog, to a server that accepts everything after some milliseconds, as one over a network would. Blocks with and
without the daemon take turns: without it its requests are held back, so that it waits and writes nothing. A ratio is
taken within each round of two blocks; the median over the rounds is reported.

A connection forgets the pages that it holds when another one has committed. So the ratio depends on how many commits of
the daemon lie between two events, and `--pause` is part of the result.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from time import perf_counter, perf_counter_ns, sleep

from agentops_local import ToolEvent
from agentops_local.session import Session
from agentops_sync.client import Outcome, Request
from benchmarks.backlog import fill
from benchmarks.common import MODES, Pair, Texts, options, session, show, start, surroundings, workplace
from benchmarks.record import tool_event
from benchmarks.uploading import Acceptor, daemon, uploading

_SETTLE = 0.1  # seconds after the daemon is let go, or held back: what is under way finishes


class Gate(Acceptor):
    """Accepts everything after a while, and only while it is open."""

    def __init__(self, latency: float) -> None:
        super().__init__()
        self.opened = threading.Event()
        self._latency = latency

    def send(self, request: Request) -> Outcome:
        """Accepts a request."""
        sleep(self._latency)
        self.opened.wait()
        return super().send(request)


def serve(path: str, latency: float) -> dict[str, int]:
    """Drains a database in this process, while the lines from standard input say so: 1, 0, or an empty one to end."""
    server = Gate(latency)
    with uploading(Path(path), transport=server) as uploaders:
        running = daemon(uploaders)
        thread = threading.Thread(target=running.run)
        thread.start()
        print("ready", flush=True)
        for line in iter(sys.stdin.readline, "\n"):
            if line == "1\n":
                server.opened.set()
            else:
                server.opened.clear()
            print("done", flush=True)
        running.stop()
        server.opened.set()
        thread.join()
    return {"requests": server.requests}


class Neighbour:
    """The daemon, in a process of its own.

    Args:
        path: of the database, which must exist.
    """

    def __init__(self, path: Path, latency: float) -> None:
        self._process: subprocess.Popen[str] = start("benchmarks.beside:serve", str(path), latency)
        self._hear("ready")

    def let(self, go: bool) -> None:
        """Lets it go on, or holds it back."""
        self._say("1" if go else "0")
        self._hear("done")
        sleep(_SETTLE)

    def end(self) -> int:
        """Ends it; how many requests it made."""
        self._say("")
        out, _ = self._process.communicate()
        assert self._process.returncode == 0
        return int(json.loads(out.splitlines()[-1])["requests"])

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def _hear(self, line: str) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == f"{line}\n"


def measure(
    folder: Path, power: bool, rounds: int, seconds: float, pause: float, backlog: int, latency: float
) -> dict[str, float]:
    """One mode of durability."""
    path = folder / f"{MODES[power]}.db"
    fill(path, backlog)
    recorded = session(path, power)
    texts = Texts()
    block(recorded, texts, seconds, pause)  # the first calls load and compile
    neighbour = Neighbour(path, latency)
    pair = Pair()
    sent = 0
    for number in range(rounds):
        times: dict[bool, list[int]] = {}
        for beside in (True, False) if number % 2 else (False, True):
            neighbour.let(beside)
            before = _sent(path)
            times[beside] = block(recorded, texts, seconds, pause)
            sent += (_sent(path) - before) if beside else 0
        pair.add(times[True], times[False])
    waiting = backlog + pair.events - _sent(path)
    requests = neighbour.end()
    assert waiting > 0, "the daemon had something to do until the end: --backlog"
    recorded.end_session("Success")
    return {
        "ratio_p50": pair.ratio(0.5), "beside_p50_us": pair.ours(0.5), "alone_p50_us": pair.floor(0.5),
        "ratio_p99": pair.ratio(0.99), "beside_p99_us": pair.ours(0.99), "alone_p99_us": pair.floor(0.99),
        "events": pair.events, "requests": requests, "uploaded_per_s": sent / (rounds * seconds),
    }  # fmt: skip


def block(recorded: Session, texts: Texts, seconds: float, pause: float) -> list[int]:
    """Records for so long, with a pause after each event; nanoseconds of each."""
    times: list[int] = []
    end = perf_counter() + seconds
    while perf_counter() < end:
        params, returns = tool_event(texts)
        event = ToolEvent(name="search_flights", params=params, returns=returns)
        begun = perf_counter_ns()
        recorded.record(event)
        times.append(perf_counter_ns() - begun)
        if pause:
            sleep(pause)
    return times


def _sent(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT coalesce(sum(accepted), 0) FROM targets").fetchone()[0]) * 25


def main() -> None:
    """Measures both modes and prints what was found."""
    parser = options(__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.8, help="of a block")
    parser.add_argument("--pause", type=float, default=0.001, help="seconds after each event")
    parser.add_argument("--backlog", type=int, default=100_000, help="events that wait from the beginning")
    parser.add_argument("--latency", type=float, default=0.02, help="seconds until the server answers")
    given = parser.parse_args()
    with workplace(given.dir) as folder:
        found = {
            mode: measure(
                folder, mode == "power", given.rounds, given.seconds, given.pause, given.backlog, given.latency
            )
            for mode in MODES
        }
    if given.json:
        print(json.dumps(found))
        return
    print(f"record() while the daemon drains the same database, µs. {surroundings()}")
    show(
        f"beside the daemon and without it, {1000 * given.latency:.0f} ms a request, "
        f"{1000 * given.pause:g} ms after each event",
        ("durability", "ratio p50", "beside p50", "alone p50", "ratio p99", "beside p99", "alone p99", "events",
         "requests", "uploaded/s"),
        [(mode, *figures.values()) for mode, figures in found.items()],
    )  # fmt: skip


if __name__ == "__main__":
    main()
