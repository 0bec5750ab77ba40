"""A session at a target: what the ledger knows of it, and the changes to that."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass

from agentops_sync.ledger import Ledger
from agentops_sync.timing import SECOND, Moment, Timing, pause_us

WITHHELD = "policy: never"  # the reason of a session that may not be uploaded
ROUNDS = 3  # creations after which a session that is still not there is in conflict

_LOAD = """
SELECT s.id, s.revision, s.init_us, s.end_us, s.auto_ended, s.tags, s.key_hash, s.parent_key_hash, s.joined,
       d.state, d.reason, d.rounds, d.sent_us, d.sent_mono_us, d.boot, d.revision_sent, d.created, d.ended_sent,
       d.work, d.failures, d.no_stats, d.found
FROM deliveries d JOIN sessions s ON s.seq = d.session WHERE d.target = ? AND d.session = ? AND s.id <> ''
"""
_AGENTS = """
SELECT d.agent, d.id, a.name, a.revision, d.revision_sent, d.retry_us, d.failures
FROM agent_deliveries d INDEXED BY agent_deliveries_by_session JOIN agents a ON a.seq = d.agent
WHERE d.target = ? AND d.session = ? ORDER BY d.agent
"""
# Not while the server accepts nothing at all: then it is ill, and no session is at fault.
_CONFLICT = """
UPDATE deliveries SET state = 'conflict', work = 0,
    reason = 'the id belongs to another project, or the server refuses the session'
WHERE target = ? AND session = ? AND since_us <= ?
  AND accepted < (SELECT t.accepted FROM targets t WHERE t.id = deliveries.target)
