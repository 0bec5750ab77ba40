"""Draining what has piled up: the rate and the memory of the daemon, whatever waits.

One tool call of 1 kB is recorded in each of 12 sessions and then copied in bulk until so many events wait. A process of
its own drains them against a server in the same process that accepts everything at once, so that nothing but the daemon
is measured. Its memory is the most that was resident while it drained, less what was before, imports included.
"""

from __future__ import annotations

import json
import resource
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from time import perf_counter

import agentops_local
from agentops_local import ToolEvent
from benchmarks.common import Texts, options, show, surroundings, together, workplace
from benchmarks.record import tool_event
from benchmarks.uploading import SESSIONS, Acceptor, close_recorders, drain

SIZES = (1_000, 10_000, 100_000)
FULL = 1_000_000
_SMALL = 200  # events that are drained before anything is measured
_PIECE = 50_000  # rows copied in one transaction


def fill(path: Path, events: int) -> None:
    """Makes a database with so many events to be uploaded, sessions in turns."""
    agentops_local.init(db=path, auto_start_session=False)
    begun = [agentops_local.start_session() for _ in range(SESSIONS)]
    params, returns = tool_event(Texts())
    for session in begun:
        assert session is not None
        session.record(ToolEvent(name="search_flights", params=params, returns=returns))
    for session in begun:
        assert session is not None
        session.end_session("Success")
    close_recorders()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        names = [row[1] for row in connection.execute("PRAGMA table_info(events)") if row[1] not in ("seq", "id")]
        columns = ", ".join(names)
        copied = ", ".join(f"e.{name}" for name in names)
        templates = [row[0] for row in connection.execute("SELECT min(seq) FROM events GROUP BY session ORDER BY 1")]
        assert len(templates) == SESSIONS
        left = events - SESSIONS
        while left > 0:
            piece = min(left, _PIECE)
            connection.execute(
                f"WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?) "
                f"INSERT INTO events (id, {columns}) SELECT randomblob(16), {copied} "
                f"FROM n CROSS JOIN events e ON e.seq = ? + n.i % ?",
                (piece, templates[0], SESSIONS),
            )
            left -= piece
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def drained(small: str, path: str, events: int) -> dict[str, float]:
    """Drains a database, after a small one that has everything loaded."""
    drain(Path(small), transport=Acceptor())
    server = Acceptor()
    before = _resident()
    begun = perf_counter()
    drain(Path(path), transport=server)
    seconds = perf_counter() - begun
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM uploads WHERE state = 'done'").fetchone() == (events,)
    print("ready", flush=True)  # as benchmarks.common.together wants it
    sys.stdin.readline()
    return {
        "events": events, "seconds": seconds, "events_per_s": events / seconds, "mb_per_s": server.size / seconds / 1e6,
        "requests": server.requests, "before_mb": before, "peak_mb": _resident(), "grown_mb": _resident() - before,
    }  # fmt: skip


def _resident() -> float:
    """The most that this process ever had in memory, in MB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1e6 if sys.platform == "darwin" else 1e6 / 1024)


def measure(folder: Path, sizes: tuple[int, ...]) -> list[dict[str, float]]:
    """Each size, in a process of its own."""
    found = []
    for size in sizes:
        small, path = folder / f"small-{size}.db", folder / f"{size}.db"
        fill(small, _SMALL)
        fill(path, size)
        (one,) = together("benchmarks.backlog:drained", [(str(small), str(path), size)])
        found.append(one)
        for file in folder.glob(f"{size}.db*"):
            file.unlink()
    return found


def main() -> None:
    """Measures and prints what was found."""
    parser = options(__doc__)
    parser.add_argument("--full", action="store_true", help=f"{FULL:,} events as well; wants 5 GB of disk")
    given = parser.parse_args()
    with workplace(given.dir) as folder:
        found = measure(folder, (*SIZES, FULL) if given.full else SIZES)
    first = found[0]
    if given.json:
        print(json.dumps(found))
        return
    print(f"Draining a backlog into nothing. {surroundings()}")
    show(
        "by what waits",
        ("events", "seconds", "events/s", "MB/s", "requests", "MB before", "peak MB", "grown MB", "peak : first"),
        [
            (
                f"{one['events']:,.0f}", one["seconds"], one["events_per_s"], one["mb_per_s"], one["requests"],
                one["before_mb"], one["peak_mb"], one["grown_mb"], one["peak_mb"] / first["peak_mb"],
            )
            for one in found
        ],
    )  # fmt: skip


if __name__ == "__main__":
    main()
