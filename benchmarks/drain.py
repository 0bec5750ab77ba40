"""Draining a database beside posting the same bytes blindly.

A run is recorded, and the exact requests of its upload are made once. Then, in turns, each time into a new collector
in a process of its own, on the same disk:

    drain   the daemon brings a copy of the database there, as `agentops-sync once` does
    blind   the same bodies are posted with `requests`, one after the other on one connection; nothing is noted
    blind 4 the same by four threads, a connection each, the sessions shared out among them

A blind run takes each session's token from the answer to its creation, and looks at nothing else but the status. The
clock runs until all is sent and, for the daemon, written down. A ratio is taken within each round; the median over the
rounds is reported.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import NamedTuple

import requests

from agentops_sync.client import Outcome, Request
from benchmarks.common import options, show, surroundings, workplace
from benchmarks.uploading import SESSIONS, Acceptor, drain, record_run
from tests.server.running import in_a_process

THREADS = 4
SIDES = ("drain", "blind", "blind 4")


class Sent(NamedTuple):
    """A request as it was made; `session` is its id."""

    session: str
    request: Request


class Tape(Acceptor):
    """Accepts everything, and keeps it."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[Sent] = []

    def send(self, request: Request) -> Outcome:
        """Keeps a request."""
        if request.path.endswith("create_session"):
            session = str(json.loads(request.body or b"")["session"]["session_id"])
        else:
            session = (request.token or "").removeprefix("token of ")
        self.sent.append(Sent(session, request))
        return super().send(request)


def post(url: str, sent: Iterable[Sent]) -> None:
    """Posts requests, one after the other."""
    tokens: dict[str, str] = {}
    with requests.Session() as http:
        for session, request in sent:
            headers = request.headers()
            if request.token is not None:
                headers["Authorization"] = tokens[session]
            answer = http.post(url + request.path, data=request.body, headers=headers, timeout=120)
            assert answer.status_code == 200, answer.text
            if request.key is not None:
                tokens[session] = f"Bearer {answer.json()['jwt']}"


def post_side_by_side(url: str, sent: Sequence[Sent]) -> None:
    """Posts requests, by some threads."""
    sessions = sorted({one.session for one in sent})
    shares = [frozenset(sessions[number::THREADS]) for number in range(THREADS)]
    with ThreadPoolExecutor(THREADS) as pool:
        for done in [pool.submit(post, url, [one for one in sent if one.session in share]) for share in shares]:
            done.result()


def measure(folder: Path, events: int, rounds: int) -> dict[str, object]:
    """Records, and sends it all three ways."""
    recorded = folder / "recorded.db"
    record_run(recorded, events)
    tape = Tape()
    drain(_copy(recorded, folder / "taped"), transport=tape, parallel=0)
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    for number in range(rounds):
        for turn in range(len(SIDES)):
            side = SIDES[(number + turn) % len(SIDES)]
            place = folder / f"{side}-{number}"
            seconds[side].append(_timed(side, place, recorded, tape.sent, events))
            shutil.rmtree(place)
    return {
        "events": events, "sessions": SESSIONS, "requests": tape.requests, "bytes": tape.size, "rounds": rounds,
        "sides": {
            side: {
                "events_per_s": round(events / median(times)), "mb_per_s": round(tape.size / median(times) / 1e6, 2),
                "seconds": round(median(times), 2),
                "fastest_s": round(min(times), 2), "slowest_s": round(max(times), 2),
                "drain_to_it": round(median(its / ours for ours, its in zip(seconds["drain"], times, strict=True)), 2),
            }
            for side, times in seconds.items()
        },
    }  # fmt: skip


def _timed(side: str, place: Path, recorded: Path, sent: Sequence[Sent], events: int) -> float:
    copy = _copy(recorded, place)
    kept = place / "collected.db"
    with in_a_process(kept) as collector:
        requests.get(f"{collector.url}/health", timeout=120).raise_for_status()
        begun = perf_counter()
        if side == "drain":
            drain(copy, collector.url)
        elif side == "blind":
            post(collector.url, sent)
        else:
            post_side_by_side(collector.url, sent)
        seconds = perf_counter() - begun
    with closing(sqlite3.connect(kept)) as connection:
        assert connection.execute("SELECT count(*) FROM events").fetchone() == (events,), "all of them are there, once"
    return seconds


def _copy(recorded: Path, folder: Path) -> Path:
    """A copy of the database, whose recorders are closed, in a folder of its own."""
    folder.mkdir()
    copy = folder / "agentops.db"
    shutil.copy(recorded, copy)
    return copy


def main() -> None:
    """Measures and prints what was found."""
    parser = options(__doc__)
    parser.add_argument("--events", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with workplace(given.dir) as folder:
        found = measure(folder, given.events, given.rounds)
    if given.json:
        print(json.dumps(found))
        return
    print(f"Draining beside posting the same bytes blindly. {surroundings()}")
    size = int(str(found["bytes"])) / 1e6
    print(
        f"\n{found['events']:,} events in {found['sessions']} sessions, {found['requests']:,} requests, {size:.1f} MB; "
        f"{found['rounds']} rounds"
    )
    sides = found["sides"]
    assert isinstance(sides, dict)
    show(
        "median over the rounds",
        ("", "events/s", "MB/s", "seconds", "fastest", "slowest", "drain : it"),
        [(side, *figures.values()) for side, figures in sides.items()],
    )


if __name__ == "__main__":
    main()
