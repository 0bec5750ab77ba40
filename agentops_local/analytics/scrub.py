"""Takes what matches a pattern, or single events, out of the database, as `erase` takes out sessions.

- What is to change is looked for without a lock (see `traces`), and changed some rows at a time, each batch a short
  transaction under the writers' lock. A row that another process has changed meanwhile is looked at once more.
- A message keeps its number and gets the hash of its new text. So a process that remembers the conversation goes on
  below it, and what it records shows the message as it is now. Where two messages come to be equal below one parent,
  the second is given blanks at its end, which change nothing in JSON: each must be found by its own hash.
- What is recorded meanwhile is gone through as well, until nothing is found. What a program records after that is its
  own affair: it may say the same again.
- The end is that of every erasure: what nobody needs is swept away, the file is rewritten, the WAL emptied. Until then
  'erasing' stands in `about`; the pattern itself stands nowhere, for it may be the secret. So a scrubbing that was cut
  short is finished by the same command; that it was, 'scrubbing' says, and every session counts as changed.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any
from uuid import UUID

from agentops_local import clock
from agentops_local.analytics import erase
from agentops_local.analytics.censor import Censor
from agentops_local.analytics.erase import Erased, Eraser, Progress, unfinished
from agentops_local.analytics.numbers import keep, tops
from agentops_local.analytics.owners import Status
from agentops_local.analytics.sent import Sent, events_sent, session_sent
from agentops_local.analytics.traces import Change, Fresh, Traces, to_bytes, to_text, whole_hash
from agentops_local.errors import AgentOpsLocalError
from agentops_local.store import changes

_NOTE = "INSERT OR REPLACE INTO about (key, value) VALUES (?, ?)"
_IS_CUT = "SELECT 1 FROM about WHERE key = 'scrubbing'"
_SESSIONS = "SELECT seq FROM sessions WHERE id <> ''"
_SAME = (
    "SELECT 1 FROM messages WHERE parent IS (SELECT parent FROM messages WHERE id = :id) AND hash = :hash AND id <> :id"
)
_NEW_BLOB = "INSERT INTO blobs (hash, text) VALUES (?, CAST(? AS TEXT))"
# By the index of each session: events have none over their ids alone.
_EVENT = (
    "SELECT e.seq, e.session FROM sessions s CROSS JOIN events e ON e.session = s.seq AND e.id = ? WHERE s.id <> ''"
)
_NAMES = "SELECT s.id, e.id, e.kind FROM events e JOIN sessions s ON s.seq = e.session WHERE e.seq = ?"
_ROUNDS = 100  # of going through what was recorded meanwhile
_WORK = """
SELECT coalesce((SELECT max(seq) FROM events), 0) * 2 + coalesce((SELECT max(id) FROM messages), 0)
       + coalesce((SELECT max(id) FROM blobs), 0)
