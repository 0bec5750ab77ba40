"""Many processes that record to one database at once, beside as many bare writers, and beside one process alone.

Each process records calls of a tool (1 kB) as fast as it can, or thinks for 20 ms between two of them, as agents do. A
bare writer is what one writes by hand: `sqlite3` in WAL mode with synchronous=NORMAL, a busy timeout of 10 s and
SQLite's own checkpoints, one ready-made row in each transaction. Ours and the bare ones take turns, round by round.

A failure is an event that is not in the database afterwards, or a call that raised. Fairness is the busiest process's
events over the idlest one's. Rows and arguments are made beforehand; the events of ours are not, as in a program.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

import agentops_local
from agentops_local import ToolEvent, clock
from benchmarks.common import Texts, options, quantile, ready, session, show, surroundings, together, workplace
from benchmarks.floor import TOOL, Floor, count, tool_row
from benchmarks.record import tool_event

THINK = 0.020  # seconds
_MADE = 200  # different events, used in turn


class Outcome(NamedTuple):
    """What came of one group of processes."""

    rate: float  # events a second, all together
    p50_us: float
    p99_us: float
    worst_ms: float
    fairness: float
    failures: int
    events: int


def record(db: str, session_id: str, seconds: float, think: float) -> dict[str, object]:
    """One process of ours."""
    agentops_local.init(db=db, inherited_session_id=session_id)
    texts = Texts()
    made = [tool_event(texts) for _ in range(_MADE)]

    def one(number: int) -> Callable[[], object]:
        params, returns = made[number % _MADE]
        event = ToolEvent(name="search_flights", params=params, returns=returns)
        return lambda: agentops_local.record(event)

    agentops_local.record(ToolEvent(name="first"))  # opens the database; not counted
    return _work(one, seconds, think)


def insert(db: str, session_id: str, seconds: float, think: float) -> dict[str, object]:  # noqa: ARG001 - as `record`
    """One bare process."""
    floor = Floor(Path(db))
    floor.connection.execute("PRAGMA busy_timeout = 10000")
    floor.connection.execute("PRAGMA wal_autocheckpoint = 1000")
    texts = Texts()
    made = [list(tool_row(*tool_event(texts))) for _ in range(_MADE)]
    store = floor.insert(TOOL)

    def one(number: int) -> Callable[[], object]:
        row = made[number % _MADE]
        row[0] = str(clock.new_id())
        return lambda: store(tuple(row))

    one(0)()
    found = _work(one, seconds, think)
    floor.close()
    return found


def _work(one: Callable[[int], Callable[[], object]], seconds: float, think: float) -> dict[str, object]:
    ready()
    times: list[int] = []
    raised = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        call = one(len(times))
        begun = time.perf_counter_ns()
        try:
            call()
        except Exception:  # noqa: BLE001 - whatever it is, it is counted
            raised += 1
        times.append(time.perf_counter_ns() - begun)
        if think:
            time.sleep(think)
    return {"times": times, "raised": raised}


def group(worker: str, db: Path, processes: int, seconds: float, think: float) -> Outcome:
    """Lets so many processes work at once, each for so many seconds."""
    if worker == "record":
        session_id = str(session(db).session_id)
    else:
        session_id = ""
        Floor(db).close()
    before = count(db)
    found = together(f"benchmarks.contention:{worker}", [(str(db), session_id, seconds, think)] * processes)
    agentops_local.end_all_sessions()
    each = [one["times"] for one in found]
    times = [nanoseconds for one in each for nanoseconds in one]
    stored = count(db) - before - processes  # but the first of each
    shares = [len(one) for one in each]
    return Outcome(
        rate=len(times) / seconds,
        p50_us=quantile(times, 0.5),
        p99_us=quantile(times, 0.99),
        worst_ms=max(times) / 1e6,
        fairness=max(shares) / max(1, min(shares)),
        failures=max(len(times) - stored, sum(one["raised"] for one in found)),
        events=len(times),
    )


def measure(folder: Path, processes: int, seconds: float, rounds: int) -> dict[str, dict[str, float]]:
    """All groups, in turns; of each the median round, but the worst wait, the worst share and all failures."""
    ways = ((1, "alone", 0.0), (processes, "busy", 0.0), (processes, "thinking", THINK))
    outcomes: dict[str, list[Outcome]] = {}
    for number in range(rounds):
        for many, how, think in ways:
            for who, worker in (("ours", "record"), ("bare", "insert")):
                db = folder / f"{who}-{how}-{number}.db"
                outcome = group(worker, db, many, seconds, think)
                outcomes.setdefault(f"{who}, {many} {how}", []).append(outcome)
    figures = {name: _figures(found) for name, found in outcomes.items()}
    for who in ("ours", "bare"):
        figures[f"{who}, {processes} busy"]["rate_to_one"] = round(
            figures[f"{who}, {processes} busy"]["rate"] / figures[f"{who}, 1 alone"]["rate"], 3
        )
    return figures


def _figures(rounds: list[Outcome]) -> dict[str, float]:
    return {
        "rate": round(median(one.rate for one in rounds), 1),
        "p50_us": round(median(one.p50_us for one in rounds), 1),
        "p99_us": round(median(one.p99_us for one in rounds), 1),
        "worst_ms": round(max(one.worst_ms for one in rounds), 1),
        "fairness": round(max(one.fairness for one in rounds), 2),
        "failures": sum(one.failures for one in rounds),
        "events": sum(one.events for one in rounds),
    }


def main() -> None:
    """Measures and prints what was found."""
    parser = options(__doc__)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each group in each round")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with workplace(given.dir) as folder:
        found = measure(folder, given.processes, given.seconds, given.rounds)
    if given.json:
        print(json.dumps(found))
        return
    print(f"{given.processes} processes on one database. {surroundings()}")
    show(
        f"{given.rounds} rounds of {given.seconds:g} s",
        ("", "events/s", "p50 µs", "p99 µs", "worst ms", "busiest:idlest", "failures", "events", "rate to one"),
        [(name, *list(one.values())[:7], one.get("rate_to_one", "")) for name, one in found.items()],
    )
    possible = given.processes / THINK
    print(
        f"\n{given.processes} processes that think {THINK * 1000:g} ms between events can make {possible:g} events/s."
    )


if __name__ == "__main__":
    main()
