"""How far the upload has come, by the ledger that agentops-sync keeps in the database."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from errno import EACCES
from pathlib import Path
from typing import NamedTuple

from agentops_local.analytics.finding import Finding, Level
from agentops_local.analytics.reading import iso

# The beginning of the file that holds room on the disk for the ledger; the number is the most that it ever held.
RESERVE_HEAD = b"""agentops-sync keeps this room for its notes: without them nothing can be uploaded from a full disk.
The file may be deleted, and is made anew when there is room. AGENTOPS_SYNC_RESERVE=0 forbids it.
whole: %d bytes
"""

_STUCK_AFTER = 15 * 60 * 1_000_000  # µs without progress, though there is something to send and nothing forbids it

_TARGETS = """
SELECT t.url, t.progress_us, t.looked_us, t.retry_us, t.failures, t.last_error,
       (SELECT count(*) FROM uploads u WHERE u.target = t.id AND u.state IN ('pending', 'flying'))
       + (SELECT count(*) FROM events e WHERE e.seq > t.taken_seq AND e.session IN
              (SELECT seq FROM sessions WHERE id <> '')) AS waiting,
       (SELECT count(*) FROM uploads u WHERE u.target = t.id AND u.state IN ('dead', 'uncertain')) AS given_up,
       (SELECT count(*) FROM uploads u WHERE u.target = t.id AND u.state = 'done') AS sent,
       (SELECT min(max(d.retry_us, d.next_us)) FROM deliveries d WHERE d.target = t.id AND d.work) AS due_us
FROM targets t ORDER BY t.id
"""


@dataclass(frozen=True)
class Upload:
    """How far a database has come at one server.

    Attributes:
        waiting, sent, given_up: events to be sent, sent, and not sent again (dead or uncertain).
        progress_us: when the server last accepted something.
        looked_us: when everything that could be sent had been.
        retry_us: until when nothing is sent, because the server cannot be reached; None: it can.
        due_us: when the next session may be served; None: none waits.
    """

    url: str
    waiting: int
    sent: int
    given_up: int
    progress_us: int | None
    looked_us: int | None
    retry_us: int | None
    due_us: int | None
    last_error: str | None

    def is_stuck(self, now_us: int) -> bool:
        """Whether it should have come further by now: a daemon that lives need not be one that works."""
        if not self.waiting or self.retry_us is not None or self.due_us is None:
            return False
        last = max(self.progress_us or 0, self.looked_us or 0, self.due_us)
        return now_us - last > _STUCK_AFTER


def uploads(connection: sqlite3.Connection) -> list[Upload]:
    """How far the database has come, for each server that it was ever uploaded to."""
    return [
        Upload(
            row["url"], row["waiting"], row["sent"], row["given_up"], row["progress_us"], row["looked_us"],
            row["retry_us"] if row["failures"] else None, row["due_us"], row["last_error"],
        )
        for row in connection.execute(_TARGETS).fetchall()
    ]  # fmt: skip


def is_served(path: Path) -> bool:
    """Whether an agentops-sync serves a database now: it holds a lock as long as it lives."""
    from filelock import FileLock, Timeout

    file = lock_file(path)
    if not file.exists():
        return False
    lock = FileLock(file, mode=0o600)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def lock_file(path: Path) -> Path:
    """The file whose lock means that a database is served. Not the database: SQLite's own locks would be lost when a
    second descriptor of it is closed."""
    return path.with_name(f"{path.name}.sync.lock")


class Reserved(NamedTuple):
    """The room that is kept for the ledger on a full disk.

    Attributes:
        size: bytes that are left.
        whole: what they were before the disk was full.
    """

    size: int
    whole: int

    @property
    def is_in_use(self) -> bool:
        """Whether some of it was given up, and there is no room yet to take it back."""
        return self.size < self.whole

    def words(self) -> str:
        """In a line, for people."""
        if not self.is_in_use:
            return f"{self.size:,} bytes are kept for the ledger, should the disk be full"
        given = self.whole - self.size
        return f"the disk was full: of the {self.whole:,} bytes kept for the ledger {given:,} are in use"


def reserve_file(path: Path) -> Path:
    """The file that holds room on the disk for the ledger of a database."""
    return path.with_name(f"{path.name}.sync.reserve")


def open_reserve(path: Path, flags: int = os.O_RDONLY) -> int:
    """A descriptor of the reserve. In a folder like /tmp somebody may have put there a pipe, on which we would wait for
    ever, or another name of a file of ours, which we would cut.

    Raises:
        OSError: it is not there, or not what we would have made.
    """
    for name in ("O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):
        flags |= getattr(os, name, 0)
    descriptor = os.open(path, flags, 0o600)
    info = os.fstat(descriptor)
    if not stat.S_ISREG(info.st_mode) or info.st_nlink > 1:
        os.close(descriptor)
        raise PermissionError(EACCES, "not what agentops-sync would have made", str(path))
    return descriptor


def reserved(path: Path) -> Reserved | None:
    """The room that is kept; None if there is none."""
    try:
        with os.fdopen(open_reserve(reserve_file(path)), "rb") as file:
            whole = re.search(rb"^whole: (\d+)", file.read(len(RESERVE_HEAD) + 20), re.MULTILINE)
            return Reserved(file.seek(0, 2), int(whole[1]) if whole else 0)
    except OSError:
        return None


def upload_findings(connection: sqlite3.Connection, path: Path, now_us: int) -> Iterator[Finding]:
    """What `doctor` says of the upload."""
    yield from _targets(connection, path, now_us)
    room = reserved(path)
    if room is not None:
        level = Level.NOTE if room.is_in_use else Level.FINE
        yield Finding(level, "reserve", room.words(), {"path": str(reserve_file(path)), **room._asdict()})


def _targets(connection: sqlite3.Connection, path: Path, now_us: int) -> Iterator[Finding]:
    found = uploads(connection)
    served = is_served(path)
    who = "agentops-sync is running" if served else "agentops-sync is not running"
    if not found:
        yield Finding(Level.FINE, "upload", f"nothing was ever uploaded; {who}", {"running": served, "targets": []})
    for one in found:
        text = f"{one.url}: {one.sent:,} events sent, {one.waiting:,} waiting; {who}"
        level = Level.FINE
        if one.given_up:
            text += f"; {one.given_up:,} given up or uncertain: agentops-sync status"
            level = Level.NOTE
        if one.retry_us is not None:
            text += f"; it cannot be reached ({one.last_error})"
            level = Level.NOTE
        elif one.waiting and not served:
            level = Level.NOTE
        elif served and one.is_stuck(now_us):
            text += f", but nothing was accepted since {iso(one.progress_us) or 'ever'}"
            level = Level.PROBLEM
        yield Finding(level, "upload", text, {"running": served, **asdict(one)})
