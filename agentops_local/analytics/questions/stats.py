"""Totals, latencies, error rates and costs of a session or of many; by kind, model and tool."""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from agentops_local.analytics import ratings
from agentops_local.analytics.filters import Filter
from agentops_local.analytics.groups import TOKENS, Counting, Group, ranked
from agentops_local.analytics.index.tables import SLOT
from agentops_local.analytics.project import indexed
from agentops_local.analytics.reading import added, exact_sum
from agentops_local.analytics.sessions import pick_session, summary
from agentops_local.errors import WrongUse

PERCENTS = (50, 95, 99)
# Counted by SQLite: a session of 20,000 events would else be four additions in Python for each of them.
OF_SESSION = f"""
SELECT e.kind, coalesce(CASE e.kind WHEN 'llms' THEN e.model ELSE e.name END, '') AS name, count(*) AS events,
       {", ".join(map(exact_sum, (*TOKENS, "cost_pusd")))},
       count(CASE WHEN e.kind = 'llms' AND e.cost_pusd IS NULL THEN 1 END) AS unpriced,
       group_concat(CASE WHEN e.end_us >= e.init_us THEN e.end_us - e.init_us END) AS times
FROM events e WHERE e.session = ? GROUP BY 1, 2
"""  # noqa: S608 - our own text
FAILED = """
SELECT failed.kind, coalesce(CASE failed.kind WHEN 'llms' THEN failed.model ELSE failed.name END, '') AS name,
       count(*) AS times
FROM events error JOIN events failed ON failed.session = error.session AND failed.id = error.trigger_id
WHERE error.kind = 'errors' AND error.session = ? GROUP BY 1, 2
"""
_COUNT = "SELECT count(*) FROM sessions WHERE id <> ''"


@dataclass
class Stats:
    """What was counted.

    Attributes:
        sessions: those with any such event; of everything, all there are.
        minutes: the time in which anything happened: of a session its duration, of many the quarters of an hour in
            which an event began.
        kinds, models, tools: all events, LLM calls and tool calls, by name.
        errors: how many of each type.
        scores: of each name how many, in how many of the sessions, their average, the lowest and the highest.
    """

    sessions: int
    minutes: float = 0.0
    all: Group = field(default_factory=Group)
    kinds: dict[str, Group] = field(default_factory=dict)
    models: dict[str, Group] = field(default_factory=dict)
    tools: dict[str, Group] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    scores: list[dict[str, object]] = field(default_factory=list)

    @property
    def calls_per_minute(self) -> float | None:
        """LLM calls in a minute of that time; None if there was none."""
        calls = self.kinds.get("llms", Group()).events
        return calls / self.minutes if self.minutes > 0 else None

    @property
    def error_rate(self) -> float | None:
        """Errors for each other event; None if there is none."""
        errors = sum(self.errors.values())
        others = self.all.events - errors
        return errors / others if others else None

    def to_json(self) -> dict[str, object]:
        """Everything, with the most frequent first, durations in seconds and costs in dollars."""
        return {
            "sessions": self.sessions,
            "events": self.all.events,
            **self.all.tokens,
            "cost": float(self.all.cost),
            "unpriced": self.all.unpriced,
            "calls_per_minute": self.calls_per_minute,
            "error_rate": self.error_rate,
            "kinds": [{"kind": name, **_timing(group)} for name, group in ranked(self.kinds)],
            "models": [
                {"model": name or None, **_timing(group), **group.tokens, "cost": float(group.cost),
                 "unpriced": group.unpriced}
                for name, group in ranked(self.models)
            ],
            "tools": [{"name": name or None, **_timing(group)} for name, group in ranked(self.tools)],
            "errors": [{"error_type": name or None, "events": times} for name, times in most(self.errors)],
            "scores": self.scores,
        }  # fmt: skip


def stats(session: str | None = None, *, where: Filter | None = None, db: Path | str | None = None) -> Stats:
    """The statistics of a session, or of all events that a filter leaves.

    Args:
        session: its id, a beginning of it that fits no other, or "last"; None for all.
        where: which events (see `filters.parse`); not together with a session.
        db: the database; None for that of the project around the working directory.

    Raises:
        NoSuchSession, Ambiguous: the session is not there, or several begin so.
        WrongUse: both a session and a filter are given.
        DatabaseUnusable: there is no database.
    """
    if session is not None and where not in (None, Filter()):
        raise WrongUse("give a session or a filter, not both")
    with indexed(db) as connection:
        if session is not None:
            return of_session(connection, pick_session(connection, session))
        return of_all(connection, where or Filter())


def of_session(connection: sqlite3.Connection, session_id: str) -> Stats:
    """The statistics of a session, by its whole id, from its own events."""
    of = summary(connection, session_id)
    found = Stats(1, of.duration_s / 60, scores=ratings.sums(connection, [of.seq]))
    for row in connection.execute(OF_SESSION, (of.seq,)).fetchall():
        group = _summed(row)
        for counted in _groups(found, row["kind"], row["name"]):
            counted.join(group)
        if group.errors:
            found.errors[row["name"]] = group.errors
    for row in connection.execute(FAILED, (of.seq,)).fetchall():
        for group in _groups(found, row["kind"], row["name"]):
            group.failed += row["times"]
    return found


def of_all(connection: sqlite3.Connection, where: Filter, spread: bool = True) -> Stats:
    """The statistics of all events that a filter leaves; the connection has the index.

    Args:
        spread: whether percentiles are wanted.
    """
    counting = Counting(connection, where)
    picked = list(counting.sessions()) if counting.is_narrowed else None
    sessions = len(picked) if picked is not None else int(connection.execute(_COUNT).fetchone()[0])
    found = Stats(sessions, counting.slots() * SLOT / 60e6, scores=ratings.sums(connection, picked))
    for (kind, name), group in counting.kinds_and_names(spread).items():
        for counted in _groups(found, kind, name):
            counted.join(group)
        if kind == "errors":
            found.errors[name] = found.errors.get(name, 0) + group.events
    return found


def most(counts: dict[str, int]) -> list[tuple[str, int]]:
    """The most frequent first."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _summed(row: sqlite3.Row) -> Group:
    """The events of a kind and name. A clock set back tells no duration."""
    times = array("q", map(int, row["times"].split(","))) if row["times"] else array("q")
    group = Group(events=row["events"], us=sum(times), times=times)
    if row["kind"] == "errors":
        group.errors = group.events
    elif row["kind"] == "llms":
        group.calls, group.unpriced, group.cost_pusd = group.events, row["unpriced"], added(row, "cost_pusd")
        group.tokens = {name: added(row, name) for name in TOKENS}
    return group


def _groups(found: Stats, kind: str, name: str | None) -> Iterator[Group]:
    """Where an event is counted."""
    yield found.all
    yield found.kinds.setdefault(kind, Group())
    if kind == "llms":
        yield found.models.setdefault(name or "", Group())
    elif kind == "tools":
        yield found.tools.setdefault(name or "", Group())


def _timing(group: Group) -> dict[str, object]:
    times = dict(zip(PERCENTS, group.percentiles(PERCENTS), strict=True))
    return {
        "events": group.events, "failed": group.failed, **{f"p{percent}_s": time for percent, time in times.items()},
    }  # fmt: skip
