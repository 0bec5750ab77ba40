"""Errors that are alike, counted together: has this one been seen before, how often, in which runs?"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from agentops_local.analytics import filters
from agentops_local.analytics.filters import Filter
from agentops_local.analytics.project import indexed
from agentops_local.analytics.reading import iso
from agentops_local.analytics.sessions import pick_session
from agentops_local.errors import WrongUse, shown

# What groups are sorted by, the largest first.
ORDERS = {
    "events": "events DESC, last DESC",
    "sessions": "sessions DESC, last DESC",
    "first": "first_us DESC, first DESC",
    "last": "last_us DESC, last DESC",
}
_SHOWN = 300  # characters of an error's words

GROUPS = """
SELECT f.fingerprint, count(*) AS events, count(DISTINCT f.session) AS sessions,
       min(f.at_us) AS first_us, max(f.at_us) AS last_us, min(f.seq) AS first, max(f.seq) AS last
FROM idx.faults f WHERE {where} GROUP BY f.fingerprint ORDER BY {order} LIMIT :limit
"""
FINGERPRINT = "SELECT hash, error_type, code, text FROM idx.fingerprints WHERE id = ?"
OF_SESSION = "f.fingerprint IN (SELECT own.fingerprint FROM idx.faults own WHERE own.session = :session)"
EXAMPLE = """
SELECT e.id, e.session_id, e.trigger_kind, coalesce(json_extract(e.details, '$'), e.details) AS details,
       (SELECT coalesce(t.name, t.model) FROM events t WHERE t.session = e.session AND t.id = f.trigger_id) AS failed
FROM events f JOIN payloads e ON e.seq = f.seq WHERE f.seq = ?
"""
_MODEL = """
EXISTS (SELECT 1 FROM events e JOIN events t ON t.session = e.session AND t.id = e.trigger_id
        WHERE e.seq = f.seq AND t.model = :model)
"""


@dataclass(frozen=True)
class Alike:
    """Errors that are alike.

    Attributes:
        fingerprint: 32 hexadecimal digits, the same in every database.
        text: what their words have in common.
        events, sessions: how many errors, in how many sessions.
        failed: what failed, in the last of them: a tool, a model; None if that is not known.
        first_us, last_us: when the first and the last of them were.
        example: id of the last; session_id: its session. details: its words, their beginning.
    """

    fingerprint: str
    error_type: str
    code: str | None
    text: str
    events: int
    sessions: int
    failed: str | None
    first_us: int
    last_us: int
    example: str
    session_id: str
    details: str

    def to_json(self) -> dict[str, object]:
        """Everything, with times in ISO 8601."""
        return {
            "fingerprint": self.fingerprint, "error_type": self.error_type or None, "code": self.code,
            "text": self.text, "events": self.events, "sessions": self.sessions, "failed": self.failed,
            "first_seen": iso(self.first_us), "last_seen": iso(self.last_us),
            "example": {"event_id": self.example, "session_id": self.session_id, "details": self.details},
        }  # fmt: skip


def errors(
    session: str | None = None, limit: int = 20, *, by: str = "events", where: Filter | None = None,
    db: Path | str | None = None,
) -> list[Alike]:  # fmt: skip
    """Errors by what they have in common, the most frequent first.

    Args:
        session: only those that this session has as well (its id, a beginning of it, or "last"); they are counted over
            all sessions, which tells whether they were seen before.
        limit: how many groups at most.
        by: another order, one of `ORDERS`: by how many sessions they were in, by when they were seen first or last.
        where: which errors; see `filters.parse`. Those of a model are those of its calls.
        db: the database; None for that of the project around the working directory.

    Raises:
        WrongUse: `by` is none of them.
        NoSuchSession, Ambiguous, DatabaseUnusable.
    """
    if by not in ORDERS:
        raise WrongUse(f"by must be one of {', '.join(ORDERS)}, not {shown(by)}")
    with indexed(db) as connection:
        seq = None
        if session is not None:
            found = connection.execute(
                "SELECT seq FROM sessions WHERE id = ?", (pick_session(connection, session),)
            ).fetchone()
            seq = found["seq"]
        condition, values = conditions(connection, where or Filter(), seq)
        sql = GROUPS.format(where=condition, order=ORDERS[by])
        rows = connection.execute(sql, {**values, "limit": limit}).fetchall()
        return [alike_of(connection, row) for row in rows]


def conditions(
    connection: sqlite3.Connection, where: Filter, session: int | None = None
) -> tuple[str, dict[str, object]]:
    """Of which of the faults of the index a filter speaks, as SQL and its values.

    Args:
        session: only those that this session has as well, given by its row.
    """
    found = ["1"]
    values: dict[str, object] = {
        "since": where.since_us, "until": where.until_us, "agent": where.agent, "host": where.host,
        "model": where.model, "session": session,
    }  # fmt: skip
    if session is not None:
        found.append(OF_SESSION)
    if where.picks_sessions:
        picked = filters.sessions(connection, where.of_sessions)
        values["sessions"] = json.dumps(list(picked))
        found.append("f.session IN (SELECT value FROM json_each(:sessions))")
    for asked_for, condition in (
        (where.since_us, "f.at_us >= :since"),
        (where.until_us, "f.at_us < :until"),
        (where.agent, "f.agent IN (SELECT seq FROM agents WHERE name = :agent)"),
        (where.host, "f.host IN (SELECT id FROM idx.hosts WHERE name = :host)"),
        (where.model, _MODEL),
    ):
        if asked_for is not None:
            found.append(condition)
    return " AND ".join(found), values


def alike_of(connection: sqlite3.Connection, row: sqlite3.Row) -> Alike:
    """A row of `GROUPS` with what its errors have in common, and the last of them."""
    known = connection.execute(FINGERPRINT, (row["fingerprint"],)).fetchone()
    example = connection.execute(EXAMPLE, (row["last"],)).fetchone()
    return Alike(
        known["hash"].hex(), known["error_type"], known["code"], known["text"], row["events"], row["sessions"],
        example and example["failed"], row["first_us"], row["last_us"], example["id"] if example else "",
        example["session_id"] if example else "", str((example and example["details"]) or "")[:_SHOWN],
    )  # fmt: skip
