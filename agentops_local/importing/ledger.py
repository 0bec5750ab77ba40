"""What has been uploaded of a session elsewhere, noted in the ledger of the database that it is merged into.

What a machine has sent is not sent again from here: the events that its server has are done here as well, and a request
of which it has heard nothing is one here, to be settled by a look at what the server holds. Since that machine may go
on uploading, what a server holds of such a session is looked at before anything more of it is sent.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field
from typing import Any

from agentops_local.importing.source import Reading

# Which state of an event takes the place of which: what is known is known, wherever it was found out.
_OVER: dict[str, frozenset[str | None]] = {
    "done": frozenset({None, "pending", "flying", "uncertain", "dead"}),
    "flying": frozenset({None, "pending"}),
    "uncertain": frozenset({None, "pending"}),
    "dead": frozenset({None}),  # not of what is pending: somebody may have requeued it
}

_TARGETS = """
SELECT t.id, t.url, d.state, d.reason, d.sent_us, d.sent_mono_us, d.boot, d.created, d.ended_sent, d.no_stats,
       d.revision_sent >= s.revision
FROM targets t JOIN deliveries d ON d.target = t.id JOIN sessions s ON s.seq = d.session WHERE d.session = ?
"""
_UPLOADS = """
SELECT e.id, u.kind, u.state, u.batch, l.at_us, l.reason, l.words
FROM events e JOIN uploads u ON u.target = :target AND u.event = e.seq
     LEFT JOIN dead_letters l ON l.target = u.target AND l.event = u.event
WHERE e.session = :session AND e.id > :after AND u.state <> 'pending' ORDER BY e.id LIMIT 1000
"""
_OURS = """
SELECT e.seq, u.state FROM events e LEFT JOIN uploads u ON u.target = ? AND u.event = e.seq
WHERE e.session = ? AND e.id = ?
"""
_BATCH = (
    "kind", "policy", "bytes", "sent_us", "sent_mono_us", "boot", "state", "keys", "manner", "outcome", "done_us",
)  # fmt: skip
_BATCH_ROW = f"SELECT id, events, {', '.join(_BATCH)} FROM batches"  # noqa: S608 - our own names
_BATCHES = f"{_BATCH_ROW} WHERE session = ? AND target = ?"
# A request is known by its time and its first event.
_OUR_BATCH = """
SELECT b.id, b.state FROM batches b
WHERE b.session = ? AND b.kind = ? AND b.target = ? AND b.sent_us = ? AND b.sent_mono_us = ? AND b.boot = ?
  AND (SELECT e.id FROM events e WHERE e.seq = json_extract(b.events, '$[0]')) IS ?
"""
_FIRST = "SELECT id FROM events WHERE seq = json_extract(?, '$[0]')"
_NEW_BATCH = f"""
INSERT INTO batches (target, session, events, {", ".join(_BATCH)}) VALUES (?, ?, ?{", ?" * len(_BATCH)})
"""  # noqa: S608 - our own names
_CLOSE = "UPDATE batches SET state = ?, manner = ?, outcome = ?, done_us = ? WHERE id = ?"
_FREE = "UPDATE uploads SET state = 'pending' WHERE target = ? AND batch = ? AND state = 'flying'"
_UPLOAD = """
INSERT INTO uploads (target, event, session, kind, state, batch) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET state = excluded.state, batch = coalesce(excluded.batch, batch)
"""
_DEAD = "INSERT OR REPLACE INTO dead_letters (target, event, at_us, reason, words) VALUES (?, ?, ?, ?, ?)"
_DELIVERY = """
INSERT INTO deliveries (target, session, state, reason, sent_us, sent_mono_us, boot, created, ended_sent, no_stats,
                        revision_sent, found, work)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?)
"""
_SAME_DELIVERY = """
UPDATE deliveries SET found = 1, work = work + 1, next_us = 0, ended_sent = max(ended_sent, ?),
    state = CASE WHEN ? = 'present' AND state IN ('absent', 'creating') THEN 'present' ELSE state END