"""


class NoSuchEvent(AgentOpsLocalError):
    """There is no such event."""


@dataclass
class Scrubbed:
    """What was taken out, or would be.

    Attributes:
        matches: how often the pattern matched.
        rows: in how many rows of which table it stood.
        events: how many events show anything of it, be it in their prompts.
        sessions: by number, those to which they belong.
        uploads: what had left this machine before.
    """

    matches: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    events: int = 0
    sessions: set[int] = field(default_factory=set)
    uploads: list[Sent] = field(default_factory=list)

    def take(self, change: Change, connection: sqlite3.Connection) -> None:
        """Counts a row, and looks up where it was sent."""
        if change.new:
            self.rows[change.table] = self.rows.get(change.table, 0) + 1
        if change.session is not None:
            self.sessions.add(change.session)
        if change.table == "events":
            self.events += 1
            self.uploads += events_sent(connection, change.key["seq"])
        elif change.table == "sessions":
            self.uploads += session_sent(connection, change.key["seq"])


class Scrubber(Eraser):
    """Scrubs a database. Afterwards, `finish`, then `close` it.

    Args:
        path: the database.
        progress: told after each step how much of `work` is done.
        rewrite: whether the file is rewritten however long the writers wait for it.

    Attributes:
        found: what was taken out so far.
    """

    def __init__(self, path: Path, progress: Progress = lambda _: None, rewrite: bool = False) -> None:
        super().__init__(path, frozenset(Status), progress, rewrite)
        self.found = Scrubbed()
        self._was_cut = self._has_looked = False

    def scrub(self, censor: Censor, sessions: frozenset[int] | None = None) -> Scrubbed:
        """Takes out what matches.

        Args:
            sessions: only where these hold it, by number. What they share with others goes there as well.
        """
        connection = self._reading()
        self._was_cut = connection.execute(_IS_CUT).fetchone() is not None
        traces = Traces(connection, censor, sessions, self._progress)
        for _ in range(_ROUNDS):
            if not sum(self._change(piece, traces, connection) for piece in traces.changes()):
                break
        self.found.matches = censor.matches
        self._has_looked = True
        return self.found

    def erase_event(self, event: UUID) -> None:
        """Erases an event.

        Raises:
            NoSuchEvent: if it is not there.
        """
        with self._turn() as connection:
            rows = events_by_id(connection, event)
            connection.execute(_NOTE, ("erasing", clock.now_us()))
            before = tops(connection)
            for seq, session in rows:
                self.found.uploads += events_sent(connection, seq)
                connection.execute("DELETE FROM scores WHERE session = ? AND event = ?", (session, event.bytes))
                connection.execute("DELETE FROM events WHERE seq = ?", (seq,))
                for sql in erase.EVENT_ROWS:
                    connection.execute(sql, (seq,))
                self.found.sessions.add(session)
            changes.note(connection, self.found.sessions)
            keep(connection, before)
        self.done.events += len(rows)

    def finish(self) -> Erased:
        """As `Eraser.finish`; who keeps sums or words of the sessions elsewhere is told of them. Where nothing was
        taken out, and nothing left by an earlier erasure, there is nothing to finish."""
        if not (self.found.rows or self.done.events or unfinished(self._connection())):
            self.done.bytes_after, self.done.wal_emptied = self.done.bytes_before, True
            return self.done
        if self.found.sessions or self._was_cut:
            with self._turn() as connection:
                every = [row[0] for row in connection.execute(_SESSIONS).fetchall()] if self._was_cut else []
                changes.note(connection, [*every, *self.found.sessions])
        done = super().finish()
        if self._has_looked:
            with self._turn() as connection:
                connection.execute("DELETE FROM about WHERE key = 'scrubbing'")
        return done

    def _reading(self) -> sqlite3.Connection:
        """The connection, for reading without the lock; its texts need not be UTF-8."""
        connection = self._connection()
        connection.text_factory = to_text
        return connection

    def _change(self, piece: list[Change], traces: Traces, reader: sqlite3.Connection) -> int:
        """Makes some changes, as many in one transaction as its time allows; how many there were to be made."""
        for change in piece:
            if not change.new:  # an event that shows a message
                self.found.take(change, reader)
        waiting = [change for change in piece if change.new]
        count = len(waiting)
        while waiting:
            deadline = time.monotonic() + erase._BATCH
            done = 0
            with self._turn() as connection:
                for key in ("erasing", "scrubbing"):
                    connection.execute(_NOTE, (key, clock.now_us()))
                for change in waiting:
                    done += 1
                    if _make(connection, change):
                        self.found.take(change, connection)
                    else:
                        traces.look_again(change)
                    if time.monotonic() > deadline:
                        break
            waiting = waiting[done:]
        return count


def look(
    connection: sqlite3.Connection,
    censor: Censor,
    sessions: frozenset[int] | None = None,
    tell: Callable[[Change], object] = lambda _: None,
    progress: Progress = lambda _: None,
) -> Scrubbed:
    """What `Scrubber.scrub` would take out; nothing is written.

    Args:
        tell: told each row that would change, and each event that shows a message which would.
    """
    found = Scrubbed()
    for piece in Traces(connection, censor, sessions, progress).changes():
        for change in piece:
            found.take(change, connection)
            tell(change)
    found.matches = censor.matches
    return found


def events_by_id(connection: sqlite3.Connection, event: UUID) -> list[tuple[int, int]]:
    """The number of an event, and that of its session; an id stands in two sessions only where somebody copied one.

    Raises:
        NoSuchEvent: if it is not there.
    """
    rows = [(row[0], row[1]) for row in connection.execute(_EVENT, (event.bytes,)).fetchall()]
    if not rows:
        raise NoSuchEvent(f"there is no event {event}: `agentops-local show SESSION --json` has their ids")
    return rows


def event_of(connection: sqlite3.Connection, seq: int) -> dict[str, str]:
    """What an event is called, by its number."""
    row = connection.execute(_NAMES, (seq,)).fetchone()
    return {"session_id": row[0], "event_id": str(UUID(bytes=row[1])), "kind": row[2]}


def work(connection: sqlite3.Connection) -> int:
    """How many steps it takes to go through a database, and to sweep it."""
    return int(connection.execute(_WORK).fetchone()[0])


def _make(connection: sqlite3.Connection, change: Change) -> bool:
    """Makes a change; False if the row is another by now, or gone."""
    new = change.new
    if "hash" in new and connection.execute(_SAME, {**change.key, "hash": new["hash"]}).fetchone():
        content = [*new["content"], _blanks(change.key["id"])]
        new = {"content": content, "hash": whole_hash(connection, content)}
    new = {name: _value(connection, value) for name, value in new.items()}
    values = dict(change.key)
    to = [f"{name} = {_bind(values, f'new_{name}', value)}" for name, value in new.items()]
    to += filter(None, (change.also,))
    where = [f"{name} = :{name}" for name in change.key]
    where += [f"{name} IS {_bind(values, f'old_{name}', value)}" for name, value in change.old.items()]
    sql = f"UPDATE {change.table} SET {', '.join(to)} WHERE {' AND '.join(where)}"  # noqa: S608 - our names
    return bool(connection.execute(sql, values).rowcount)


def _blanks(number: int) -> str:
    """Blanks that stand for a number."""
    return (_blanks(number >> 2) if number > 3 else "") + " \t\n\r"[number & 3]


def _bind(values: dict[str, Any], name: str, value: object) -> str:
    """Binds a value; text by its bytes, which need not be UTF-8."""
    values[name] = to_bytes(value) if isinstance(value, str) else value
    return f"CAST(:{name} AS TEXT)" if isinstance(value, str) else f":{name}"


def _value(connection: sqlite3.Connection, value: object) -> object:
    """What stands in the column: a payload's pieces as a recipe or, where all of it is text, as that."""
    if not isinstance(value, list):
        return value
    recipe: list[str | int] = []
    for piece in value:
        part = _blob(connection, piece.literal) if isinstance(piece, Fresh) else piece
        if isinstance(part, str) and recipe and isinstance(recipe[-1], str):
            recipe[-1] += part
        else:
            recipe.append(part)
    if all(isinstance(part, str) for part in recipe):
        return "".join(map(str, recipe))
    return json.dumps(recipe).encode()


def _blob(connection: sqlite3.Connection, literal: str) -> int:
    raw = to_bytes(literal)
    hashed = blake2b(raw, digest_size=16).digest()
    row = connection.execute("SELECT id FROM blobs WHERE hash = ?", (hashed,)).fetchone()
    if row is not None:
        return int(row[0])
    return int(connection.execute(_NEW_BLOB, (hashed, raw)).lastrowid or 0)
