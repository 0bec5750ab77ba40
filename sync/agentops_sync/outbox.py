"""What is there to send: new rows are noted in the ledger, and found again by session and kind.

The recorder pays nothing for this. Events are numbered in the order of their commits, sessions and agents by a revision
that every change raises, so what came since the last look is a range of numbers. It is noted in pieces, because a
transaction here keeps the recorders waiting, and memory must not grow with what waits.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from uuid import UUID, uuid5

from agentops_local import faults
from agentops_local.pricing.catch_up import catch_up
from agentops_sync import wire
from agentops_sync.ledger import Ledger
from agentops_sync.wire import KINDS

_PIECE = 2000  # events noted in one transaction, some milliseconds
_DUE = 64  # sessions looked up at once

_MARKS = "SELECT taken_seq, taken_revision, taken_agent FROM targets WHERE id = ?"
_TOPS = """
SELECT (SELECT max(seq) FROM events), (SELECT max(revision) FROM sessions), (SELECT max(revision) FROM agents)
"""
_NEW_SESSIONS = """
INSERT INTO deliveries (target, session)
SELECT :target, seq FROM sessions WHERE revision > :after AND revision <= :until AND id <> ''
ON CONFLICT DO UPDATE SET work = work + 1, next_us = 0
"""
# An agent's id must be unique on the server, where it is moved to whoever names it last: one that an earlier session
# uses as well gets another there, always the same.
_NEW_AGENTS = """
SELECT a.seq, a.session, a.id, s.id
FROM agents a JOIN sessions s ON s.seq = a.session
WHERE a.revision > :after AND a.revision <= :until AND s.id <> '' ORDER BY a.seq
"""
_TAKEN = "SELECT 1 FROM agent_deliveries WHERE target = ? AND id = ? AND agent <> ?"
_NOTE_AGENT = """
INSERT INTO agent_deliveries (target, agent, session, id) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
# An agent may come to a session, or change its name, without an event or a change of the session's row.
_WAKE_FOR_AGENT = """
INSERT INTO deliveries (target, session) VALUES (?, ?) ON CONFLICT DO UPDATE SET work = work + 1, next_us = 0
"""
_NEW_EVENTS = """
INSERT OR IGNORE INTO uploads (target, event, session, kind)
SELECT :target, e.seq, e.session, CASE WHEN e.kind IN ('llms', 'tools', 'errors') THEN e.kind ELSE 'actions' END
FROM events e JOIN sessions s ON s.seq = e.session
WHERE e.seq > :after AND e.seq <= :until AND s.id <> ''
"""
# Also sessions whose row has not changed: they have something to do again.
_WAKE = """
INSERT INTO deliveries (target, session)
SELECT DISTINCT :target, e.session FROM events e JOIN sessions s ON s.seq = e.session
WHERE e.seq > :after AND e.seq <= :until AND s.id <> ''
ON CONFLICT DO UPDATE SET work = work + 1, next_us = 0
"""
_SET_MARKS = "UPDATE targets SET taken_seq = ?, taken_revision = ?, taken_agent = ? WHERE id = ?"

_DUE_SESSIONS = """
SELECT session FROM deliveries WHERE target = ? AND work AND max(retry_us, next_us) <= ?
ORDER BY max(retry_us, next_us) LIMIT ?
"""
_NEXT = "SELECT min(max(retry_us, next_us)) FROM deliveries WHERE target = ? AND work AND max(retry_us, next_us) > ?"
# The index is named in what follows: SQLite takes it for the primary key's equal, and that would be read from the first
# event on. A look for each kind: to group what is pending would read all of it before each request.
_KINDS = """
SELECT k.value, (SELECT min(event) FROM uploads INDEXED BY uploads_unsent
                 WHERE target = :target AND session = :session AND kind = k.value AND state = 'pending')
FROM json_each(:kinds) k
"""
_PICK = """
SELECT u.event, coalesce(a.most, 25), coalesce(a.retry_us, 0)
FROM uploads u INDEXED BY uploads_unsent LEFT JOIN attempts a ON a.target = u.target AND a.event = u.event
WHERE u.target = :target AND u.session = :session AND u.kind = :kind AND u.state = 'pending'
  AND coalesce(a.retry_us, 0) <= :now
ORDER BY u.event LIMIT 25
"""
_LATER = """
SELECT min(a.retry_us)
FROM uploads u INDEXED BY uploads_unsent JOIN attempts a ON a.target = u.target AND a.event = u.event
WHERE u.target = ? AND u.session = ? AND u.kind = ? AND u.state = 'pending'
"""
_PROGRESS = """
SELECT count(*) FILTER (WHERE state IN ('pending', 'flying')), count(*) FROM uploads WHERE target = ?
"""
# One that was never refused tells more of the kind than one that was.
_CANARY = """
SELECT u.event
FROM uploads u INDEXED BY uploads_unsent LEFT JOIN attempts a ON a.target = u.target AND a.event = u.event
WHERE u.target = ? AND u.session = ? AND u.kind = ? AND u.state = 'pending'
ORDER BY coalesce(a.tries, 0), u.event DESC LIMIT 1
"""