"""
# Open here, not yet told of its end there, and nothing else to do: only a look at its processes tells more.
_RUNNING = """
SELECT d.session FROM deliveries d INDEXED BY deliveries_running JOIN sessions s ON s.seq = d.session
WHERE d.target = ? AND NOT d.ended_sent AND NOT d.work AND s.end_us IS NULL AND NOT s.joined AND d.state = 'present'
"""


@dataclass(frozen=True)
class Delivery:
    """A session's row, and its state at the target.

    Attributes:
        found: whether it was there before anything was sent from here, and what it holds is to be looked at.
        sent: when a creation was sent of which nothing was heard; None if there is none.
        work: a number that every new row of the session raises; 0 when there is nothing to do.
    """

    session: int
    id: str
    revision: int
    init_us: int
    end_us: int | None
    auto_ended: bool
    tags: list[str]
    key_hash: str | None
    parent_key_hash: str | None
    joined: bool
    state: str
    reason: str | None
    rounds: int
    sent: Moment | None
    revision_sent: int
    created: bool
    ended_sent: bool
    work: int
    failures: int
    no_stats: bool
    found: bool

    @property
    def is_owner(self) -> bool:
        """Whether this machine may say how the session is. One that joined it would overwrite what the machine that
        began it says, unless it was the one that made the session there and the program here has ended it."""
        return not self.joined or (self.created and self.end_us is not None and not self.auto_ended)


@dataclass(frozen=True)
class Agent:
    """An agent of a session; `id` is the one it has at the target."""

    number: int
    id: str
    name: str
    revision: int
    revision_sent: int
    retry_us: int
    failures: int


class Deliveries:
    """The rows of `deliveries` and `agent_deliveries` of one target."""

    def __init__(self, ledger: Ledger, timing: Timing) -> None:
        self._ledger = ledger
        self._timing = timing

    def load(self, session: int) -> Delivery | None:
        """A session; None if it has been removed."""
        values = (self._ledger.target, session)
        row = self._ledger.read(lambda connection: connection.execute(_LOAD, values).fetchone())
        if row is None:
            return None
        id, revision, init_us, end_us, auto, tags, key, parent, joined, *rest = row
        state, reason, rounds, sent_us, mono_us, boot, revision_sent, created, ended, work, failures, *flags = rest
        return Delivery(
            session, id, revision, init_us, end_us, bool(auto), json.loads(tags), key, parent, bool(joined), state,
            reason, rounds, None if sent_us is None else Moment(sent_us, mono_us, boot), revision_sent, bool(created),
            bool(ended), work, failures, *map(bool, flags),
        )  # fmt: skip

    def agents(self, session: int) -> list[Agent]:
        """The agents of a session."""
        values = (self._ledger.target, session)
        return [Agent(*row) for row in self._ledger.read(lambda c: c.execute(_AGENTS, values).fetchall())]

    def running(self) -> list[int]:
        """Sessions that nobody has ended, and that have nothing to send."""
        values = (self._ledger.target,)
        return [row[0] for row in self._ledger.read(lambda c: c.execute(_RUNNING, values).fetchall())]

    # Changes --------------------------------------------------------------------------------------------------------

    def creating(self, delivery: Delivery, now: Moment) -> None:
        """The session is about to be created there."""
        self._set(delivery.session, "state = 'creating', sent_us = ?, sent_mono_us = ?, boot = ?", *now)

    def answered(self, delivery: Delivery, words: str, now: Moment) -> None:
        """The server is done with the creation; whether the session is there is to be asked."""
        self._set(delivery.session, "sent_us = NULL, last_error = ?, last_error_us = ?", words, now.wall_us)

    def put_off(self, delivery: Delivery) -> None:
        """The session was not created: nothing was sent."""
        self._set(delivery.session, "state = 'absent', sent_us = NULL")

    def not_created(self, delivery: Delivery, now: Moment, counts: bool) -> None:
        """The session is not there, though its creation was sent; it is tried again later.

        Args:
            counts: the server has answered. After some such rounds, over as long a time as an event may be refused, and
                if the server has accepted something else meanwhile, the session is in conflict.
        """
        target, words = self._ledger.target, "its creation was sent, and it is not there"
        failures, rounds = delivery.failures + 1, delivery.rounds + counts
        pause = pause_us(failures, self._timing)
        with self._ledger.transaction() as connection:
            set_delivery(
                connection, target, delivery.session,
                "state = 'absent', sent_us = NULL, rounds = ?, failures = ?, retry_us = ?, last_error_us = ?, "
                "last_error = coalesce(last_error, ?), "
                "since_us = CASE WHEN rounds = 0 THEN ? ELSE since_us END, accepted = CASE WHEN rounds = 0 "
                "THEN (SELECT accepted FROM targets t WHERE t.id = deliveries.target) ELSE accepted END",
                rounds, failures, now.wall_us + pause, now.wall_us, words, now.wall_us,
            )  # fmt: skip
            if counts and rounds >= ROUNDS:
                connection.execute(_CONFLICT, (target, delivery.session, now.wall_us - seconds_us(self._timing.poison)))

    def present(self, delivery: Delivery, created: bool, revision: int) -> None:
        """The session is there, its row as of a revision (0: what is there is not known)."""
        self._set(
            delivery.session,
            "state = 'present', reason = NULL, sent_us = NULL, rounds = 0, failures = 0, created = max(created, ?), "
            "revision_sent = max(revision_sent, ?), found = max(found, NOT ? AND NOT EXISTS "
            "(SELECT 1 FROM batches b WHERE b.session = deliveries.session AND b.target = deliveries.target))",
            created, revision, created,
        )  # fmt: skip

    def agent_sent(self, agent: Agent) -> None:
        """The agent is there under the name it had."""
        with self._ledger.transaction() as connection:
            connection.execute(
                "UPDATE agent_deliveries SET revision_sent = ?, retry_us = 0, failures = 0 "
                "WHERE target = ? AND agent = ?",
                (agent.revision, self._ledger.target, agent.number),
            )

    def agent_failed(self, delivery: Delivery, agent: Agent, words: str, now: Moment) -> None:
        """The agent was refused: it pauses, ever longer, and with it what needs it."""
        target, failures = self._ledger.target, agent.failures + 1
        with self._ledger.transaction() as connection:
            connection.execute(
                "UPDATE agent_deliveries SET retry_us = ?, failures = ? WHERE target = ? AND agent = ?",
                (now.wall_us + pause_us(failures, self._timing), failures, target, agent.number),
            )
            words = f"agent {agent.name}: {words}"
            set_delivery(connection, target, delivery.session, "last_error = ?, last_error_us = ?", words, now.wall_us)

    def updated(self, delivery: Delivery, ended: bool) -> None:
        """The server has the session's row as it was loaded; without an end again, if a process joined it after that
        end was found."""
        self._set(
            delivery.session,
            "revision_sent = max(revision_sent, ?), ended_sent = ?, failures = 0",
            delivery.revision, ended,
        )  # fmt: skip

    def idle(self, delivery: Delivery) -> None:
        """There is nothing to do, unless something has come since it was loaded."""
        with self._ledger.transaction() as connection:
            connection.execute(
                "UPDATE deliveries SET work = 0, reason = NULL, retry_us = 0, next_us = 0, failures = 0 "
                "WHERE target = ? AND session = ? AND work = ?",
                (self._ledger.target, delivery.session, delivery.work),
            )

    def hold(self, delivery: Delivery, until_us: int, reason: str | None) -> None:
        """Nothing of the session before a moment, for a reason that is no failure of its own."""
        self._set(delivery.session, "retry_us = ?, reason = ?", until_us, reason)

    def wait(self, delivery: Delivery, until_us: int, reason: str) -> None:
        """Nothing of what the session has to send can be sent before a moment; what comes new may be."""
        with self._ledger.transaction() as connection:
            connection.execute(
                "UPDATE deliveries SET next_us = ?, reason = ? WHERE target = ? AND session = ? AND work = ?",
                (until_us, reason, self._ledger.target, delivery.session, delivery.work),
            )

    def withhold(self, delivery: Delivery, reason: str) -> None:
        """Nothing of the session until it changes, or is asked for; unless that has happened since it was loaded."""
        with self._ledger.transaction() as connection:
            connection.execute(
                "UPDATE deliveries SET work = 0, retry_us = 0, reason = ? "
                "WHERE target = ? AND session = ? AND work = ?",
                (reason, self._ledger.target, delivery.session, delivery.work),
            )

    def park(self, delivery: Delivery, reason: str, words: str, now: Moment) -> None:
        """Nothing of the session until somebody requeues it."""
        self._set(
            delivery.session,
            "state = 'parked', work = 0, reason = ?, last_error = ?, last_error_us = ?",
            reason, words, now.wall_us,
        )  # fmt: skip

    def fail(self, delivery: Delivery, words: str, now: Moment) -> None:
        """A failure that touches this session alone: it pauses, ever longer."""
        failures = delivery.failures + 1
        self._set(
            delivery.session,
            "failures = ?, retry_us = ?, last_error = ?, last_error_us = ?",
            failures, now.wall_us + pause_us(failures, self._timing), words, now.wall_us,
        )  # fmt: skip

    def wake(self, session: int) -> None:
        """There may be something to do."""
        self._set(session, "work = work + 1")

    def gone(self, session: int) -> None:
        """The session has been removed from the database: what was left of it here is never due again."""
        self._set(session, "work = 0")

    def wake_all(self) -> None:
        """Every session is looked at again: keys, policies or the target may be others now."""
        with self._ledger.transaction() as connection:
            connection.execute(
                "UPDATE deliveries SET work = work + 1, retry_us = 0, next_us = 0 WHERE target = ? "
                "AND (work OR reason IS NOT NULL) AND state NOT IN ('parked', 'conflict')",
                (self._ledger.target,),
            )

    def without_stats(self, delivery: Delivery) -> None:
        """The server keeps no statistics of the session."""
        if not delivery.no_stats:
            self._set(delivery.session, "no_stats = 1")

    def _set(self, session: int, assignments: str, *values: object) -> None:
        target = self._ledger.target
        with self._ledger.transaction() as connection:
            set_delivery(connection, target, session, assignments, *values)


def set_delivery(connection: sqlite3.Connection, target: int, session: int, assignments: str, *values: object) -> None:
    """Changes a session's row, in a transaction of the caller's."""
    sql = f"UPDATE deliveries SET {assignments} WHERE target = ? AND session = ?"  # noqa: S608 - our own text
    connection.execute(sql, (*values, target, session))


def seconds_us(seconds: float) -> int:
    """Seconds as microseconds."""
    return round(seconds * SECOND)
