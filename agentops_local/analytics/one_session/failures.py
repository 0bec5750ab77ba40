"""The errors of a session in the order in which they happened: which are the same, which an exception has made on its
way outwards, and which the run got over.

An error is the same as another if its fingerprint is, as the list of all errors has it. The run got over an error if
what had failed (the tool, the action, the model's call, of the same agent) worked again later.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from agentops_local.analytics.index.fingerprint import fingerprint
from agentops_local.analytics.one_session.steps import shown
from agentops_local.analytics.reading import iso

MOST = 500  # errors that are looked at, the first of a session

ERRORS = f"""
SELECT e.seq, e.id, e.init_us, e.name, e.code, e.agent, e.parent, e.trigger_id, e.trigger_kind,
       t.seq AS failed, t.kind AS failed_kind, coalesce(t.name, t.model) AS failed_name, t.agent AS failed_agent,
       t.parent AS failed_parent,
       (SELECT p.details FROM payloads p WHERE p.seq = e.seq) AS details
FROM events e LEFT JOIN events t ON t.session = e.session AND t.id = e.trigger_id
WHERE e.session = ? AND e.kind = 'errors' ORDER BY e.init_us LIMIT {MOST}
"""  # noqa: S608 - our own text
# The last time of everything that was done, and the last time that it did not fail. One look at all events of a session
# answers for all of its errors.
LATEST = """
SELECT kind, name, agent, max(seq) AS seq,
       max(CASE WHEN seq NOT IN (SELECT value FROM json_each(:failed)) THEN seq END) AS worked
FROM events WHERE session = :session GROUP BY kind, name, agent
"""
ABOVE = "SELECT seq, parent FROM events WHERE session = ? AND id = ?"
_DEEPEST = 100  # parents that are followed

Doing = tuple[str, str, int | None]


@dataclass
class Failure:
    """An error.

    Attributes:
        message: its details, cut.
        trigger_id, trigger_kind: the event that failed, as the error names it.
        failed: the seq of that event; None if it is not there.
        doing: what failed: its kind, its name and the row of its agent.
        above, around: the ids of the events in whose course the error, and what failed, happened.
        before: how often the same error had happened before in this session, each counted once on its way outwards.
        recovered: whether the run got over it; None if that cannot be told, as of an error that names no event.
        outer: whether it is an earlier error again, which has passed on to what stands around.
        likeness: the hash of its fingerprint.
    """

    seq: int
    id: bytes
    init_us: int
    error_type: str | None
    code: str | None
    message: str
    trigger_id: bytes | None
    trigger_kind: str | None
    failed: int | None
    doing: Doing
    above: bytes | None
    around: bytes | None
    before: int = 0
    recovered: bool | None = None
    outer: bool = False
    likeness: bytes = b""

    def to_json(self) -> dict[str, object]:
        """What is told of every error."""
        return {
            "event_id": as_text(self.id), "seq": self.seq, "timestamp": iso(self.init_us),
            "error_type": self.error_type, "code": self.code, "message": self.message,
            "trigger_event_id": as_text(self.trigger_id), "trigger_event_type": self.trigger_kind,
            "same_before": self.before, "recovered": self.recovered, "passed_on": self.outer,
        }  # fmt: skip


def failures(connection: sqlite3.Connection, session: int, succeeded: bool) -> tuple[list[Failure], dict[str, int]]:
    """The first errors of a session, and the seq of the last event of each kind.

    Args:
        succeeded: whether the session ended with success, which it did in spite of all of them.
    """
    found = [_failure(row) for row in connection.execute(ERRORS, (session,)).fetchall()]
    failed = json.dumps([failure.failed for failure in found if failure.failed is not None])
    last: dict[str, int] = {}
    worked: dict[Doing, int] = {}
    for row in connection.execute(LATEST, {"session": session, "failed": failed}).fetchall():
        last[row["kind"]] = max(row["seq"], last.get(row["kind"], 0))
        doing = _doing(row["kind"], row["name"], row["agent"])
        worked[doing] = max(row["worked"] or 0, worked.get(doing, 0))
    _mark_outer(connection, session, found)
    counted: dict[bytes, int] = {}
    for failure in found:
        failure.before = counted.get(failure.likeness, 0)
        counted[failure.likeness] = failure.before + (not failure.outer)
        if succeeded:
            failure.recovered = True
        elif failure.failed is not None:
            failure.recovered = worked.get(failure.doing, 0) > failure.seq
    return found, last


def ancestors(connection: sqlite3.Connection, session: int, event: bytes | None) -> list[int]:
    """The events in whose course one happened, the nearest first, without itself; given the id of the nearest."""
    found: list[int] = []
    while event is not None and len(found) < _DEEPEST:
        row = connection.execute(ABOVE, (session, event)).fetchone()
        if row is None or row["seq"] in found:  # not recorded, or its own ancestor
            break
        found.append(row["seq"])
        event = row["parent"]
    return found


def as_text(event_id: bytes | None) -> str | None:
    """An id as the views write it."""
    if event_id is None:
        return None
    text = event_id.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _failure(row: sqlite3.Row) -> Failure:
    message = shown(row["details"]) or ""
    doing = _doing(row["failed_kind"] or row["trigger_kind"] or "", row["failed_name"], row["failed_agent"])
    return Failure(
        row["seq"], row["id"], row["init_us"], row["name"], row["code"], message, row["trigger_id"],
        row["trigger_kind"], row["failed"], doing, row["parent"],
        row["failed_parent"], likeness=fingerprint(row["name"], row["code"], message).hash,
    )  # fmt: skip


def _mark_outer(connection: sqlite3.Connection, session: int, found: Sequence[Failure]) -> None:
    """An exception that passes through several functions fails each of them: the inner error is the one that counts."""
    around: dict[bytes, set[int]] = {}
    for failure in found:
        enclosing = around.setdefault(failure.likeness, set())
        if failure.failed is not None and failure.failed in enclosing:
            failure.outer = True
        elif failure.around is not None and len(found) > 1:
            enclosing.update(ancestors(connection, session, failure.around))


def _doing(kind: str, name: str | None, agent: int | None) -> Doing:
    """What is done; one model is as good as another."""
    return kind, "" if kind == "llms" else name or "", agent
