"""Exports against a bare SELECT of the same rows, whose values go through json.dumps.

One session of many events of all kinds and a conversation that grows; then what a process takes of memory for each
format, measured in a process of its own.
"""

from __future__ import annotations

import io
import json
import os
import resource
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import agentops_local
from agentops_local import ActionEvent, LLMEvent, ToolEvent
from agentops_local.exporting import export
from benchmarks.common import Texts, options, ready, show, surroundings, together, workplace

EVENTS = 20_000
TURNS = 12  # of a conversation; then another begins
FORMATS = ("v2", "jsonl", "csv", "otlp", "html")
_VIEWS = ("llms", "tools", "actions", "errors")


class _Nowhere(io.RawIOBase):
    """Counts what is written."""

    size = 0

    def write(self, data: Any, /) -> int:
        """Takes anything."""
        self.size += len(data)
        return len(data)


def record(db: Path, events: int) -> None:
    """A session of so many events: a third each of LLM calls, tool calls and actions."""
    agentops_local.init(db=db, auto_start_session=False)
    session = agentops_local.start_session()
    assert session is not None
    texts = Texts()
    talk: list[dict[str, str]] = []
    for number in range(events // 3):
        if number % TURNS == 0:
            talk = [texts.message("system", 500, 600)]
        talk.append(texts.message("user", 50, 300))
        answer = texts.text(200)
        session.record(
            LLMEvent(prompt=talk, completion=answer, model="gpt-4o", prompt_tokens=900, completion_tokens=50)
        )
        talk.append({"role": "assistant", "content": answer})
        session.record(ToolEvent(name="search", params={"q": texts.text(40)}, returns={"found": texts.text(300)}))
        session.record(ActionEvent(action_type="think", params=texts.text(60)))
    session.end_session("Success")


def bare(db: Path) -> tuple[int, float]:
    """Rows a view gives, each through json.dumps; how many, and the seconds."""
    begun = time.process_time()
    rows = 0
    with closing(sqlite3.connect(db)) as connection:
        connection.row_factory = sqlite3.Row
        for view in _VIEWS:
            for row in connection.execute(f"SELECT * FROM {view}"):
                json.dumps(dict(row))
                rows += 1
    return rows, time.process_time() - begun


def bare_events(db: Path) -> float:
    """Seconds of the rows of the table itself, without what they refer to."""
    begun = time.process_time()
    with closing(sqlite3.connect(db)) as connection:
        connection.row_factory = sqlite3.Row
        for row in connection.execute("SELECT * FROM events"):
            json.dumps([value.hex() if isinstance(value, bytes) else value for value in row])
    return time.process_time() - begun


def ours(db: str, format: str) -> dict[str, float]:
    """One export in a process of its own: seconds, bytes, and the most memory it took beyond what it began with."""
    ready()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    out = _Nowhere()
    begun = time.process_time()
    export(db, None, format, out)  # type: ignore[arg-type]  # all of a stream that it uses
    seconds = time.process_time() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "bytes": out.size, "before_mb": before / 1024, "peak_mb": peak / 1024}


def main() -> int:
    """Measures and prints."""
    parser = options(__doc__)
    parser.add_argument("--events", type=int, default=EVENTS)
    asked = parser.parse_args()
    with workplace(asked.dir) as folder:
        db = folder / "export.db"
        record(db, asked.events)
        rows, whole = bare(db)
        table = bare_events(db)
        found = {name: together("benchmarks.export:ours", [(os.fspath(db), name)])[0] for name in FORMATS}
    for one in found.values():
        one["ratio"] = whole / one["seconds"]
        one["ratio_table"] = table / one["seconds"]
    if asked.json:
        print(json.dumps({"rows": rows, "bare_s": whole, "bare_table_s": table, "formats": found}))
        return 0
    print(f"{surroundings()}; {rows:,} events")
    print(f"SELECT and json.dumps: of the views {whole:.2f} s, of the table alone, without prompts, {table:.2f} s")
    show(
        "Export of one session",
        ("format", "s", "MB", "events/s", "speed / views", "speed / table", "MB before", "MB peak"),
        [
            (name, one["seconds"], one["bytes"] / 1e6, rows / one["seconds"], one["ratio"], one["ratio_table"],
             one["before_mb"], one["peak_mb"])
            for name, one in found.items()
        ],
    )  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
