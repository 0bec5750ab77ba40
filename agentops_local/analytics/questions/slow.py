"""Where the time went: by what was called, and which calls took longest."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import nsmallest
from pathlib import Path

from agentops_local.analytics.filters import Filter
from agentops_local.analytics.groups import Counting, Group
from agentops_local.analytics.project import indexed
from agentops_local.analytics.questions.stats import PERCENTS
from agentops_local.analytics.reading import iso
from agentops_local.analytics.sessions import pick_session, summary
from agentops_local.errors import WrongUse

OF_SESSION = """
SELECT e.seq, e.id, e.parent, e.kind, coalesce(CASE e.kind WHEN 'llms' THEN e.model ELSE e.name END, '') AS name,
       e.init_us, e.end_us, e.end_us - e.init_us AS us
FROM events e WHERE e.session = ? AND e.kind <> 'errors'
"""
EVENT = """
SELECT p.id, p.session_id, p.kind, coalesce(CASE p.kind WHEN 'llms' THEN p.model ELSE p.name END, '') AS name,
       p.agent_name, p.init_us, p.end_us
FROM payloads p WHERE p.seq = ?
"""


@dataclass(frozen=True)
class Took:
    """Calls of one name.

    Attributes:
        group: all of them; `group.us` is how long they took together.
        self_us: of that the time in which nothing else was recorded inside them, microseconds; None over many sessions.
    """

    kind: str
    name: str
    group: Group
    self_us: int | None = None

    def to_json(self) -> dict[str, object]:
        """Everything, with durations in seconds."""
        times = zip(PERCENTS, self.group.percentiles(PERCENTS), strict=True)
        return {
            "kind": self.kind, "name": self.name or None, "events": self.group.events, "failed": self.group.failed,
            "duration_s": self.group.us / 1e6, "self_s": None if self.self_us is None else self.self_us / 1e6,
            **{f"p{percent}_s": seconds for percent, seconds in times},
        }  # fmt: skip


@dataclass(frozen=True)
class Longest:
    """One call."""

    id: str
    session_id: str
    kind: str
    name: str
    agent: str | None
    init_us: int
    us: int

    def to_json(self) -> dict[str, object]:
        """Everything, with times in ISO 8601 and its duration in seconds."""
        return {
            "event_id": self.id, "session_id": self.session_id, "kind": self.kind, "name": self.name or None,
            "agent": self.agent, "init_timestamp": iso(self.init_us), "duration_s": self.us / 1e6,
        }  # fmt: skip


@dataclass(frozen=True)
class Slow:
    """Where the time went.

    Attributes:
        took: by kind and name, what took longest together first.
        longest: the longest calls, the longest first.
        duration_s: of the session; None over many.
        unaccounted_s: of that the time in which no call was under way: the program itself, or waiting; None over many.
    """

    took: list[Took]
    longest: list[Longest]
    duration_s: float | None = None
    unaccounted_s: float | None = None

    def to_json(self) -> dict[str, object]:
        """Everything."""
        return {
            "duration_s": self.duration_s, "unaccounted_s": self.unaccounted_s,
            "took": [one.to_json() for one in self.took], "longest": [one.to_json() for one in self.longest],
        }  # fmt: skip


def slow(
    session: str | None = None, limit: int = 10, *, where: Filter | None = None, db: Path | str | None = None
) -> Slow:
    """Where the time of a session went, or that of all events which a filter leaves.

    Args:
        session: its id, a beginning of it that fits no other, or "last"; None for all.
        limit: how many of the longest calls.
        where: which events (see `filters.parse`); not together with a session.
        db: the database; None for that of the project around the working directory.

    Raises:
        NoSuchSession, Ambiguous, DatabaseUnusable.
        WrongUse: both a session and a filter are given.
    """
    if session is not None and where not in (None, Filter()):
        raise WrongUse("give a session or a filter, not both")
    with indexed(db) as connection:
        if session is not None:
            return _of_session(connection, pick_session(connection, session), limit)
        return _of_all(connection, where or Filter(), limit)


def _of_session(connection: sqlite3.Connection, session_id: str, limit: int) -> Slow:
    of = summary(connection, session_id)
    rows = connection.execute(OF_SESSION, (of.seq,)).fetchall()
    below: dict[bytes, list[tuple[int, int]]] = {}
    spans = []
    for row in rows:
        if row["us"] is not None and row["us"] >= 0:
            span = (row["init_us"], row["end_us"])
            spans.append(span)
            if row["parent"] is not None:
                below.setdefault(row["parent"], []).append(span)
    groups: dict[tuple[str, str], Group] = {}
    own: dict[tuple[str, str], int] = {}
    for row in rows:
        key = (row["kind"], row["name"])
        group = groups.get(key)
        if group is None:
            group = groups[key] = Group()
        group.events += 1
        us = row["us"]
        if us is not None and us >= 0:
            group.times.append(us)
            group.us += us
            inside = below.get(row["id"])
            if inside is not None:
                us -= _covered(inside, row["init_us"], row["end_us"])
            own[key] = own.get(key, 0) + us
    took = [Took(kind, name, group, own.get((kind, name), 0)) for (kind, name), group in groups.items()]
    took.sort(key=lambda one: (-(one.self_us or 0), one.kind, one.name))
    timed = ((-row["us"], row["seq"]) for row in rows if row["us"] is not None)
    end = of.init_us + round(of.duration_s * 1e6)
    idle = of.duration_s - _covered(spans, of.init_us, end) / 1e6
    return Slow(took, [_longest(connection, seq) for _, seq in nsmallest(limit, timed)], of.duration_s, max(0.0, idle))


def _of_all(connection: sqlite3.Connection, where: Filter, limit: int) -> Slow:
    counting = Counting(connection, where)
    took = [Took(kind, name, group) for (kind, name), group in counting.kinds_and_names().items() if kind != "errors"]
    took.sort(key=lambda one: (-one.group.us, one.kind, one.name))
    return Slow(took, [_longest(connection, seq) for seq in counting.longest(limit)])


def _longest(connection: sqlite3.Connection, seq: int) -> Longest:
    row = connection.execute(EVENT, (seq,)).fetchone()
    return Longest(
        row["id"], row["session_id"], row["kind"], row["name"], row["agent_name"], row["init_us"],
        row["end_us"] - row["init_us"],
    )  # fmt: skip


def _covered(spans: Iterable[tuple[int, int]], begin: int, end: int) -> int:
    """How much of the time from `begin` to `end` these cover, wherever they overlap each other."""
    covered, reached = 0, begin
    for start, stop in sorted(spans):
        piece = min(stop, end) - max(start, reached)
        if piece > 0:
            covered += piece
            reached = min(stop, end)
    return covered
