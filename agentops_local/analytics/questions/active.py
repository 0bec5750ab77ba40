"""What is running now, and what seems to be stuck."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from agentops_local.analytics.owners import Owner, Status, owners_of
from agentops_local.analytics.reading import iso, reading
from agentops_local.analytics.sessions import Summary, summary
from agentops_local.clock import now_us
from agentops_local.process import Liveness
from agentops_local.store.location import find_database

QUIET = 10 * 60  # seconds without an event after which a session is said to be quiet

OPEN = "SELECT id FROM sessions WHERE end_us IS NULL AND id <> '' ORDER BY seq DESC"


@dataclass(frozen=True)
class Active:
    """A session that runs, or may run.

    Attributes:
        session: what it amounts to so far.
        processes: those that may still record into it.
        quiet_s: seconds since anything was heard of it.
        is_quiet: whether that is longer than was asked for: it waits for a long call, or is stuck.
    """

    session: Summary
    processes: list[Owner]
    quiet_s: float
    is_quiet: bool

    def to_json(self) -> dict[str, object]:
        """Everything, with times in ISO 8601."""
        return {
            **self.session.to_json(), "quiet_s": self.quiet_s, "is_quiet": self.is_quiet,
            "processes": [
                {
                    "pid": one.identity.pid, "host": one.host, "program": one.program,
                    "start_timestamp": iso(one.start_us), "liveness": one.life().value,
                }
                for one in self.processes
            ],
        }  # fmt: skip


def active(
    quiet: float = QUIET, limit: int = 0, *, db: Path | str | None = None, now: int | None = None
) -> list[Active]:
    """The sessions that run, or of which it cannot be told from here whether they do; the newest first.

    Args:
        quiet: seconds without an event after which a session is quiet.
        limit: how many at most; 0 for all.
        db: the database; None for that of the project around the working directory.
        now: the time from which is reckoned, in microseconds; the wall clock if not given.

    Raises:
        DatabaseUnusable: there is no database.
    """
    at = now_us() if now is None else now
    with reading(find_database(None if db is None else str(db))) as connection:
        found = (_active(connection, row["id"], quiet, at) for row in connection.execute(OPEN).fetchall())
        meant = (one for one in found if one.session.status in (Status.RUNNING, Status.UNKNOWN))
        return list(islice(meant, limit or None))


def _active(connection: sqlite3.Connection, session_id: str, quiet: float, at: int) -> Active:
    of = summary(connection, session_id)
    processes = [owner for owner in owners_of(connection, of.seq) if owner.life() is not Liveness.DEAD]
    silence = max(0, at - of.last_seen_us) / 1e6
    return Active(of, processes, silence, silence > quiet)
