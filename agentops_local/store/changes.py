"""What was changed in events already stored: told to whoever keeps sums or words of them elsewhere."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

_NOTE = """
INSERT INTO changes (session, revision) VALUES (?, (SELECT coalesce(max(revision), 0) + 1 FROM changes))
ON CONFLICT (session) DO UPDATE SET revision = excluded.revision
"""


def note(connection: sqlite3.Connection, sessions: Iterable[int]) -> None:
    """Notes that stored events of these sessions have changed, or are gone. In the transaction that changes them.

    Args:
        sessions: the `seq` of each.
    """
    for session in sorted(set(sessions)):
        connection.execute(_NOTE, (session,))


def note_events(connection: sqlite3.Connection, events: Iterable[int]) -> None:
    """The same for the sessions of some events that are still there."""
    found: set[int] = set()
    for event in events:
        row = connection.execute("SELECT session FROM events WHERE seq = ?", (event,)).fetchone()
        if row is not None:
            found.add(row[0])
    note(connection, found)
