"""When errors occurred: how many in each span of time, and those that are alike one by one."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from agentops_local.analytics.filters import Filter
from agentops_local.analytics.project import indexed
from agentops_local.analytics.questions.alike import alike_of, conditions
from agentops_local.analytics.reading import iso
from agentops_local.errors import AgentOpsLocalError, WrongUse, shown

SPANS = {
    60: "minute", 300: "5 minutes", 900: "quarter of an hour", 3600: "hour", 6 * 3600: "6 hours", 86_400: "day",
    7 * 86_400: "week", 28 * 86_400: "4 weeks", 364 * 86_400: "52 weeks",
}  # fmt: skip
_BARS = 60  # spans at most
_LOOKED = 1_000  # of the latest errors, at which it is looked for what failed
_SHOWN = 300  # characters of an error's words

EDGES = "SELECT min(f.at_us), max(f.at_us) FROM idx.faults f WHERE {where}"
COUNTS = "SELECT f.at_us / :span AS place, count(*) AS errors FROM idx.faults f WHERE {where} GROUP BY place"
GROUP = """
SELECT f.fingerprint, count(*) AS events, count(DISTINCT f.session) AS sessions,
       min(f.at_us) AS first_us, max(f.at_us) AS last_us, min(f.seq) AS first, max(f.seq) AS last
FROM idx.faults f WHERE f.fingerprint = :fingerprint AND {where} GROUP BY f.fingerprint
"""
ROWS = """
SELECT f.seq, f.at_us FROM idx.faults f
WHERE f.fingerprint = :fingerprint AND (f.at_us, f.seq) < (:at, :seq) AND {where}
ORDER BY f.at_us DESC, f.seq DESC LIMIT :limit
"""
ONE = """
SELECT e.id, e.session_id, e.agent_name, e.trigger_id, e.trigger_kind, e.code,
       coalesce(json_extract(e.details, '$'), e.details) AS details,
       (SELECT coalesce(t.name, t.model) FROM events t WHERE t.session = e.session AND t.id = f.trigger_id) AS failed
FROM events f JOIN payloads e ON e.seq = f.seq WHERE f.seq = ?
"""
FAILED = f"""
SELECT t.kind, coalesce(t.name, t.model, '') AS name, count(*) AS times
FROM (SELECT f.seq FROM idx.faults f WHERE f.fingerprint = :fingerprint AND {{where}}
      ORDER BY f.at_us DESC, f.seq DESC LIMIT {_LOOKED}) latest
     JOIN events e ON e.seq = latest.seq JOIN events t ON t.session = e.session AND t.id = e.trigger_id
GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2
"""  # noqa: S608 - our own text
_KNOWN = "SELECT id FROM idx.fingerprints WHERE hash = ?"
_DIGITS = frozenset("0123456789abcdef")
_LATEST = (1 << 63) - 1, (1 << 63) - 1


class NoSuchError(AgentOpsLocalError):
    """No error like that was ever recorded."""


@dataclass(frozen=True)
class Spread:
    """How many errors there were in each span of time, from the first to the last.

    Attributes:
        seconds: how long a span is; the spans are those of UTC.
        begins_us: when each begins. errors: how many began in it.
    """

    seconds: int
    begins_us: tuple[int, ...]
    errors: tuple[int, ...]

    @property
    def span(self) -> str:
        """How long a span is, in words."""
        return SPANS.get(self.seconds, f"{self.seconds // 86_400} days")

    def to_json(self) -> dict[str, object]:
        """All of it, with times in ISO 8601."""
        return {
            "span_s": self.seconds, "span": self.span, "begins": [iso(us) for us in self.begins_us],
            "errors": list(self.errors),
        }  # fmt: skip


@dataclass(frozen=True)
class Occurrence:
    """An error.

    Attributes:
        failed_id, failed_kind, failed: the event that failed, and what it was: a tool, a model; None if that is not
            known.
        details: its words, their beginning.
    """

    seq: int
    id: str
    session_id: str
    at_us: int
    agent: str | None
    failed_id: str | None
    failed_kind: str | None
    failed: str | None
    details: str

    def to_json(self) -> dict[str, object]:
        """All of it, with the time in ISO 8601."""
        return {
            "event_id": self.id, "session_id": self.session_id, "timestamp": iso(self.at_us), "agent_name": self.agent,
            "failed_id": self.failed_id, "failed_kind": self.failed_kind, "failed": self.failed,
            "details": self.details,
        }  # fmt: skip


@dataclass(frozen=True)
class Occurrences:
    """Errors that are alike.

    Attributes:
        group: what they have in common and how many there are (see `alike.Alike`), for programs; None where the filter
            leaves none.
        failed: what failed, by kind and name, in the latest thousand of them.
        spread: when they were.
        rows: a page of them, the latest first.
        after: where the next page goes on; None where there is none.
    """

    group: dict[str, object] | None
    failed: list[tuple[str, str, int]]
    spread: Spread
    rows: list[Occurrence]
    after: str | None

    def to_json(self) -> dict[str, object]:
        """All of it, for programs."""
        return {
            "group": self.group,
            "failed": [{"kind": kind, "name": name or None, "errors": times} for kind, name, times in self.failed],
            "spread": self.spread.to_json(), "errors": [row.to_json() for row in self.rows], "after": self.after,
        }  # fmt: skip


def history(*, where: Filter | None = None, db: Path | str | None = None) -> Spread:
    """How many errors there were in each span of time.

    Args:
        where: which errors; see `alike.errors`.
        db: the database; None for that of the project around the working directory.

    Raises:
        DatabaseUnusable: there is no database.
    """
    with indexed(db) as connection:
        condition, values = conditions(connection, where or Filter())
        return _spread(connection, condition, values)


def occurrences(
    fingerprint: str,
    limit: int = 50,
    *,
    where: Filter | None = None,
    after: str | None = None,
    db: Path | str | None = None,
) -> Occurrences:
    """Errors that are alike, the latest first.

    Args:
        fingerprint: of `alike.errors`.
        limit: how many at most.
        where: which of them.
        after: the page that follows this place.
        db: the database; None for that of the project around the working directory.

    Raises:
        NoSuchError: no such error was ever recorded.
        WrongUse: there is no such place.
        DatabaseUnusable: there is no database.
    """
    at, seq = _LATEST if after is None else _place(after)
    with indexed(db) as connection:
        number = _number(connection, fingerprint)
        condition, values = conditions(connection, where or Filter())
        values["fingerprint"] = number
        group = connection.execute(GROUP.format(where=condition), values).fetchone()
        asked = {**values, "at": at, "seq": seq, "limit": limit + 1}
        rows = connection.execute(ROWS.format(where=condition), asked).fetchall()
        failed = connection.execute(FAILED.format(where=condition), values).fetchall()
        last = rows[limit - 1] if len(rows) > limit else None
        return Occurrences(
            None if group is None else alike_of(connection, group).to_json(),
            [(row["kind"], row["name"], row["times"]) for row in failed],
            _spread(connection, f"f.fingerprint = :fingerprint AND {condition}", values),
            [_occurrence(connection, row) for row in rows[:limit]],
            None if last is None else f"{last['at_us']},{last['seq']}",
        )


def _number(connection: sqlite3.Connection, fingerprint: str) -> int:
    digits = fingerprint.strip().lower()
    if len(digits) == 32 and set(digits) <= _DIGITS:
        row = connection.execute(_KNOWN, (bytes.fromhex(digits),)).fetchone()
        if row is not None:
            return int(row[0])
    raise NoSuchError(f"there is no error {shown(fingerprint)}: `agentops-local errors` lists them")


def _place(text: str) -> tuple[int, int]:
    at, _, seq = text.partition(",")
    try:
        found = int(at), int(seq)
    except ValueError:
        found = None
    if found is None or max(map(abs, found)) > _LATEST[0]:
        raise WrongUse(f"a page goes on after what the one before ended with, not after {shown(text)}")
    return found


def _spread(connection: sqlite3.Connection, condition: str, values: dict[str, object]) -> Spread:
    first, last = connection.execute(EDGES.format(where=condition), values).fetchone()
    if first is None:
        return Spread(min(SPANS), (), ())
    seconds = _span(first, last)
    span = seconds * 1_000_000
    rows = connection.execute(COUNTS.format(where=condition), {**values, "span": span}).fetchall()
    found = {row["place"]: row["errors"] for row in rows}
    places = range(min(found), max(found) + 1)
    return Spread(seconds, tuple(place * span for place in places), tuple(found.get(place, 0) for place in places))


def _span(first: int, last: int) -> int:
    """The shortest span of which there are not too many."""
    for seconds in SPANS:
        if last // (seconds * 1_000_000) - first // (seconds * 1_000_000) < _BARS:
            return seconds
    seconds = max(SPANS)
    while last // (seconds * 1_000_000) - first // (seconds * 1_000_000) >= _BARS:  # a clock went astray
        seconds *= 2
    return seconds


def _occurrence(connection: sqlite3.Connection, row: sqlite3.Row) -> Occurrence:
    found = connection.execute(ONE, (row["seq"],)).fetchone()
    return Occurrence(
        row["seq"], found["id"], found["session_id"], row["at_us"], found["agent_name"], found["trigger_id"],
        found["trigger_kind"], found["failed"], str(found["details"] or "")[:_SHOWN],
    )  # fmt: skip