@dataclass(frozen=True)
class Due:
    """Sessions that may be served now.

    Attributes:
        sessions: their numbers, the most patient first.
        next_us: when the next of the others is due; None if none waits.
    """

    sessions: list[int]
    next_us: int | None


class Outbox:
    """What a ledger's target has not got yet."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def take(self) -> bool:
        """Notes a piece of what is new; whether there was anything."""
        target = self._ledger.target
        marks, tops = self._ledger.read(
            lambda connection: (
                connection.execute(_MARKS, (target,)).fetchone(),
                connection.execute(_TOPS).fetchone(),
            )
        )
        seq, revision, agent = (max(mark, top or 0) for mark, top in zip(marks, tops, strict=True))
        if (seq, revision, agent) == marks:
            return False
        until = min(seq, marks[0] + _PIECE)
        with self._ledger.transaction() as connection:
            connection.execute(_NEW_SESSIONS, {"target": target, "after": marks[1], "until": revision})
            _take_agents(connection, target, marks[2], agent)
            piece = {"target": target, "after": marks[0], "until": until}
            connection.execute(_NEW_EVENTS, piece)
            connection.execute(_WAKE, piece)
            connection.execute(_SET_MARKS, (until, revision, agent, target))
        return True

    def catch_up(self) -> None:
        """Notes all that is there now, in pieces. What is recorded meanwhile is left for later."""
        target = self._ledger.target
        top = self._ledger.read(lambda connection: connection.execute(_TOPS).fetchone()[0]) or 0
        while self._ledger.read(lambda connection: connection.execute(_MARKS, (target,)).fetchone()[0]) < top:
            if not self.take():
                return

    def due(self, now_us: int) -> Due:
        """The sessions that may be served now."""
        target = self._ledger.target

        def look(connection: sqlite3.Connection) -> Due:
            rows = connection.execute(_DUE_SESSIONS, (target, now_us, _DUE)).fetchall()
            return Due([row[0] for row in rows], connection.execute(_NEXT, (target, now_us)).fetchone()[0])

        return self._ledger.read(look)

    def kinds(self, session: int) -> list[str]:
        """The kinds of events that a session has to send, the one with the oldest event first."""
        values = {"target": self._ledger.target, "session": session, "kinds": json.dumps(KINDS)}
        rows = self._ledger.read(lambda connection: connection.execute(_KINDS, values).fetchall())
        return [kind for first, kind in sorted((first, kind) for kind, first in rows if first is not None)]

    def pick(self, session: int, kind: str, now_us: int) -> list[int]:
        """The next events of a kind that may travel together, at most 25, in their order."""
        values = {"target": self._ledger.target, "session": session, "kind": kind, "now": now_us}
        rows = self._ledger.read(lambda connection: connection.execute(_PICK, values).fetchall())
        together: list[int] = []
        room = 25
        for event, most, _ in rows:
            room = min(room, most)
            if len(together) >= room:
                break
            together.append(event)
        return together

    def rows(self, kind: str, events: list[int]) -> list[sqlite3.Row]:
        """Events as they are to travel: LLM calls with what they cost, if that can be found out."""
        if kind == "llms":
            with faults.contained("pricing LLM calls"):  # what the ledger cannot do is told by what comes next
                catch_up(self._ledger, events=events)
        return self._ledger.read(lambda connection: wire.rows(connection, events))

    def canary(self, session: int, kind: str) -> list[int]:
        """The one event by which it is found out whether the server takes a kind by now."""
        values = (self._ledger.target, session, kind)
        return [row[0] for row in self._ledger.read(lambda connection: connection.execute(_CANARY, values).fetchall())]

    def progress(self) -> tuple[int, int]:
        """How many events are settled, of how many."""
        values = (self._ledger.target,)
        row = self._ledger.read(lambda connection: connection.execute(_PROGRESS, values).fetchone())
        return int(row[1] - row[0]), int(row[1])

    def later(self, session: int, kind: str) -> int | None:
        """When the first of the events of a kind that have to wait may be sent again; None if none has to."""
        values = (self._ledger.target, session, kind)
        return self._ledger.read(  # type: ignore[no-any-return]  # as sqlite3 gives it
            lambda connection: connection.execute(_LATER, values).fetchone()[0]
        )


def _take_agents(connection: sqlite3.Connection, target: int, after: int, until: int) -> None:
    rows = connection.execute(_NEW_AGENTS, {"target": target, "after": after, "until": until}).fetchall()
    for number, session, agent_id, session_id in rows:
        taken = connection.execute(_TAKEN, (target, agent_id, number)).fetchone()
        there = str(uuid5(UUID(session_id), agent_id)) if taken else agent_id
        connection.execute(_NOTE_AGENT, (target, number, session, there))
        connection.execute(_WAKE_FOR_AGENT, (target, session))
