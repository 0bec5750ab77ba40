"""The processes of a session, and what they tell about a session that nobody ended."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from agentops_local.process import Liveness, ProcessIdentity, liveness

_OWNERS = """
SELECT pid, started, boot, host, program, start_us, end_us, exit FROM owners WHERE session = ? ORDER BY seq
"""
_OPEN = """
SELECT o.pid, o.started, o.boot, o.host, o.program, o.start_us, o.end_us, o.exit, s.id, s.end_us
FROM owners o JOIN sessions s ON s.seq = o.session
WHERE o.end_us IS NULL AND s.id <> '' ORDER BY o.seq
"""


class Status(str, Enum):
    """What has become of a session."""

    ENDED = "ended"  # somebody said how it ended
    RUNNING = "running"  # nobody did, and one of its processes lives
    DIED = "died"  # nobody did, and none of its processes lives
    UNKNOWN = "unknown"  # nobody did, and from here its processes cannot be seen (another machine, a container)


@dataclass(frozen=True)
class Owner:
    """A process that contributed to a session.

    Attributes:
        identity: which process it is.
        host, program: where it ran, and what; None if that is not recorded.
        start_us, end_us: when it joined, and when it said goodbye.
        exit: 'end' or 'error'; None if it never said goodbye.
    """

    identity: ProcessIdentity
    host: str | None
    program: str | None
    start_us: int
    end_us: int | None
    exit: str | None

    def life(self) -> Liveness:
        """Whether the process may still record into the session: one that said goodbye does not."""
        return Liveness.DEAD if self.end_us is not None else liveness(self.identity, self.host)


def owners_of(connection: sqlite3.Connection, session: int) -> list[Owner]:
    """The processes of a session, in the order in which they joined."""
    return [_owner(row) for row in connection.execute(_OWNERS, (session,)).fetchall()]


def open_owners(connection: sqlite3.Connection) -> list[tuple[Owner, str, bool]]:
    """Every process that has not said goodbye, with the id of its session and whether that has ended."""
    found = []
    for *owner, session_id, session_end_us in connection.execute(_OPEN).fetchall():
        found.append((_owner(owner), session_id, session_end_us is not None))
    return found


def judge(end_us: int | None, owners: Sequence[Owner]) -> Status:
    """What has become of a session with this end and these processes."""
    if end_us is not None:
        return Status.ENDED
    lives = {owner.life() for owner in owners}
    if Liveness.ALIVE in lives:
        return Status.RUNNING
    if Liveness.UNKNOWN in lives or not owners:
        return Status.UNKNOWN
    return Status.DIED


def _owner(row: Iterable[Any]) -> Owner:
    pid, started, boot, host, program, start_us, end_us, exit_ = row
    return Owner(ProcessIdentity(pid, started, boot), host, program, start_us, end_us, exit_)
