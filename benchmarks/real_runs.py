"""200 real runs of a customer-service agent, replayed from 4 processes into one database.

The runs are tau-bench's airline domain with gpt-4o (Sierra Research, MIT licence), one JSON file that is no part of
this project: AGENTOPS_LOCAL_REAL_DATA names it, or the folder it lies in. Each message of the assistant is an LLM call
whose prompt is all the messages before it; each tool's result is the call of a tool. The prompts stored whole are
weighed as JSON alone, without what a database adds.
"""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import agentops_local
from agentops_local import LLMEvent, ToolEvent
from benchmarks.common import ROOT, options, quantile, ready, show, surroundings, together, workplace
from benchmarks.floor import checkpoint

NAME = "tau-bench-airline-gpt-4o.json.gz"
PROCESSES = 4
_STORED = ("messages", "blobs")

Run = dict[str, Any]


class Call(NamedTuple):
    """An LLM call of a run."""

    prompt: list[Any]
    completion: Any


class ToolCall(NamedTuple):
    """A call of a tool in a run."""

    name: str
    params: Any
    returns: Any


def data_file() -> Path | None:
    """Where the runs are; None if they are not here."""
    named = os.environ.get("AGENTOPS_LOCAL_REAL_DATA")
    place = Path(named) if named else ROOT.parent / "shared" / "data"
    file = place / NAME if place.is_dir() else place
    return file if file.is_file() else None


def load(file: Path) -> list[Run]:
    """The runs."""
    with gzip.open(file, "rt", encoding="utf-8") as stream:
        runs: list[Run] = json.load(stream)
    return runs


def events(run: Run) -> Iterator[Call | ToolCall]:
    """What happened in a run, in order."""
    messages = run["traj"]
    asked: dict[str, tuple[str, Any]] = {}
    for index, message in enumerate(messages):
        if message["role"] == "assistant":
            for call in message.get("tool_calls") or ():
                asked[call["id"]] = call["function"]["name"], json.loads(call["function"]["arguments"])
            yield Call(messages[:index], message)
        elif message["role"] == "tool":
            name, params = asked.get(message["tool_call_id"], (message["name"], None))
            yield ToolCall(name, params, message["content"])


def end_state(run: Run) -> str:
    """How the run ended: a reward of 1 is a success."""
    return "Success" if run["reward"] == 1.0 else "Fail"


def replay(file: str, db: str, part: int, parts: int) -> dict[str, object]:
    """One process: every `parts`-th run, a session each, through the public functions."""
    runs = load(Path(file))
    agentops_local.init(db=db, auto_start_session=False)
    ready()
    times: list[int] = []
    begun = time.perf_counter()
    for number in range(part, len(runs), parts):
        agentops_local.start_session(tags=["tau-bench", f"run:{number}"])
        for what in events(runs[number]):
            event = (
                LLMEvent(model="gpt-4o", prompt=what.prompt, completion=what.completion)
                if isinstance(what, Call)
                else ToolEvent(name=what.name, params=what.params, returns=what.returns)
            )
            start = time.perf_counter_ns()
            agentops_local.record(event)
            times.append(time.perf_counter_ns() - start)
        agentops_local.end_session(end_state(runs[number]))
    return {"times": times, "seconds": time.perf_counter() - begun}


def replay_all(file: Path, db: Path, processes: int = PROCESSES) -> list[dict[str, Any]]:
    """All runs, from several processes at once."""
    calls = [(str(file), str(db), part, processes) for part in range(processes)]
    return together("benchmarks.real_runs:replay", calls)


def prompt_bytes(db: Path) -> tuple[int, str]:
    """What messages, blobs and their indexes take in the file, and how that was found out: by SQLite's own account of
    its pages, or, where that is not compiled in, by what the file shrinks by without them."""
    marks = ", ".join("?" * len(_STORED))
    with closing(sqlite3.connect(db)) as connection:
        try:
            taken = connection.execute(
                "SELECT sum(pgsize) FROM dbstat WHERE name IN "
                f"(SELECT name FROM sqlite_master WHERE tbl_name IN ({marks}))",
                _STORED,
            ).fetchone()[0]
            return int(taken), "dbstat"
        except sqlite3.OperationalError:
            pass
    copies = [db.with_name(f"{db.name}-{name}") for name in ("with", "without")]
    for copy in copies:
        with closing(sqlite3.connect(db)) as connection:
            connection.execute("VACUUM INTO ?", (str(copy),))
    with closing(sqlite3.connect(copies[1], isolation_level=None)) as connection:
        for table in _STORED:
            connection.execute(f"DELETE FROM {table}")
        connection.execute("VACUUM")
    return copies[0].stat().st_size - copies[1].stat().st_size, "size without them"


def whole_bytes(runs: list[Run]) -> int:
    """What the prompts alone take as JSON, each whole."""
    return sum(
        len(json.dumps(what.prompt, ensure_ascii=False, separators=(",", ":")).encode())
        for run in runs
        for what in events(run)
        if isinstance(what, Call)
    )


def measure(file: Path, folder: Path) -> dict[str, object]:
    """Replays the runs and weighs the database."""
    db = folder / "agentops.db"
    runs = load(file)
    found = replay_all(file, db)
    checkpoint(db)
    times = [nanoseconds for one in found for nanoseconds in one["times"]]
    seconds = max(one["seconds"] for one in found)
    taken, by = prompt_bytes(db)
    whole = whole_bytes(runs)
    with closing(sqlite3.connect(db)) as connection:
        sessions, llms, tools = connection.execute(
            "SELECT count(*), sum(llms), sum(tools) FROM session_stats WHERE events > 0"
        ).fetchone()
    return {
        "sessions": sessions,
        "llms": llms,
        "tools": tools,
        "processes": PROCESSES,
        "seconds": round(seconds, 3),
        "events_per_second": round((llms + tools) / seconds, 1),
        "p50_us": round(quantile(times, 0.5), 1),
        "p99_us": round(quantile(times, 0.99), 1),
        "worst_ms": round(max(times) / 1e6, 1),
        "file_bytes": db.stat().st_size,
        "prompt_bytes": taken,
        "prompt_bytes_by": by,
        "whole_bytes": whole,
        "bytes_ratio": round(taken / whole, 4),
    }


def main() -> None:
    """Measures and prints what was found."""
    given = options(__doc__).parse_args()
    file = data_file()
    if file is None:
        reason = f"skipped: {NAME} is not here; AGENTOPS_LOCAL_REAL_DATA may name it"
        print(json.dumps({"skipped": reason}) if given.json else reason)
        sys.exit(0)
    with workplace(given.dir) as folder:
        found = measure(file.resolve(), folder)
    if given.json:
        print(json.dumps(found))
        return
    print(f"Real runs replayed. {surroundings()}")
    show("found", ("", "value"), found.items())


if __name__ == "__main__":
    main()