WHERE target = ? AND session = ?
"""
_AGENTS = """
SELECT a.id, d.id, d.revision_sent >= a.revision FROM agent_deliveries d JOIN agents a ON a.seq = d.agent
WHERE d.target = ? AND d.session = ? AND d.revision_sent > 0
"""
_OUR_AGENT = """
SELECT a.seq, a.revision, d.revision_sent FROM agents a
LEFT JOIN agent_deliveries d ON d.target = ? AND d.agent = a.seq WHERE a.session = ? AND a.id = ?
"""
_AGENT = """
INSERT INTO agent_deliveries (target, agent, session, id, revision_sent) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET id = excluded.id, revision_sent = excluded.revision_sent
"""


@dataclass
class Sent:
    """What another ledger knows of a session at one target, as far as ours knows less.

    Attributes:
        target: its number there.
        url: its endpoint.
        delivery: the session there.
        uploads: its events that are not simply waiting.
        batches: requests that ours does not have, or has as open.
        agents: the id of each here, its id at the target, and whether the target has its name.
    """

    target: int
    url: str
    delivery: tuple[Any, ...]
    uploads: list[tuple[Any, ...]] = field(default_factory=list)
    batches: list[tuple[Any, ...]] = field(default_factory=list)
    agents: list[tuple[Any, ...]] = field(default_factory=list)


def sent(theirs: Reading, ours: sqlite3.Connection, number: int | None) -> list[Sent]:
    """What is to be carried over of a session. Only read, so nobody waits for it.

    Args:
        theirs: the session there.
        ours: a connection to our database.
        number: of the session in ours; None: it is not there yet.
    """
    found = []
    for target, url, *delivery in theirs.connection.execute(_TARGETS, (theirs.number,)).fetchall():
        row = ours.execute("SELECT id FROM targets WHERE url = ?", (url,)).fetchone()
        here = None if row is None else int(row[0])
        one = Sent(target, url, tuple(delivery))
        values = (theirs.number, target)
        batches = theirs.connection.execute(_BATCHES, values).fetchall()
        one.batches = [batch for batch in batches if _is_news(theirs, batch, ours, number, here)]
        one.uploads = _uploads(theirs, target, ours, number, here)
        one.agents = theirs.connection.execute(_AGENTS, (target, theirs.number)).fetchall()
        known = None
        if here is not None and number is not None:
            known = ours.execute(
                "SELECT state FROM deliveries WHERE target = ? AND session = ?", (here, number)
            ).fetchone()
        is_new = known is None and delivery[0] != "absent"
        if one.batches or one.uploads or is_new or (known in (("absent",), ("creating",)) and delivery[0] == "present"):
            found.append(one)
    return found


def _uploads(
    theirs: Reading, target: int, ours: sqlite3.Connection, number: int | None, here: int | None
) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    values = {"target": target, "session": theirs.number, "after": b""}
    while rows := theirs.connection.execute(_UPLOADS, values).fetchall():
        for row in rows:
            known = None if number is None else ours.execute(_OURS, (here, number, row[0])).fetchone()
            if known is None or known[1] in _OVER[row[2]]:
                found.append(row)
        values["after"] = rows[-1][0]
    return found


def _is_news(
    theirs: Reading, batch: tuple[Any, ...], ours: sqlite3.Connection, number: int | None, here: int | None
) -> bool:
    known = _our_batch(ours, number, here, theirs, batch)
    return known is None or (known[1] == "sent" and batch[8] != "sent")


def _our_batch(
    ours: sqlite3.Connection, number: int | None, here: int | None, theirs: Reading, batch: tuple[Any, ...]
) -> tuple[int, str] | None:
    """The number and the state that a request of theirs has in ours; None: it is not there."""
    _, events, kind, _, _, *at = batch[:8]
    first = theirs.connection.execute(_FIRST, (events,)).fetchone()
    values = (number, kind, here, *at, None if first is None else first[0])
    found: tuple[int, str] | None = ours.execute(_OUR_BATCH, values).fetchone()
    return found


class Carrying:
    """Notes, in a transaction, what another ledger knows of a session.

    Args:
        connection: to our database.
        theirs: the session there.
        number: of the session in ours.
        is_new: whether it came with this transaction, so that its row is as it is there.
    """

    def __init__(self, connection: sqlite3.Connection, theirs: Reading, number: int, is_new: bool) -> None:
        self._connection = connection
        self._theirs = theirs
        self._number = number
        self._is_new = is_new

    def carry(self, what: Sent) -> int:
        """Does it; how many events are done by it."""
        execute = self._connection.execute
        execute("INSERT OR IGNORE INTO targets (url) VALUES (?)", (what.url,))
        target = int(execute("SELECT id FROM targets WHERE url = ?", (what.url,)).fetchone()[0])
        self._agents(target, what)
        self._delivery(target, what)
        batches = {batch[0]: self._batch(target, batch) for batch in what.batches}
        done = 0
        for event_id, kind, state, batch, *letter in what.uploads:
            row = execute(_OURS, (target, self._number, event_id)).fetchone()
            if row is None or row[1] not in _OVER[state]:
                continue
            number = batches.get(batch) or self._known_batch(target, batch)
            execute(_UPLOAD, (target, row[0], self._number, kind, state, number))
            if state == "dead" and letter[0] is not None:
                execute(_DEAD, (target, row[0], *letter))
            done += state == "done"
        return done

    def _delivery(self, target: int, what: Sent) -> None:
        execute = self._connection.execute
        state, *rest, is_current = what.delivery
        known = execute("SELECT 1 FROM deliveries WHERE target = ? AND session = ?", (target, self._number)).fetchone()
        if known is not None:
            execute(_SAME_DELIVERY, (rest[-2], state, target, self._number))
            return
        revision = 0
        if is_current and self._is_new:
            (revision,) = execute("SELECT revision FROM sessions WHERE seq = ?", (self._number,)).fetchone()
        work = state not in ("conflict", "parked")
        execute(_DELIVERY, (target, self._number, state, *rest, revision, work))

    def _agents(self, target: int, what: Sent) -> None:
        for agent_id, there, is_current in what.agents:
            row = self._connection.execute(_OUR_AGENT, (target, self._number, agent_id)).fetchone()
            if row is not None and not row[2]:
                revision = row[1] if is_current else 0
                self._connection.execute(_AGENT, (target, row[0], self._number, there, revision))

    def _batch(self, target: int, batch: tuple[Any, ...]) -> int:
        """The number of a request, with the numbers that its events have here; that of one that is gone names none.
        What the server had counted before it proves nothing once others have sent as well."""
        _, events, *values = batch
        state = batch[8]
        execute = self._connection.execute
        known = _our_batch(self._connection, self._number, target, self._theirs, batch)
        if known is None:
            numbers = json.dumps([self._event(event) for event in json.loads(events)])
            return int(execute(_NEW_BATCH, (target, self._number, numbers, *values)).lastrowid or 0)
        if known[1] == "sent" and state != "sent":
            execute(_CLOSE, (state, *values[-3:], known[0]))
            execute(_FREE, (target, known[0]))
        return int(known[0])

    def _event(self, number: int) -> int:
        row = self._theirs.connection.execute("SELECT id FROM events WHERE seq = ?", (number,)).fetchone()
        if row is not None:
            row = self._connection.execute(
                "SELECT seq FROM events WHERE session = ? AND id = ?", (self._number, row[0])
            ).fetchone()
        return -abs(number) if row is None else int(row[0])

    def _known_batch(self, target: int, number: int | None) -> int | None:
        """The number here of a request that was here before."""
        row = (
            None
            if number is None
            else self._theirs.connection.execute(f"{_BATCH_ROW} WHERE id = ?", (number,)).fetchone()
        )
        known = None if row is None else _our_batch(self._connection, self._number, target, self._theirs, row)
        return None if known is None else known[0]
