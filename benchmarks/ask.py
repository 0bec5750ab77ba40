"""What an answer takes, of a million events, beside the same question in SQL by hand, without an index.

Each question is asked once to warm up and then five times, through the functions that the commands stand on; each time
opens the database anew, on both sides. The answers must be the same. Then what has to be made first: the index of sums
and that of words, whole, and for 100,000 events that have come since. And an export, beside a bare SELECT and
`json.dumps`.

    python -m benchmarks.ask [--db PATH] [--small]
"""

from __future__ import annotations

import io
import json
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import closing
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import BinaryIO, NamedTuple, cast

from agentops_local.analytics.filters import Filter, sessions
from agentops_local.analytics.index import forget
from agentops_local.analytics.reading import reading
from agentops_local.exporting import export
from benchmarks.by_hand import ByHand
from benchmarks.common import ROOT, options, show, surroundings, workplace
from benchmarks.million import DAY_US, build, more
from benchmarks.plans import scans
from benchmarks.questions import Question, bring_prices, bring_sums, bring_words, questions
from benchmarks.speech import RARE

TIMES = 5  # that a question is asked, after a first time
_PATIENCE_MS = 10_000  # for these times; what takes longer is asked less often, but twice
_LATER = 100_000  # events to catch up with
_SESSION_OF_LATER = 200  # events
_PARTS = {
    "prices": bring_prices,
    "sums": bring_sums,
    "words": bring_words,
}  # that are brought up to the last event before any answer
_COMMANDS = (
    "sessions", "stats", "cost", "cost --by tag --since 7d", "top --by tokens", "errors", "slow", "active",
    f"search {RARE}",
)  # fmt: skip

Found = dict[str, object]


class Took(NamedTuple):
    """Milliseconds that something took, and how many of them a processor was at work for it: on a machine that has
    other things to do, the second tells more."""

    ms: float
    cpu_ms: float


def timed(call: Callable[[], object]) -> Took:
    """One time, with the processes that it starts."""
    begun, busy = perf_counter(), _busy()
    call()
    return Took((perf_counter() - begun) * 1000, (_busy() - busy) * 1000)


def usual(call: Callable[[], object]) -> Took:
    """The median of some times, after a first that is not counted."""
    call()
    times: list[Took] = []
    while len(times) < TIMES and sum(took.ms for took in times) < _PATIENCE_MS:
        times.append(timed(call))
    return Took(median(took.ms for took in times), median(took.cpu_ms for took in times))


def _busy() -> float:
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def answer(path: Path, question: Question) -> Found:
    """Asks a question in both ways, and compares what comes."""
    with scans() as lines:
        ours = question.ours(path)
    question.same(ours, _by_hand(path, question))
    took = usual(lambda: question.ours(path))
    hand = usual(lambda: _by_hand(path, question))
    return {
        "question": question.name, **took._asdict(), "by_hand_ms": hand.ms, "by_hand_cpu_ms": hand.cpu_ms,
        "faster": hand.cpu_ms / took.cpu_ms, "target_ms": question.target_ms, "met": took.ms <= question.target_ms,
        "scans": lines,
    }  # fmt: skip


def _by_hand(path: Path, question: Question) -> object:
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        return question.by_hand(ByHand(connection))


# The index ---------------------------------------------------------------------------------------------------------


