"""Totals, latencies and costs of a session or of the whole database; by kind, model and tool.

The whole database is read in pieces, each a short read, so that no writer's WAL waits for a long one.
"""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from agentops_local.analytics.totals import dollars

_PIECE = 20_000  # events a read
_TOKENS = ("prompt_tokens", "completion_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
_COLUMNS = f"e.seq, e.kind, e.name, e.model, e.end_us - e.init_us AS us, {', '.join(_TOKENS)}, e.cost_pusd"
# The empty row that keeps a number from being given twice (see schema.sql) is no event.
_ALL = f"""
SELECT {_COLUMNS} FROM events e
WHERE e.seq > ? AND e.session IS NOT (SELECT s.seq FROM sessions s WHERE s.id = '') ORDER BY e.seq LIMIT {_PIECE}
"""  # noqa: S608 - our own text
_OF_SESSION = f"SELECT {_COLUMNS} FROM events e WHERE e.session = ?"  # noqa: S608 - our own text
_FAILED = """
SELECT failed.name, count(*) AS times
FROM events error JOIN events failed ON failed.session = error.session AND failed.id = error.trigger_id
WHERE error.kind = 'errors' AND error.trigger_kind = 'tools' AND error.session BETWEEN ? AND ?
GROUP BY failed.name
"""
_SESSIONS = "SELECT count(*) FROM sessions WHERE id <> ''"


@dataclass
class Group:
    """Events that are counted together.

    Attributes:
        times: their durations in microseconds, as far as they have an end.
        cost_pusd: over the priced calls; 1e-12 US dollars.
        failed: errors that name one of them as their trigger (tools only).
    """

    events: int = 0
    times: array[int] = field(default_factory=lambda: array("q"))
    tokens: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_TOKENS, 0))
    cost_pusd: int = 0
    unpriced: int = 0
    failed: int = 0

    @property
    def cost(self) -> Decimal:
        """US dollars, exactly."""
        return dollars(self.cost_pusd)

    def percentile(self, percent: int) -> float | None:
        """Seconds within which so many of a hundred were done (nearest rank); None if none has an end."""
        if not self.times:
            return None
        rank = -(-percent * len(self.times) // 100)
        return sorted(self.times)[max(rank, 1) - 1] / 1e6

    def add(self, row: sqlite3.Row) -> None:
        """Counts an event."""
        self.events += 1
        if row["us"] is not None and row["us"] >= 0:  # a clock set back tells nothing
            self.times.append(row["us"])
        if row["kind"] != "llms":
            return
        for name in _TOKENS:
            self.tokens[name] += row[name] or 0
        if row["cost_pusd"] is None:
            self.unpriced += 1
        else:
            self.cost_pusd += row["cost_pusd"]


@dataclass
class Stats:
    """What was counted."""

    sessions: int
    all: Group = field(default_factory=Group)
    kinds: dict[str, Group] = field(default_factory=dict)
    models: dict[str, Group] = field(default_factory=dict)
    tools: dict[str, Group] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)

    def add(self, row: sqlite3.Row) -> None:
        """Counts an event wherever it belongs."""
        kind = row["kind"]
        self.all.add(row)
        self.kinds.setdefault(kind, Group()).add(row)
        if kind == "llms":
            self.models.setdefault(row["model"] or "", Group()).add(row)
        elif kind == "tools":
            self.tools.setdefault(row["name"] or "", Group()).add(row)
        elif kind == "errors":
            self.errors[row["name"] or ""] = self.errors.get(row["name"] or "", 0) + 1

    def to_json(self) -> dict[str, object]:
        """Everything, with the most frequent first, durations in seconds and costs in dollars."""
        return {
            "sessions": self.sessions,
            "events": self.all.events,
            **self.all.tokens,
            "cost": float(self.all.cost),
            "unpriced": self.all.unpriced,
            "kinds": [{"kind": name, **_timing(group)} for name, group in ranked(self.kinds)],
            "models": [
                {"model": name or None, **_timing(group), **group.tokens, "cost": float(group.cost),
                 "unpriced": group.unpriced}
                for name, group in ranked(self.models)
            ],
            "tools": [
                {"name": name or None, **_timing(group), "failed": group.failed} for name, group in ranked(self.tools)
            ],
            "errors": [{"error_type": name or None, "events": times} for name, times in most(self.errors)],
        }  # fmt: skip


def stats(connection: sqlite3.Connection, session: int | None = None) -> Stats:
    """The statistics of a session, or of the whole database."""
    found = Stats(1 if session is not None else int(connection.execute(_SESSIONS).fetchone()[0]))
    for row in _rows(connection, session):
        found.add(row)
    sessions = (0, 1 << 62) if session is None else (session, session)
    for row in connection.execute(_FAILED, sessions).fetchall():
        if (row["name"] or "") in found.tools:
            found.tools[row["name"] or ""].failed = row["times"]
    return found


def ranked(groups: dict[str, Group]) -> list[tuple[str, Group]]:
    """The largest first."""
    return sorted(groups.items(), key=lambda item: (-item[1].events, item[0]))


def most(counts: dict[str, int]) -> list[tuple[str, int]]:
    """The most frequent first."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _timing(group: Group) -> dict[str, object]:
    return {"events": group.events, "p50_s": group.percentile(50), "p95_s": group.percentile(95)}


def _rows(connection: sqlite3.Connection, session: int | None) -> Iterator[sqlite3.Row]:
    if session is not None:
        yield from connection.execute(_OF_SESSION, (session,)).fetchall()
        return
    seen = 0
    while True:
        piece = connection.execute(_ALL, (seen,)).fetchall()
        yield from piece
        if len(piece) < _PIECE:
            return
        seen = piece[-1]["seq"]
