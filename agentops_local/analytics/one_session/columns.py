"""All events of a session in columns, for a picture of the whole: numbers alone, and each name once.

Rows stand as the story goes: by their beginnings, each under the event in whose course it happened, an error under the
event that failed. As objects the 20,000 events of a long session take 7 MB; as columns a twelfth of that. What follows
from other columns is left out, and so are ids, which would double the whole: `seq` names an event as well.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import Any

from agentops_local.analytics.reading import iso

_FINEST = 1 << 30  # units that a session lasts at most: times are told in the finest power of ten µs with which it does
_NOTHING = -1

EVENTS = """
SELECT seq, id, parent, trigger_id, kind, coalesce(name, model), agent, owner, init_us, end_us, prompt_tokens,
       completion_tokens, cost_pusd FROM events WHERE session = ?
"""
NEWEST = "SELECT max(seq) FROM events WHERE session = ?"
_SESSION = "SELECT seq, init_us FROM sessions WHERE id = ? AND id <> ''"
_AGENTS = "SELECT seq, name FROM agents WHERE session = ? ORDER BY seq"
_OWNERS = "SELECT seq, pid, program, host FROM owners WHERE session = ? ORDER BY seq"

_SEQ, _ID, _PARENT, _TRIGGER, _KIND, _NAME, _AGENT, _OWNER, _INIT, _END, _IN, _OUT, _COST = range(13)

Row = tuple[Any, ...]


@dataclass
class Columns:
    """The events of a session.

    Attributes:
        begin_us: when the first thing happened, the session's own beginning included.
        session_us: the session's own beginning.
        unit_us: the microseconds of a unit of time.
        seq: the highest number of an event; 0 without any.
        what: kinds with names, in which the column `what` counts; agents, processes: likewise.
        columns: a number for each event; one number alone where all have the same. -1 is nothing.
            `seq` and `start` (in units from the beginning) are told as what is added from one row to the next; `above`
            says how many rows higher the event stands in whose course it happened, 0 for none; `duration` is in units.
        calls: the same for LLM calls alone, in their order: tokens, and costs in nanodollars.
        failed: the rows of which an error tells that they failed.
    """

    session_id: str
    begin_us: int
    session_us: int = 0
    unit_us: int = 1
    seq: int = 0
    events: int = 0
    what: list[tuple[str, str | None]] = field(default_factory=list)
    agents: list[str] = field(default_factory=list)
    processes: list[str] = field(default_factory=list)
    columns: dict[str, int | list[int]] = field(default_factory=dict)
    calls: dict[str, int | list[int]] = field(default_factory=dict)
    failed: list[int] = field(default_factory=list)

    def to_json(self) -> dict[str, object]:
        """All of it."""
        return {**vars(self), "begin": iso(self.begin_us)}


def newest(connection: sqlite3.Connection, session_id: str) -> int:
    """The highest number of a session's events; 0 without any."""
    row = connection.execute(_SESSION, (session_id,)).fetchone()
    return 0 if row is None else connection.execute(NEWEST, (row["seq"],)).fetchone()[0] or 0


def columns(connection: sqlite3.Connection, session_id: str) -> Columns:
    """The events of a session; none of one that is not there."""
    session = connection.execute(_SESSION, (session_id,)).fetchone()
    if session is None:
        return Columns(session_id, 0)
    cursor = connection.cursor()
    cursor.row_factory = None  # tuples: they are made in half the time
    rows: list[Row] = cursor.execute(EVENTS, (session["seq"],)).fetchall()
    rows.sort(key=lambda row: (row[_INIT], row[_SEQ]))
    begin = min(session["init_us"], rows[0][_INIT]) if rows else session["init_us"]
    last = max((row[_SEQ] for row in rows), default=0)
    found = Columns(session_id, begin, session["init_us"], _unit(rows, begin), last, len(rows))
    order, above = _arranged(rows)
    told = [rows[place] for place in order]
    found.columns["above"] = _one(above)
    _tell_names(found, connection, session["seq"], told)
    _tell_numbers(found, told)
    return found


