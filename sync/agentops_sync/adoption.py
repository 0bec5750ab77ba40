"""A session that is on the server before this ledger has sent anything of it: a copy of the database was uploaded from
elsewhere, or a backup was restored. What the server holds is looked at first, for an error that is sent again is there
twice."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from functools import partial
from uuid import UUID

from agentops_sync import reconcile, wire
from agentops_sync.client import JSON
from agentops_sync.comparison import error_key
from agentops_sync.ledger import Ledger
from agentops_sync.outbox import Outbox
from agentops_sync.policy import Policy

_PIECE = 500  # events read at once

_PENDING = """
SELECT u.event, e.id FROM uploads u INDEXED BY uploads_unsent JOIN events e ON e.seq = u.event
WHERE u.target = ? AND u.session = ? AND u.kind = ? AND u.state = 'pending' AND u.event > ? ORDER BY u.event LIMIT ?
"""
_DONE = """
UPDATE uploads SET state = 'done'
WHERE target = ? AND event IN (SELECT value FROM json_each(?)) AND state = 'pending'
"""
_LOOKED = "UPDATE deliveries SET found = 0, work = work + 1 WHERE target = ? AND session = ?"
# An error of a restored database that a cut export does not show may have been sent before the backup was restored.
_DOUBTFUL = """
UPDATE uploads SET state = 'uncertain'
WHERE target = ? AND session = ? AND kind = 'errors' AND state = 'pending'
  AND event <= (SELECT value FROM about WHERE key = 'restored_seq')
"""
# A backup from before the end of a session knows less than the server, and must not take the end back.
_ENDED = """
UPDATE deliveries
SET ended_sent = 1, revision_sent = max(revision_sent, (SELECT revision FROM sessions WHERE seq = :session))
WHERE target = :target AND session = :session AND (SELECT end_us IS NULL FROM sessions WHERE seq = :session)
"""


def adopt(ledger: Ledger, session: int, export: Mapping[str, JSON], agents: Mapping[int, str], policy: Policy) -> int:
    """Notes which events of a session the server holds already; returns how many.

    Args:
        export: of the session.
        agents: the ids of its agents there, by their numbers here.
        policy: under which the session is uploaded now. Errors that were sent under another are not recognised.
    """
    # It is looked once: what were noted after that would be taken for new, and errors be there twice.
    Outbox(ledger).catch_up()
    target = ledger.target
    known = 0
    for kind in wire.KINDS:
        held = reconcile.held(dict(export), kind)
        last = 0
        while held is not None and held.ids:
            values = (target, session, kind, last, _PIECE)
            rows = ledger.read(partial(_names, values, agents, policy))
            if not rows:
                break
            last = max(rows)
            there = [event for event, name in rows.items() if name in held.ids]
            with ledger.transaction() as connection:
                connection.execute(_DONE, (target, json.dumps(there)))
            known += len(there)
    with ledger.transaction() as connection:
        errors = reconcile.held(dict(export), "errors")
        if errors is None or not errors.is_whole:
            connection.execute(_DOUBTFUL, (target, session))
        row = export.get("session")
        if isinstance(row, dict) and row.get("end_timestamp") is not None:
            connection.execute(_ENDED, {"target": target, "session": session})
        connection.execute(_LOOKED, (target, session))
    return known


def _names(
    values: tuple[int, int, str, int, int], agents: Mapping[int, str], policy: Policy, connection: sqlite3.Connection
) -> dict[int, str]:
    """What some events are known by there, in the order of their numbers."""
    rows = connection.execute(_PENDING, values).fetchall()
    if values[2] != "errors":
        return {event: str(UUID(bytes=id)) for event, id in rows}
    bodies = wire.events(connection, "errors", [event for event, _ in rows], agents, policy)
    return {body.seq: reconcile.digest(error_key(body.body)) for body in bodies}