def catching_up(path: Path, later: int) -> list[Found]:
    """What it takes to bring everything up to the last event: at first, and up to what has come since."""
    found: list[Found] = []

    def bring(what: str, events: int) -> None:
        for name, part in _PARTS.items():
            took = timed(partial(part, path))
            found.append({"index": f"{name}, {what}", "events": events, **took._asdict()})

    with closing(sqlite3.connect(path)) as connection:
        stored = connection.execute("SELECT count(*) FROM events").fetchone()[0]
    forget(path)
    bring("whole", stored)
    size = path.with_name(f"{path.name}-index").stat().st_size
    more(path, later, later // _SESSION_OF_LATER)
    bring("what came since", later)
    bring("nothing new", 0)
    return [{**one, "share_of_database": size / path.stat().st_size} for one in found]


# Commands ----------------------------------------------------------------------------------------------------------


def commands(path: Path) -> list[Found]:
    """Whole commands, from the start of Python to the last line."""
    found: list[Found] = []
    for line in _COMMANDS:
        program = [sys.executable, "-m", "agentops_local.cli", "--db", str(path), *line.split()]
        took = usual(partial(subprocess.run, program, check=True, stdout=subprocess.DEVNULL, cwd=ROOT))
        found.append({"command": f"agentops-local {line}", **took._asdict()})
    return found


# Export ------------------------------------------------------------------------------------------------------------


class _Nowhere(io.RawIOBase):
    """Takes what is written, and counts it."""

    def __init__(self) -> None:
        self.size = 0

    def write(self, data: object) -> int:
        size = len(data)  # type: ignore[arg-type]  # bytes
        self.size += size
        return size


def exporting(path: Path, days: int) -> list[Found]:
    """JSON Lines of the sessions of the last days, beside a bare SELECT and json.dumps of each row."""
    with reading(path) as connection:
        last = connection.execute("SELECT max(init_us) AS us FROM events").fetchone()["us"]
        where = Filter(since_us=last - days * DAY_US)
        seqs = list(sessions(connection, where))
    found: list[Found] = []
    for name, once, bare in (("whole prompts", False, _views), ("each message once", True, _tables)):
        ours, hand = _Nowhere(), _Nowhere()
        events = _lines(path, where, once, ours)
        bare(path, seqs, hand)
        took = usual(partial(_lines, path, where, once, _Nowhere()))
        floor = usual(partial(bare, path, seqs, _Nowhere()))
        found.append({
            "export": name, "events": events, "mb": ours.size / 1e6, "events_per_s": 1000 * events / took.ms,
            "bare_mb": hand.size / 1e6, "bare_events_per_s": 1000 * events / floor.ms,
            "ratio": floor.cpu_ms / took.cpu_ms,
        })  # fmt: skip
    return found


def _lines(path: Path, where: Filter, once: bool, out: _Nowhere) -> int:
    return export(path, where, "jsonl", cast("BinaryIO", out), each_message_once=once).events


def _views(path: Path, seqs: Iterable[int], out: _Nowhere) -> None:
    """The views have whole prompts."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        for seq in seqs:
            (session,) = connection.execute("SELECT id FROM sessions WHERE seq = ?", (seq,)).fetchone()
            for view in ("llms", "tools", "actions", "errors"):
                for row in connection.execute(f"SELECT * FROM {view} WHERE session_id = ?", (session,)):
                    out.write(f"{json.dumps(dict(row))}\n".encode())


def _tables(path: Path, seqs: Iterable[int], out: _Nowhere) -> None:
    """The tables as they are: events, and the messages from the first to the last that they name."""
    first, last = 1 << 62, 0
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        for seq in seqs:
            for row in connection.execute("SELECT * FROM events WHERE session = ?", (seq,)):
                out.write(f"{json.dumps(dict(row), default=_hex)}\n".encode())
                if row["completion"] is not None:
                    first, last = min(first, row["completion"]), max(last, row["completion"])
        for row in connection.execute("SELECT * FROM messages WHERE id BETWEEN ? AND ?", (first, last)):
            out.write(f"{json.dumps(dict(row), default=_hex)}\n".encode())


def _hex(value: bytes) -> str:
    return value.hex()


# All of it ---------------------------------------------------------------------------------------------------------


def measure(path: Path, later: int, days: int, folder: Path) -> dict[str, list[Found]]:
    """Everything; the database itself stays as it is, only its index is made."""
    copy = folder / "grown" / path.name
    copy.parent.mkdir()
    shutil.copyfile(path, copy)
    grown = catching_up(copy, later)
    shutil.rmtree(copy.parent)
    for part in _PARTS.values():
        part(path)
    answers = []
    for question in questions(path):
        print(f"{question.name} ...", file=sys.stderr)
        answers.append(answer(path, question))
    return {"index": grown, "answers": answers, "commands": commands(path), "export": exporting(path, days)}


def main() -> None:
    """Measures and prints what was found."""
    parser = options(__doc__)
    parser.add_argument("--db", type=Path, help="a database made by benchmarks.million (default: one is made)")
    parser.add_argument("--small", action="store_true", help="make one of 50,000 events instead of 1,000,000")
    parser.add_argument("--days", type=int, default=2, help="whose sessions are exported")
    given = parser.parse_args()
    with workplace(given.dir) as folder:
        path = given.db
        if path is None:
            path = folder / ".agentops" / "agentops.db"
            build(path, *(50_000, 500, 2_000) if given.small else ())
        found = measure(path, _LATER // (20 if given.small else 1), given.days, folder)
    if given.json:
        print(json.dumps(found))
    else:
        _print(found)


def _print(found: dict[str, list[Found]]) -> None:
    print(f"Questions, each the median of {TIMES}; ms, and of them at work. {surroundings()}")
    columns = ("question", "ms", "cpu_ms", "by_hand_ms", "by_hand_cpu_ms", "faster", "target_ms")
    show(
        "answers",
        ("question", "ours", "cpu", "by hand", "cpu", "faster", "at most", ""),
        [(*(one[name] for name in columns), "" if one["met"] else "MISSED") for one in found["answers"]],
    )
    show(
        "what is brought up to date before",
        ("", "events", "ms", "cpu", "of the database"),
        [tuple(one.values()) for one in found["index"]],
    )
    show("whole commands", ("", "ms", "cpu"), [tuple(one.values()) for one in found["commands"]])
    show(
        "export as JSON Lines",
        ("", "events", "MB", "events/s", "bare MB", "bare events/s", "ours : bare"),
        [tuple(one.values()) for one in found["export"]],
    )
    lines = [(one["question"], line) for one in found["answers"] for line in one["scans"]]  # type: ignore[attr-defined]
    show("plans that read all events", ("question", "line"), lines or [("none", "")])


if __name__ == "__main__":
    main()
