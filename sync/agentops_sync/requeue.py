"""A person's decision to send again what the daemon has given up, or does not dare to send."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from agentops_sync.ledger import Ledger

_EVENTS = """
UPDATE uploads SET state = 'pending' WHERE target = :target AND state = :state
AND (:session IS NULL OR session = :session)
"""
_FORGET = """
DELETE FROM {} WHERE target = :target AND (:session IS NULL OR event IN
    (SELECT event FROM uploads WHERE target = :target AND session = :session))
"""
_SESSIONS = """
UPDATE deliveries SET state = 'absent', reason = NULL, rounds = 0, failures = 0, revision_sent = 0, ended_sent = 0
WHERE target = :target AND state IN ('conflict', 'parked') AND (:session IS NULL OR session = :session)
"""
_AGENTS = """
UPDATE agent_deliveries SET revision_sent = 0 WHERE target = :target AND session IN
    (SELECT session FROM deliveries WHERE target = :target AND state IN ('conflict', 'parked'))
"""
_WAKE = """
UPDATE deliveries SET work = work + 1, retry_us = 0, next_us = 0 WHERE target = :target
AND (:session IS NULL OR session = :session)
"""


@dataclass(frozen=True)
class Requeued:
    """How many will be sent again."""

    dead: int
    uncertain: int
    sessions: int
    parked: int


def requeue(ledger: Ledger, session: int | None = None, uncertain: bool = False) -> Requeued:
    """Sends again dead letters, sessions in conflict or parked, and what waits as a whole.

    Args:
        session: only of this one.
        uncertain: also errors of which it cannot be told whether the server has them: those that it has, it will have
            twice.
    """
    values = {"target": ledger.target, "session": session}

    def count(connection: sqlite3.Connection, sql: str, **more: object) -> int:
        return connection.execute(sql, values | more).rowcount

    with ledger.transaction() as connection:
        dead = count(connection, _EVENTS, state="dead")
        for table in ("dead_letters", "attempts"):
            count(connection, _FORGET.format(table))
        doubtful = count(connection, _EVENTS, state="uncertain") if uncertain else 0
        count(connection, _AGENTS)  # a session that is created anew has none of them
        sessions = count(connection, _SESSIONS)
        parked = 0 if session is not None else count(connection, "DELETE FROM parked WHERE target = :target")
        count(connection, _WAKE)
    return Requeued(dead, doubtful, sessions, parked)
