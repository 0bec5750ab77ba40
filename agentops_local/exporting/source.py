"""What every format reads: a session as of one moment, then its events in pieces.

No read stays open while what was read is written: an open one would keep the WAL from being emptied, and the consumer
may be slow. The session's row, its agents and its owners are read at one moment, and the events up to the last one of
that moment, so that whatever an event refers to has been told.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from agentops_local.exporting.prompts import Messages
from agentops_local.exporting.seqs import Seqs
from agentops_local.exporting.texts import Texts

_SESSION = """
SELECT s.*, v.host_env, v.fingerprint,
       CASE WHEN json_valid(v.host_env) AND json_valid(s.moment) THEN json_patch(v.host_env, s.moment)
       ELSE v.host_env END AS host_env_then
FROM sessions s LEFT JOIN environments v ON v.id = s.environment WHERE s.seq = ? AND s.id <> ''
"""
_SEQ = "SELECT seq FROM sessions WHERE id = ? AND id <> ''"
_AGENTS = "SELECT seq, id, name FROM agents WHERE session = ? ORDER BY seq"
_OWNERS = "SELECT * FROM owners WHERE session = ? ORDER BY seq"
_EXTENT = "SELECT count(*) AS events, min(seq) AS first, max(seq) AS last FROM events WHERE session = ?"
# By the index of a session's ids, which covers the first of the two.
_SEQS = "SELECT seq, id FROM events WHERE session = ? AND id > ? ORDER BY id LIMIT ?"
_GLANCE = """
SELECT seq, id, kind, name, model, init_us, end_us FROM events WHERE session = ? AND id > ? ORDER BY id LIMIT ?
"""
_KINDS = "SELECT seq, id, kind FROM events WHERE session = ? AND id > ? ORDER BY id LIMIT ?"
# By their numbers: without the + SQLite walks through all of the session in its index, for each piece anew.
_EVENTS = """
SELECT e.* FROM events e WHERE e.seq IN (SELECT value FROM json_each(?)) AND +e.session = ? ORDER BY e.seq
"""
_PRICE = "SELECT * FROM prices WHERE id = ?"

_NUMBERS = 5000  # row numbers a read
_MOST_EVENTS = 500  # a read
_PIECE = 2 << 20  # characters a read, as far as the one before it tells
_LONG = ("params", "returns", "logs", "screenshot", "details", "extra")


Ahead = Callable[[list[sqlite3.Row]], None]


@dataclass
class SessionHead:
    """A session without its events.

    Attributes:
        seq: its row.
        row: the columns of `sessions`, with `host_env` and `fingerprint` of its environment and `host_env_then`, where
            the values of the moment are merged in.
        agents: id and name of each, by the number of its row; the default agent first.
        owners: the rows of `owners`.
        events: how many there are.
        first, last: the lowest and highest number of its events; 0 without any.
    """

    seq: int
    row: sqlite3.Row
    agents: dict[int, tuple[str, str]]
    owners: list[sqlite3.Row]
    events: int
    first: int
    last: int

    @property
    def id(self) -> str:
        """Its id."""
        return str(self.row["id"])

    def agent(self, number: int | None) -> tuple[str | None, str | None]:
        """Id and name of an agent."""
        return self.agents.get(number, (None, None)) if number is not None else (None, None)


class Source:
    """The database that is exported from.

    Args:
        connection: from `analytics.reading`.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.texts = Texts(connection)
        self.messages = Messages(connection, self.texts)

    def seq(self, session_id: str) -> int | None:
        """The row of a session; None if there is no such session."""
        row = self.connection.execute(_SEQ, (session_id,)).fetchone()
        return None if row is None else int(row["seq"])

    def session(self, seq: int) -> SessionHead | None:
        """A session as it is now; None if it is gone."""
        with self._one_moment():
            execute = self.connection.execute
            row = execute(_SESSION, (seq,)).fetchone()
            if row is None:
                return None
            agents = {one["seq"]: (one["id"], one["name"]) for one in execute(_AGENTS, (seq,)).fetchall()}
            owners = execute(_OWNERS, (seq,)).fetchall()
            extent = execute(_EXTENT, (seq,)).fetchone()
        return SessionHead(seq, row, agents, owners, extent["events"], extent["first"] or 0, extent["last"] or 0)

    def events(self, head: SessionHead, ahead: Ahead | None = None) -> Iterator[sqlite3.Row]:
        """The events of a session, in the order of commits; rows of `events`.

        Args:
            ahead: told of each piece before its events are given.
        """
        seqs = Seqs(head.first, head.last)
        for rows in self._numbers(head, _SEQS):
            seqs.update(row["seq"] for row in rows)
        return self._read(head, seqs, ahead)

    def by_kind(
        self, head: SessionHead, group: Callable[[str], str], ahead: Ahead | None = None
    ) -> Callable[[str], Iterator[sqlite3.Row]]:
        """The same for each group of kinds apart, in as many passes, of which none reads the rows of another.

        Args:
            group: of a kind, the group that it belongs to.
            ahead: as for `events`.
        """
        groups: dict[str, Seqs] = {}
        for rows in self._numbers(head, _KINDS):
            for row in rows:
                name = group(row["kind"])
                if name not in groups:
                    groups[name] = Seqs(head.first, head.last)
                groups[name].add(row["seq"])
        return lambda name: self._read(head, groups[name], ahead) if name in groups else iter(())

    def glance(self, head: SessionHead) -> Iterator[sqlite3.Row]:
        """What, when and how long: the events of a session in the order of their ids, without what they hold."""
        for rows in self._numbers(head, _GLANCE):
            yield from (row for row in rows if row["seq"] <= head.last)

    def price(self, number: int) -> sqlite3.Row | None:
        """A row of the price book."""
        row: sqlite3.Row | None = self.connection.execute(_PRICE, (number,)).fetchone()
        return row

    def _numbers(self, head: SessionHead, sql: str) -> Iterator[list[sqlite3.Row]]:
        after: object = b""
        while head.events:
            rows = self.connection.execute(sql, (head.seq, after, _NUMBERS)).fetchall()
            yield rows
            if len(rows) < _NUMBERS:
                return
            after = rows[-1]["id"]

    def _read(self, head: SessionHead, seqs: Seqs, ahead: Ahead | None) -> Iterator[sqlite3.Row]:
        """In pieces that take about as much memory each, whether events are short or long."""
        wanted: list[int] = []
        most = 50
        for seq in seqs:
            wanted.append(seq)
            if len(wanted) >= most:
                rows = self._piece(head, wanted, ahead)
                yield from rows
                most = max(1, min(_MOST_EVENTS, _PIECE // (_length(rows) + 1)))
                wanted = []
        yield from self._piece(head, wanted, ahead)

    def _piece(self, head: SessionHead, seqs: list[int], ahead: Ahead | None) -> list[sqlite3.Row]:
        if not seqs:
            return []
        rows = self.connection.execute(_EVENTS, (json.dumps(seqs), head.seq)).fetchall()
        if ahead is not None:
            ahead(rows)
        return rows

    @contextmanager
    def _one_moment(self) -> Iterator[None]:
        if self.connection.in_transaction:  # the caller sees one moment already
            yield
            return
        self.connection.execute("BEGIN")
        try:
            yield
        finally:
            self.connection.execute("ROLLBACK")


def _length(rows: list[sqlite3.Row]) -> int:
    """About how long an event is: the mean of some."""
    some = rows[:: max(1, len(rows) // 20)]
    lengths = [len(row[name]) for row in some for name in _LONG if isinstance(row[name], (str, bytes))]
    return sum(lengths) // max(1, len(some))