def _arranged(rows: Sequence[Row]) -> tuple[list[int], list[int]]:
    """Rows as a story: their places in order, and how many rows higher the one stands that each is under."""
    place = {row[_ID]: number for number, row in enumerate(rows)}
    below: dict[int, list[int]] = {}
    for number, row in enumerate(rows):
        over = place.get(row[_TRIGGER], number)
        if over == number:
            over = place.get(row[_PARENT], number)
        below.setdefault(_NOTHING if over == number else over, []).append(number)
    order: list[int] = []
    above: list[int] = []
    seen = bytearray(len(rows))
    # What is its own ancestor hangs on no root; it is told all the same.
    for start in chain(below.get(_NOTHING, ()), range(len(rows))):
        if seen[start]:
            continue
        waiting = [(start, len(order))]
        while waiting:
            number, over = waiting.pop()
            if seen[number]:
                continue
            seen[number] = 1
            at = len(order)
            order.append(number)
            above.append(at - over)
            if number in below:
                waiting += [(child, at) for child in reversed(below[number])]
    return order, above


def _unit(rows: Sequence[Row], begin: int) -> int:
    """Microseconds of a unit."""
    lasts = max((row[_INIT] if row[_END] is None else row[_END] for row in rows), default=begin) - begin
    unit = 1
    while lasts // unit > _FINEST:
        unit *= 10
    return unit


def _tell_names(found: Columns, connection: sqlite3.Connection, session: int, told: Sequence[Row]) -> None:
    what: dict[tuple[str, str | None], int] = {}
    found.columns["what"] = _one(what.setdefault((row[_KIND], row[_NAME]), len(what)) for row in told)
    found.what = list(what)
    agents = connection.execute(_AGENTS, (session,)).fetchall()
    owners = connection.execute(_OWNERS, (session,)).fetchall()
    found.agents = [str(row["name"]) for row in agents]
    found.processes = [_process(row) for row in owners]
    for name, column, known in (("agent", _AGENT, agents), ("process", _OWNER, owners)):
        places = {row["seq"]: number for number, row in enumerate(known)}
        found.columns[name] = _one(places.get(row[column], _NOTHING) for row in told)


def _process(row: sqlite3.Row) -> str:
    words = [str(row["program"] or "process"), f"pid {row['pid']}" if row["pid"] else "", str(row["host"] or "")]
    return " ".join(filter(None, words))


def _tell_numbers(found: Columns, told: Sequence[Row]) -> None:
    begin, unit = found.begin_us, found.unit_us
    failed = {row[_TRIGGER] for row in told if row[_TRIGGER] is not None and row[_KIND] == "errors"}
    found.failed = [place for place, row in enumerate(told) if row[_ID] in failed]
    found.columns |= {
        "seq": _one(_steps([row[_SEQ] for row in told])),
        "start": _one(_steps([(row[_INIT] - begin) // unit for row in told])),
        "duration": _one(
            _NOTHING if row[_END] is None or row[_KIND] == "errors" else max(0, row[_END] - row[_INIT]) // unit
            for row in told
        ),
    }
    calls = [row for row in told if row[_KIND] == "llms"]
    found.calls = {
        "prompt_tokens": _one(_NOTHING if row[_IN] is None else row[_IN] for row in calls),
        "completion_tokens": _one(_NOTHING if row[_OUT] is None else row[_OUT] for row in calls),
        "cost": _one(_NOTHING if row[_COST] is None else row[_COST] // 1000 for row in calls),
    }


def _steps(numbers: Sequence[int]) -> Iterable[int]:
    return chain(numbers[:1], (number - before for before, number in pairwise(numbers)))


def _one(numbers: Iterable[int]) -> int | list[int]:
    """A column; a number alone where all are the same."""
    found = list(numbers)
    return found[0] if found and found.count(found[0]) == len(found) else found
