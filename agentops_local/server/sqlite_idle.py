"""Sessions of which nothing more has come, in a database of ours: found by a reader, ended in a short transaction.

Only sessions that clients sent: whether a process of this machine lives can be seen. Of open ones only are events read.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

from agentops_local.recorder import ground
from agentops_local.server.sqlite_sessions import UPLOAD, leave, place_of
from agentops_local.server.store import SilentSession

_OPEN = f"""
SELECT s.seq, s.id, s.init_us FROM sessions s
WHERE s.end_us IS NULL AND s.id <> ''
  AND EXISTS (SELECT 1 FROM owners o WHERE o.session = s.seq AND o.pid = 0 AND o.program = '{UPLOAD}')
  AND NOT EXISTS (SELECT 1 FROM owners o WHERE o.session = s.seq AND o.pid <> 0)
"""  # noqa: S608 - our own text
_OPEN_BEFORE = f"{_OPEN} AND s.init_us < ? ORDER BY s.seq"
_STILL_OPEN = f"{_OPEN} AND s.id = ?"
# The ids of most clients grow with time: so the first event looked at is a late one, and mostly the only one.
_LATE = "SELECT 1 FROM events WHERE session = ? AND coalesce(end_us, init_us) >= ? ORDER BY id DESC LIMIT 1"
_LAST = "SELECT max(coalesce(end_us, init_us)) FROM events WHERE session = ?"
_MARK = "SELECT coalesce(max(seq), 0) FROM events"
# The plus keeps it from the index by session: few events are new, and many may be the session's.
_NEW = "SELECT 1 FROM events WHERE seq > ? AND +session = ? LIMIT 1"


def silent(connection: sqlite3.Connection, before_us: int, is_silent: Callable[[str], bool]) -> list[SilentSession]:
    """Sessions that may be over (see `store.Store.silent_sessions`)."""
    (mark,) = connection.execute(_MARK).fetchone()
    found = []
    for session, session_id, init_us in connection.execute(_OPEN_BEFORE, (before_us,)).fetchall():
        if not is_silent(session_id) or connection.execute(_LATE, (session, before_us)).fetchone() is not None:
            continue
        (last_us,) = connection.execute(_LAST, (session,)).fetchone()
        found.append(SilentSession(session_id, init_us if last_us is None else max(init_us, last_us), mark))
    return found


def end(sessions: Sequence[SilentSession], reason: str) -> Callable[[sqlite3.Connection, int], int]:
    """Ends those of the sessions that nobody has ended and that have got no event since they were found."""

    def run(connection: sqlite3.Connection, epoch: int) -> int:
        ended = 0
        for one in sessions:
            found = connection.execute(_STILL_OPEN, (one.session_id,)).fetchone()
            if found is None or connection.execute(_NEW, (one.mark, found[0])).fetchone() is not None:
                continue
            place = place_of(connection, epoch, one.session_id, None)
            leave(connection, place)
            ground.update(
                connection, place, "end_us = ?, end_state = 'Indeterminate', end_state_reason = ?, auto_ended = 1",
                one.last_us, reason,
            )  # fmt: skip
            ended += 1
        return ended

    return run
