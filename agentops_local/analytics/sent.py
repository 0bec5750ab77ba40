"""What had left this machine: for whoever takes something out of the database, but not out of others'."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple
from uuid import UUID

# By the event: the view `egress` would go through all batches. A batch that certainly did not arrive is none.
_EVENT = """
SELECT s.id, e.id, e.kind, t.url, b.sent_us, b.policy, u.state
FROM events e JOIN sessions s ON s.seq = e.session CROSS JOIN targets t
     JOIN uploads u ON u.target = t.id AND u.event = e.seq JOIN batches b ON b.id = u.batch
WHERE e.seq = ? AND b.state <> 'void' ORDER BY t.id
"""
# Of a session's own row the ledger knows that it was sent, not when, and by no policy.
_SESSION = """
SELECT s.id, NULL, 'session', t.url, NULL, NULL, d.state
FROM sessions s CROSS JOIN targets t JOIN deliveries d ON d.target = t.id AND d.session = s.seq
WHERE s.seq = ? AND d.revision_sent > 0 ORDER BY t.id
"""


class Sent(NamedTuple):
    """An event, or a session's row, that was sent to a server.

    Attributes:
        event_id: None for the session's row.
        kind: of the event, or 'session'.
        sent_us: when it was sent last; None: not known.
        policy: what was sent of it: full, masked, metadata; None: not known.
        state: what became of it there, as in `uploads` and `deliveries`.
    """

    session_id: str
    event_id: str | None
    kind: str
    target: str
    sent_us: int | None
    policy: str | None
    state: str


def events_sent(connection: sqlite3.Connection, event: int) -> list[Sent]:
    """Where an event was sent, by its number."""
    rows = connection.execute(_EVENT, (event,)).fetchall()
    return [Sent(row[0], str(UUID(bytes=row[1])), *tuple(row)[2:]) for row in rows]


def session_sent(connection: sqlite3.Connection, session: int) -> list[Sent]:
    """Where the row of a session was sent: its tags, the reason of its end."""
    return [Sent(*row) for row in connection.execute(_SESSION, (session,)).fetchall()]
