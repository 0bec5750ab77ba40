"""What programs over the public SDK are held to: each event they were told is recorded is there, once, in the session
they said, by the process that said so; and what the rows tell of the processes' ends is true."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from agentops_local.analytics.owners import Status, judge, owners_of
from agentops_local.store.connection import connect_readonly
from tests.reliability.scorecard import Score
from tests.reliability.tools.crash import DB, query

_WHERE = """
SELECT p.id, o.pid, p.session_id FROM payloads p JOIN events e ON e.seq = p.seq JOIN owners o ON o.seq = e.owner
"""


class Ends(NamedTuple):
    """What the rows say of the ends.

    Attributes:
        processes: pid → 'end', 'error' or None; of the last session that the process had a part in.
        sessions: id → what has become of it.
    """

    processes: dict[int, str | None]
    sessions: dict[str, Status]


def keep(said: Iterable[list[str]], score: Score, db: Path | str = DB) -> Ends:
    """Holds programs to the lines `ack PID EVENT SESSION` that they said; the figures go to the scorecard first.

    Returns:
        What the database tells of the ends of its processes and sessions.
    """
    promised = [(line[2], int(line[1]), line[3]) for line in said if line and line[0] == "ack"]
    assert promised
    assert query(db, "PRAGMA integrity_check") == [("ok",)]
    stored = query(db, _WHERE)
    missing = {event for event, *_ in promised} - {row[0] for row in stored}
    doubled = len(stored) - len({row[0] for row in stored})
    score.add(len(promised), lost=len(missing), doubled=doubled)
    assert not missing, f"{len(missing)} of {len(promised)} acknowledged events are lost"
    assert doubled == 0
    astray = set(promised) - set(stored)
    assert not astray, f"{len(astray)} events under another process or session, such as {astray.pop()}"
    assert query(db, "SELECT * FROM losses") == []
    return ends(db)


def ends(db: Path | str = DB) -> Ends:
    """What the database tells of the ends of its processes and sessions."""
    processes: dict[int, str | None] = {}
    sessions: dict[str, Status] = {}
    connection = connect_readonly(Path(db))
    try:
        for seq, session, end_us in connection.execute(
            "SELECT seq, id, end_us FROM sessions WHERE id <> ''"
        ).fetchall():
            owners = owners_of(connection, seq)
            processes.update((owner.identity.pid, owner.exit) for owner in owners)
            sessions[session] = judge(end_us, owners)
    finally:
        connection.close()
    return Ends(processes, sessions)
