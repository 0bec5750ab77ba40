"""Requests with events, in the ledger: written before they are sent, closed by what is proven.

`done` is set for events only after a clean answer or a look at what the server holds; an answer code alone proves
neither that they are there nor that they are not.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agentops_sync.client import Outcome, Verdict
from agentops_sync.deliveries import seconds_us, set_delivery
from agentops_sync.ledger import Ledger
from agentops_sync.timing import Moment, Timing
from agentops_sync.trials import Trials
from agentops_sync.wire import KINDS

BATCH = 25  # events a request at most
SINGLE_TRIES = 5  # refusals of a single event, in the same way, before it is given up

_BEGIN = """
INSERT INTO batches (target, session, kind, policy, events, bytes, sent_us, sent_mono_us, boot, errors_before, keys)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
# All events of a request in one statement: recorders wait as long as this lasts.
_FLY = """
UPDATE uploads SET state = 'flying', batch = ?
WHERE target = ? AND event IN (SELECT value FROM json_each(?)) AND state = 'pending'
"""
_OPEN = """
SELECT id, session, kind, events, sent_us, sent_mono_us, boot, errors_before, keys, manner, outcome
FROM batches WHERE target = ? AND session = ? AND state = 'sent' ORDER BY id
"""
_CLOSE = "UPDATE batches SET state = ?, outcome = ?, done_us = ? WHERE id = ?"
_LAND = """
UPDATE uploads SET state = ?
WHERE target = ? AND event IN (SELECT value FROM json_each(?)) AND batch = ? AND state = 'flying'
"""
_LANDED = "DELETE FROM attempts WHERE target = ? AND event IN (SELECT value FROM json_each(?))"
_ATTEMPT = """
SELECT tries, most, alone, manner, first_us, accepted FROM attempts WHERE target = ? AND event = ?
"""
_TRIED = """
INSERT OR REPLACE INTO attempts (target, event, tries, most, alone, manner, words, first_us, accepted, retry_us)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_BURY = "INSERT OR REPLACE INTO dead_letters (target, event, at_us, reason, words) VALUES (?, ?, ?, ?, ?)"
_ACCEPTED = "UPDATE targets SET accepted = accepted + 1, progress_us = ?, last_error = NULL WHERE id = ?"
_REFUSED_ALONE = """
SELECT count(*), min(a.first_us) FROM attempts a JOIN uploads u ON u.target = a.target AND u.event = a.event
WHERE a.target = ? AND u.kind = ? AND u.state = 'pending' AND a.alone > 0 AND a.manner LIKE '500%'
"""
_ACCEPTED_SINCE = """
SELECT 1 FROM batches
WHERE target = ? AND state = 'ok' AND kind IN (SELECT value FROM json_each(?)) AND done_us >= ? LIMIT 1
"""
_PARK = """
INSERT INTO parked (target, what, name, since_us, retry_us, reason) VALUES (?, 'kind', ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET retry_us = excluded.retry_us, reason = excluded.reason
"""
_IS_PARKED = "SELECT 1 FROM parked WHERE target = ? AND what = 'kind' AND name = ?"
_UNPARK = "DELETE FROM parked WHERE target = ? AND what = 'kind' AND name = ?"
_RETRY_KIND = """
UPDATE attempts SET retry_us = 0, alone = 0
WHERE target = ? AND EXISTS (SELECT 1 FROM uploads u WHERE u.target = attempts.target AND u.event = attempts.event
                             AND u.kind = ? AND u.state = 'pending')
"""
_KIND_SIZE = """
SELECT coalesce(sum(json_array_length(events)), 0) FROM (
    SELECT events FROM batches WHERE session = ? AND kind = ? AND target = ? AND state IN ('ok', 'settled') LIMIT 1000)
"""
_TAKEN = _KIND_SIZE.replace("IN ('ok', 'settled')", "= 'ok'")
_HERE = "SELECT seq FROM events WHERE seq IN (SELECT value FROM json_each(?))"
# Session by session: ids are unique within one, so that there is no index over all of them.
_HELD_ELSEWHERE = """
SELECT 1 FROM sessions s CROSS JOIN events e ON e.session = s.seq
WHERE e.id = (SELECT id FROM events WHERE seq = ?) AND e.seq <> ? LIMIT 1
"""


@dataclass(frozen=True)
class Batch:
    """A request whose events are not settled.

    Attributes:
        events: their rows.
        errors_before: what the server had counted just before; None: not asked.
        keys: a digest of each error as it was sent.
        manner: how it was refused; None: nothing was heard.
    """

    id: int
    session: int
    kind: str
    events: list[int]
    sent: Moment
    errors_before: int | None
    keys: list[str]
    manner: str | None
    outcome: str | None


class Batches:
    """The rows of `batches`, `uploads`, `attempts` and `dead_letters` of one target."""

    def __init__(self, ledger: Ledger, timing: Timing) -> None:
        self._ledger = ledger
        self._timing = timing
        self.trials = Trials(timing)

    def open_of(self, session: int) -> list[Batch]:
        """The requests of a session whose events are not settled."""
        values = (self._ledger.target, session)
        rows = self._ledger.read(lambda connection: connection.execute(_OPEN, values).fetchall())
        return [
            Batch(
                number,
                owner,
                kind,
                json.loads(events),
                Moment(*sent),
                before,
                json.loads(keys or "[]"),
                manner,
                outcome,
            )
            for number, owner, kind, events, *sent, before, keys, manner, outcome in rows
        ]

    def taken(self, session: int, kind: str) -> int:
        """How many events of a kind the server has certainly taken, counted up to some thousands."""
        values = (session, kind, self._ledger.target)
        return int(self._ledger.read(lambda connection: connection.execute(_TAKEN, values).fetchone()[0]))

    def sent_already(self, session: int, kind: str) -> int:
        """How many events of a kind the server may hold, counted up to some thousands."""
        values = (session, kind, self._ledger.target)
        return int(self._ledger.read(lambda connection: connection.execute(_KIND_SIZE, values).fetchone()[0]))

    def begin(
        self, session: int, kind: str, policy: str, events: Sequence[int], size: int, now: Moment,
        errors_before: int | None = None, keys: Sequence[str] = (),
    ) -> Batch:  # fmt: skip
        """Writes down that events are about to be sent. Before the first byte."""
        target = self._ledger.target
        sent = json.dumps(list(events))
        row = (
            target, session, kind, policy, sent, size, *now, errors_before,
            json.dumps(list(keys)) if keys else None,
        )  # fmt: skip
        with self._ledger.transaction() as connection:
            number = int(connection.execute(_BEGIN, row).lastrowid or 0)
            connection.execute(_FLY, (number, target, sent))
        return Batch(number, session, kind, list(events), now, errors_before, list(keys), None, None)

    def accepted(self, batch: Batch, now: Moment) -> None:
        """The server has said so in the one way that means it."""
        target = self._ledger.target
        with self._ledger.transaction() as connection:
            connection.execute(_CLOSE, ("ok", Verdict.OK.value, now.wall_us, batch.id))
            _land(connection, target, batch, batch.events, "done")
            connection.execute(_ACCEPTED, (now.wall_us, target))
            unparked = connection.execute(_UNPARK, (target, batch.kind)).rowcount
            if unparked:
                connection.execute(_RETRY_KIND, (target, batch.kind))
            if self.trials.accepted(batch.kind) or unparked:
                connection.execute("UPDATE deliveries SET next_us = 0 WHERE target = ? AND work", (target,))
            set_delivery(connection, target, batch.session, "failures = 0, last_error = NULL")

    def void(self, batch: Batch, outcome: Outcome, now: Moment) -> None:
        """The server has certainly done nothing with it."""
        target = self._ledger.target
        with self._ledger.transaction() as connection:
            connection.execute(_CLOSE, ("void", str(outcome), now.wall_us, batch.id))
            _land(connection, target, batch, batch.events, "pending")
            _forget_removed(connection, target, batch)
            if outcome.verdict is Verdict.TOO_LARGE:
                self._halve(connection, batch, outcome, now)

    def heard(self, batch: Batch, outcome: Outcome) -> None:
        """What came back leaves open what the server did with the events."""
        manner = outcome.manner if outcome.verdict is Verdict.ANSWERED else None
        with self._ledger.transaction() as connection:
            connection.execute(
                "UPDATE batches SET manner = ?, outcome = ? WHERE id = ?", (manner, str(outcome), batch.id)
            )

    def wait_anew(self, batch: Batch, now: Moment) -> None:
        """The wall clock was set back: how long it has been since cannot be told."""
        with self._ledger.transaction() as connection:
            connection.execute(
                "UPDATE batches SET sent_us = ?, sent_mono_us = ?, boot = ? WHERE id = ?", (*now, batch.id)
            )

    def settle(
        self, batch: Batch, now: Moment, done: Iterable[int] = (), absent: Iterable[int] = (),
        unclear: Iterable[int] = (), uncertain: Iterable[int] = (),
    ) -> None:  # fmt: skip
        """What the server holds has been looked at.

        Args:
            done: events that are there.
            absent: events that are not.
            unclear: events that cannot be seen there, but may be sent again, alone: their id tells whether they are.
            uncertain: errors that cannot be seen, and have no id that would tell.
        """
        target = self._ledger.target
        with self._ledger.transaction() as connection:
            connection.execute(_CLOSE, ("settled", batch.outcome, now.wall_us, batch.id))
            _land(connection, target, batch, done, "done")
            _land(connection, target, batch, uncertain, "uncertain")
            here = _forget_removed(connection, target, batch)
            for event in here.intersection(absent):
                self._absent(connection, batch, event, now)
            if absent and (batch.manner or "").startswith("500") and not self._is_taken(connection, batch.kind, now):
                self.trials.refused(batch.kind, batch.session)
            for event in here.intersection(unclear):
                _land(connection, target, batch, [event], "pending")
                tries, *_ = _attempt(connection, target, event)
                row = (target, event, tries + 1, 1, 0, None, batch.outcome, None, None, 0)
                connection.execute(_TRIED, row)
            set_delivery(connection, target, batch.session, "work = work + 1")

    def is_held_elsewhere(self, event: int) -> bool:
        """Whether another session here has an event of the same id: then that it is there proves nothing."""
        return bool(self._ledger.read(lambda c: c.execute(_HELD_ELSEWHERE, (event, event)).fetchone()))

    # What is not there though it was sent ----------------------------------------------------------------------------

    def _absent(self, connection: sqlite3.Connection, batch: Batch, event: int, now: Moment) -> None:
        target = self._ledger.target
        _land(connection, target, batch, [event], "pending")
        tries, most, alone, manner, first_us, accepted = _attempt(connection, target, event)
        tries += 1
        retry_us = 0
        size = len(batch.events)
        words = batch.outcome or "nothing was heard"
        if connection.execute(_IS_PARKED, (target, batch.kind)).fetchone():
            # It was the canary: that it is refused tells of the kind, not of the event, however often that happens.
            connection.execute(_TRIED, (target, event, tries, most, alone, manner, words, first_us, accepted, 0))
            return
        if size > 1 and tries >= 2:
            most = min(most, max(1, size // 5))
        if size == 1:
            most = 1
        if size == 1 and batch.manner is not None:
            if batch.manner != manner:
                alone, manner, first_us = 0, batch.manner, now.wall_us
                accepted = _accepted_so_far(connection, target)
            alone += 1
            if reason := self._hopeless(connection, batch, alone, first_us or 0, accepted or 0, now):
                _bury(connection, target, batch, event, reason, words, now)
                return
            # In between four times the period passes: five refusals within a minute are one bad minute of the server.
            retry_us = now.wall_us + seconds_us(min(self._timing.poison / 4 * 2 ** (alone - 1), self._timing.canary))
            if "23503" in batch.manner:  # its agent is not there after all
                connection.execute(
                    "UPDATE agent_deliveries SET revision_sent = 0 WHERE target = ? AND session = ?",
                    (target, batch.session),
                )
        connection.execute(_TRIED, (target, event, tries, most, alone, manner, words, first_us, accepted, retry_us))
        if size == 1 and manner is not None and manner.startswith("500"):
            self._judge_kind(connection, batch, now)

    def _hopeless(
        self, connection: sqlite3.Connection, batch: Batch, alone: int, first_us: int, accepted: int, now: Moment
    ) -> str | None:
        """Why an event that was refused alone will never be taken; None if it may be yet."""
        code = re.search(r"\b2[23]\w{3}\b", batch.manner or "")
        if code and code[0] == "23505":
            return "the server knows its id from another session or project"
        if code and code[0] != "23503":
            return f"the server cannot store it (SQLSTATE {code[0]})"
        long = now.wall_us - first_us >= seconds_us(self._timing.poison)
        others = _accepted_so_far(connection, self._ledger.target) > accepted
        if alone >= SINGLE_TRIES and long and others:
            return f"refused {alone} times alone, in the same way, while the server accepted others"
        return None

    def _judge_kind(self, connection: sqlite3.Connection, batch: Batch, now: Moment) -> None:
        """Parks a kind of which the server takes nothing: three single events failed, and others did not meanwhile."""
        target, kind = self._ledger.target, batch.kind
        refused, since_us = connection.execute(_REFUSED_ALONE, (target, kind)).fetchone()
        others = json.dumps([other for other in KINDS if other != kind])
        if (
            refused >= 3
            and connection.execute(_ACCEPTED_SINCE, (target, others, since_us)).fetchone()
            and not self._is_taken(connection, kind, now)
        ):
            retry_us = now.wall_us + seconds_us(self._timing.canary)
            reason = f"the server refuses every one: {batch.outcome}"
            connection.execute(_PARK, (target, kind, now.wall_us, retry_us, reason))

    def _is_taken(self, connection: sqlite3.Connection, kind: str, now: Moment) -> bool:
        """Whether the server has taken one of the kind within a day."""
        values = (self._ledger.target, json.dumps([kind]), now.wall_us - seconds_us(86400))
        return connection.execute(_ACCEPTED_SINCE, values).fetchone() is not None

    def _halve(self, connection: sqlite3.Connection, batch: Batch, outcome: Outcome, now: Moment) -> None:
        """Nothing of a request that was too large was stored; its halves may be small enough."""
        target = self._ledger.target
        if len(batch.events) == 1 and _here(connection, batch):
            _bury(connection, target, batch, batch.events[0], "too large for the server", str(outcome), now)
            return
        for event in _here(connection, batch):
            tries, _, *rest = _attempt(connection, target, event)
            manner = (tries, len(batch.events) // 2, *rest[:2], str(outcome), *rest[2:], 0)
            connection.execute(_TRIED, (target, event, *manner))


def _here(connection: sqlite3.Connection, batch: Batch) -> set[int]:
    """The events of a batch that are still in the database."""
    return {row[0] for row in connection.execute(_HERE, (json.dumps(batch.events),)).fetchall()}


def _forget_removed(connection: sqlite3.Connection, target: int, batch: Batch) -> set[int]:
    """Takes events out of the ledger that were removed since they were sent: a row about one would be refused, and
    the rest of the batch never settled. Returns those that are still there."""
    here = _here(connection, batch)
    for event in set(batch.events) - here:
        connection.execute("DELETE FROM uploads WHERE target = ? AND event = ?", (target, event))
    return here


def _attempt(
    connection: sqlite3.Connection, target: int, event: int
) -> tuple[int, int, int, str | None, int | None, int | None]:
    row = connection.execute(_ATTEMPT, (target, event)).fetchone()
    return (0, BATCH, 0, None, None, None) if row is None else row


def _accepted_so_far(connection: sqlite3.Connection, target: int) -> int:
    return int(connection.execute("SELECT accepted FROM targets WHERE id = ?", (target,)).fetchone()[0])


def _land(connection: sqlite3.Connection, target: int, batch: Batch, events: Iterable[int], state: str) -> None:
    landed = json.dumps(list(events))
    connection.execute(_LAND, (state, target, landed, batch.id))
    if state == "done":
        connection.execute(_LANDED, (target, landed))


def _bury(
    connection: sqlite3.Connection, target: int, batch: Batch, event: int, reason: str, words: str, now: Moment
) -> None:
    connection.execute(
        "UPDATE uploads SET state = 'dead' WHERE target = ? AND event = ? AND batch = ?", (target, event, batch.id)
    )
    connection.execute("DELETE FROM attempts WHERE target = ? AND event = ?", (target, event))
    connection.execute(_BURY, (target, event, now.wall_us, reason, words))
