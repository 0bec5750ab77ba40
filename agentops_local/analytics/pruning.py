"""Which sessions `prune` erases: those that are over, by age or until the database is small enough."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from agentops_local.analytics.owners import Status, judge, owners_of
from agentops_local.analytics.sessions import summary
from agentops_local.analytics.sweep import Marks
from agentops_local.errors import WrongUse

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_BYTES = {
    "": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
}  # fmt: skip

_ALL = "SELECT seq, id, init_us, end_us FROM sessions WHERE id <> '' ORDER BY seq"
_PAYLOADS = ("params", "returns", "logs", "screenshot", "details", "extra")
_EVENT_BYTES = f"""
SELECT coalesce(sum(250 + {" + ".join(f"coalesce(length(CAST({name} AS BLOB)), 0)" for name in _PAYLOADS)}), 0)
FROM events WHERE session = ?
"""  # noqa: S608 - our own text


@dataclass(frozen=True)
class Candidate:
    """A session that prune may erase, or must keep.

    Attributes:
        over_us: when it ended or, where nobody ended it, when it was last seen.
    """

    seq: int
    id: str
    init_us: int
    over_us: int
    status: Status


@dataclass
class Plan:
    """What is to go.

    Attributes:
        erasable: in which of these states a session may go.
        before_us: those that were over before this moment go; None: age does not matter.
        most: the oldest go until the rest fits into so many bytes; None: size does not matter.
    """

    erasable: frozenset[Status]
    before_us: int | None
    most: int | None

    def make(self, connection: sqlite3.Connection) -> list[Candidate]:
        """The sessions that are to go now, oldest first."""
        rest = candidates(connection)
        going: list[Candidate] = []
        if self.before_us is not None:
            going = [one for one in rest if one.over_us < self.before_us and one.status in self.erasable]
        if self.most is not None:
            gone = {one.seq for one in going}
            going += self._too_large(connection, [one for one in rest if one.seq not in gone], self.most)
        return sorted(going, key=lambda one: one.seq)

    def _too_large(self, connection: sqlite3.Connection, rest: Sequence[Candidate], most: int) -> list[Candidate]:
        """The oldest that must go so that the others fit.

        They are weighed in the order in which they would stay: first those that stay anyway, then the newest. So what
        several share weighs once, for the last of them to go: it is not freed before. What the file holds beside
        content (indexes, what is not filled) is reckoned in proportion, but for what it holds when it is empty; asked
        again after they are gone, it finds more to go if that was too little.
        """
        used = used_bytes(connection)
        if used <= most:
            return []
        order = sorted(rest, key=lambda one: (one.status in self.erasable, -one.seq))
        marks = Marks(connection)
        weights = [_weight(connection, marks, one) for one in order]
        empty = _empty_bytes(connection)
        room = max(0, most - empty) * sum(weights) / max(1, used - empty)
        going = []
        for one, weight in zip(order, weights, strict=True):
            room -= weight
            if room < 0 and one.status in self.erasable:
                going.append(one)
        return going


def candidates(connection: sqlite3.Connection) -> list[Candidate]:
    """All sessions, oldest first."""
    found = []
    for row in connection.execute(_ALL).fetchall():
        over = row["end_us"]
        status = judge(over, [] if over is not None else owners_of(connection, row["seq"]))
        if over is None:
            over = summary(connection, row["id"]).last_seen_us
        found.append(Candidate(row["seq"], row["id"], row["init_us"], over, status))
    return found


def used_bytes(connection: sqlite3.Connection) -> int:
    """The size of what the database holds, free pages left out."""
    names = ("page_count", "freelist_count", "page_size")
    pages, free, size = (int(connection.execute(f"PRAGMA {name}").fetchone()[0]) for name in names)
    return (pages - free) * size


def _empty_bytes(connection: sqlite3.Connection) -> int:
    """The size of a database without content: a page for each table and index, and one for their list."""
    trees = connection.execute("SELECT count(*) FROM sqlite_schema WHERE rootpage > 0").fetchone()[0]
    return int((trees + 1) * connection.execute("PRAGMA page_size").fetchone()[0])


def parse_age(text: str) -> int:
    """Seconds of an age such as 30d, 12h, 2w, 90m.

    Raises:
        WrongUse: if it is none.
    """
    match = re.fullmatch(r"([0-9]{1,9})\s*([smhdw])", text.strip().lower())
    if match is None:
        raise WrongUse(f"{text!r} is no age: write 30d, 12h, 2w or 90m")
    return int(match[1]) * _SECONDS[match[2]]


def parse_size(text: str) -> int:
    """Bytes of a size such as 500MB, 1.5GB, 200MiB.

    Raises:
        WrongUse: if it is none.
    """
    match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*((?:[kmgt]i?)?b|)", text.strip().lower())
    if match is None:
        raise WrongUse(f"{text!r} is no size: write 500MB, 1.5GB or 200MiB")
    return int(float(match[1]) * _BYTES[match[2]])


def _weight(connection: sqlite3.Connection, marks: Marks, session: Candidate) -> int:
    return int(connection.execute(_EVENT_BYTES, (session.seq,)).fetchone()[0]) + marks.mark_session(session.seq)
