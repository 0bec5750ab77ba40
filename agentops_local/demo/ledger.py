"""The ledger: the ids of the events whose `record()` has returned, kept by the programs themselves, outside of the
database. At the end each of them must be in the database, once.

An id is written by one `write` to a file opened for appending: like the event itself, it survives the sudden death of
its process. A process killed in between leaves an event that is stored and was never acknowledged: that is no fault.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from agentops_local.event import ErrorEvent, Event
from agentops_local.session import Session
from agentops_local.store.connection import connect_readonly


class Ledger:
    """The ledger of one process.

    Args:
        folder: where the ledgers of all processes lie.
        told: called after each acknowledgement with their number so far.
    """

    def __init__(self, folder: Path, told: Callable[[int], None] | None = None) -> None:
        folder.mkdir(exist_ok=True)
        path = folder / f"{os.getpid()}.ids"
        self._file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        self._told = told
        self._count = 0

    def watch(self, session: Session) -> None:
        """Writes down the events of a session from here on. The decorators record by `session.record` as well."""
        record = session.record

        def acknowledged(event: Event | ErrorEvent, flush_now: bool = False) -> None:
            record(event, flush_now)
            os.write(self._file, f"{session.session_id} {event.id}\n".encode())
            self._count += 1
            if self._told is not None:
                self._told(self._count)

        session.record = acknowledged  # type: ignore[method-assign]


class Balance(NamedTuple):
    """The ledgers and the database, compared.

    Attributes:
        acknowledged: events whose `record()` returned.
        stored: those of them that are in the database.
        lost: those that are not.
        doubled: rows beyond the first of any one event.
        unacknowledged: events in the database whose process died before it could write down that they are.
    """

    acknowledged: int
    stored: int
    lost: int
    doubled: int
    unacknowledged: int


def entries(path: Path) -> list[tuple[str, UUID]]:
    """Session and event of each entry of one ledger."""
    pairs = (line.split() for line in path.read_text(encoding="ascii").splitlines())
    return [(session, UUID(event)) for session, event in pairs]


def compare(folder: Path, database: Path) -> Balance:
    """Compares all ledgers with the database, event by event."""
    promised = {event for path in folder.glob("*.ids") for _, event in entries(path)}
    with closing(connect_readonly(database)) as connection:
        rows = Counter(UUID(bytes=row[0]) for row in connection.execute("SELECT id FROM events"))
    stored = promised & rows.keys()
    return Balance(
        acknowledged=len(promised),
        stored=len(stored),
        lost=len(promised) - len(stored),
        doubled=rows.total() - len(rows),
        unacknowledged=len(rows.keys() - promised),
    )
