"""How far the upload of a database has come, from its ledger: what `agentops-sync status` says."""

from __future__ import annotations

import sqlite3
from dataclasses import asdict, dataclass, field
from pathlib import Path

from agentops_local.analytics.uploading import Reserved, is_served, reserved
from agentops_local.clock import to_iso
from agentops_sync.client import JSON
from agentops_sync.deliveries import WITHHELD

STATES = ("pending", "flying", "done", "uncertain", "dead", "withheld")


_TARGETS = """
SELECT id, url, taken_seq, progress_us, looked_us, retry_us, failures, last_error, last_error_us FROM targets
"""
_NOT_NOTED = """
SELECT count(*) FROM events e JOIN sessions s ON s.seq = e.session WHERE e.seq > ? AND s.id <> ''
"""
_SESSIONS = """
SELECT s.id, d.session, d.state, d.reason, d.last_error, d.last_error_us, d.retry_us, d.no_stats, d.work,
       s.revision > d.revision_sent, s.joined
FROM deliveries d JOIN sessions s ON s.seq = d.session WHERE d.target = ? AND s.id <> '' ORDER BY s.seq
"""
_BY_SESSION = "SELECT session, state, count(*) FROM uploads WHERE target = ? GROUP BY session, state"
_PARKED = "SELECT what, name, reason, retry_us FROM parked WHERE target = ? ORDER BY what, name"
_DEAD = """
SELECT s.id, lower(hex(e.id)), u.kind, d.reason, d.words, d.at_us
FROM dead_letters d JOIN events e ON e.seq = d.event JOIN sessions s ON s.seq = e.session
     JOIN uploads u ON u.target = d.target AND u.event = d.event
WHERE d.target = ? ORDER BY d.at_us, d.event
"""


@dataclass(frozen=True)
class SessionReport:
    """A session at a target.

    Attributes:
        state: absent, creating, present, conflict, parked, or withheld by the policy.
        reason: what it waits for.
        no_stats: the server keeps no statistics of it.
        events: how many in which state.
        waits: whether something remains to be sent, other than events.
    """

    id: str
    state: str
    reason: str | None
    last_error: str | None
    last_error_at: str | None
    no_stats: bool
    events: dict[str, int]
    waits: bool

    @property
    def complete(self) -> bool:
        """Whether nothing of it remains to be sent or decided."""
        return not self.waits and not any(self.events[state] for state in STATES if state not in ("done", "withheld"))


@dataclass(frozen=True)
class Parked:
    """What waits as a whole: a kind of events, or the sessions under a key."""

    what: str
    name: str
    reason: str
    retry_at: str


@dataclass(frozen=True)
class DeadLetter:
    """An event that is not sent again, and the server's words."""

    session: str
    event: str
    kind: str
    reason: str
    words: str
    at: str


@dataclass(frozen=True)
class Report:
    """How far a database has come at a target.

    Attributes:
        served: whether an agentops-sync serves the database now.
        events: how many in which state; what the daemon has not noted yet counts as pending.
        progress_at: when the server last accepted something.
        idle_at: when everything that could be sent had been.
        retry_at: until when nothing is sent, because the server cannot be reached or asked to wait.
        reserve: the room on the disk for the ledger; None if there is none.
    """

    database: str
    target: str
    served: bool
    events: dict[str, int]
    progress_at: str | None
    idle_at: str | None
    retry_at: str | None
    last_error: str | None
    last_error_at: str | None
    parked: list[Parked] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    sessions: list[SessionReport] = field(default_factory=list)
    reserve: Reserved | None = None

    @property
    def complete(self) -> bool:
        """Whether all is sent."""
        return all(session.complete for session in self.sessions) and not self.events["pending"]

    def to_json(self) -> dict[str, JSON]:
        """As JSON."""
        reserve = None if self.reserve is None else {**self.reserve._asdict(), "in_use": self.reserve.is_in_use}
        return {**asdict(self), "reserve": reserve, "complete": self.complete}


def reports(path: Path, connection: sqlite3.Connection, url: str | None = None) -> list[Report]:
    """What the ledger says, a report for each target, or for one.

    Args:
        connection: for reading, in autocommit mode.
        url: the target's endpoint.
    """
    served = is_served(path)
    connection.execute("BEGIN")  # one moment for all the queries
    try:
        targets = connection.execute(_TARGETS).fetchall()
        return [_report(path, connection, served, row) for row in targets if url in (None, row[1])]
    finally:
        connection.execute("ROLLBACK")


def _report(path: Path, connection: sqlite3.Connection, served: bool, row: tuple[int, ...]) -> Report:
    target, url, taken, progress, looked, retry, failures, error, error_us = row
    counts: dict[int, dict[str, int]] = {}
    for session, state, count in connection.execute(_BY_SESSION, (target,)).fetchall():
        counts.setdefault(session, dict.fromkeys(STATES, 0))[state] = count
    sessions = []
    for id, number, state, reason, *rest in connection.execute(_SESSIONS, (target,)).fetchall():
        last, last_us, _, no_stats, work, behind, joined = rest
        mine = counts.get(number, dict.fromkeys(STATES, 0))
        waits = bool(work) or bool(reason) or (bool(behind) and not joined)
        if reason == WITHHELD:
            mine |= {"pending": 0, "withheld": mine["pending"]}
            sessions.append(SessionReport(id, "withheld", None, last, _iso(last_us), bool(no_stats), mine, False))
        else:
            sessions.append(SessionReport(id, state, reason, last, _iso(last_us), bool(no_stats), mine, waits))
    events = {state: sum(session.events[state] for session in sessions) for state in STATES}
    events["pending"] += connection.execute(_NOT_NOTED, (taken,)).fetchone()[0]
    parked = [Parked(what, name, why, to_iso(us)) for what, name, why, us in connection.execute(_PARKED, (target,))]
    dead = [
        DeadLetter(session, f"{i[:8]}-{i[8:12]}-{i[12:16]}-{i[16:20]}-{i[20:]}", kind, reason, words, to_iso(us))
        for session, i, kind, reason, words, us in connection.execute(_DEAD, (target,))
    ]
    return Report(
        str(path), str(url), served, events, _iso(progress), _iso(looked), _iso(retry) if failures else None,
        str(error) if error else None, _iso(error_us), parked, dead, sessions, reserved(path),
    )  # fmt: skip


def _iso(us: int | None) -> str | None:
    return None if us is None else to_iso(us)
