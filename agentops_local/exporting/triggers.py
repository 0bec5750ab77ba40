"""Which errors tell of which event: they are committed before or after it, and a span must have them at once.

Kept in a database of its own without a name, which SQLite puts on the disk when it grows: a run of a million errors
takes no memory for it. It holds numbers and ids alone.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from agentops_local.exporting.source import SessionHead, Source

_PIECE = 2000  # errors a read
_ERRORS = """
SELECT e.seq, e.trigger_id, e.init_us FROM events e INDEXED BY errors_by_time
WHERE e.session = ? AND e.kind = 'errors' AND e.trigger_id IS NOT NULL AND e.init_us >= ? AND e.seq <= ?
  AND (e.init_us > ? OR e.seq > ?)
  AND EXISTS (SELECT 1 FROM events t WHERE t.session = e.session AND t.id = e.trigger_id AND t.kind <> 'errors')
ORDER BY e.init_us, e.seq LIMIT ?
"""


class Triggers:
    """The errors of a session that name an event of it."""

    def __init__(self, kept: sqlite3.Connection) -> None:
        self._kept = kept

    def errors_of(self, event_id: bytes) -> list[int]:
        """The errors that name this event, in the order of commits."""
        found = self._kept.execute("SELECT error FROM named WHERE event = ? ORDER BY error", (event_id,))
        return [row[0] for row in found.fetchall()]

    def is_told(self, error: int) -> bool:
        """Whether an error is told with the event that it names."""
        return self._kept.execute("SELECT 1 FROM named WHERE error = ?", (error,)).fetchone() is not None


@contextmanager
def triggers(source: Source, head: SessionHead) -> Iterator[Triggers]:
    """What the errors of a session name, for as long as the block takes."""
    kept = sqlite3.connect("", isolation_level=None)
    try:
        kept.execute("CREATE TABLE named (error INTEGER PRIMARY KEY, event BLOB NOT NULL)")
        kept.execute("CREATE INDEX named_by_event ON named (event)")
        kept.execute("BEGIN")
        for rows in _read(source, head):
            kept.executemany("INSERT OR IGNORE INTO named VALUES (?, ?)", [tuple(row)[:2] for row in rows])
        yield Triggers(kept)
    finally:
        kept.close()


def _read(source: Source, head: SessionHead) -> Iterator[list[sqlite3.Row]]:
    at, seq = -(1 << 63), 0
    while True:
        values = (head.seq, at, head.last, at, seq, _PIECE)
        rows = source.connection.execute(_ERRORS, values)
        found = rows.fetchall()
        yield found
        if len(found) < _PIECE:
            return
        at, seq = found[-1]["init_us"], found[-1]["seq"]
