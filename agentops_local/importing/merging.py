"""Databases of other machines, and packs, merged into one.

A merge takes what ours lacks: sessions, events of sessions that are there already, what is known of their uploads. Each
session comes in a transaction of its own, so whatever interrupts a merge leaves whole sessions, and doing it once more
does the rest. Readers and writers of both databases go on: theirs is only read, ours is kept from nobody for longer
than one session takes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from agentops_local.analytics import ratings
from agentops_local.errors import DatabaseUnusable
from agentops_local.importing.ledger import Carrying, sent
from agentops_local.importing.source import Reading, Source
from agentops_local.importing.target import Target, Writable
from agentops_local.importing.told import Event, Session
from agentops_local.importing.writing import Writing, look
from agentops_local.store.connection import connect_readonly
from agentops_local.store.schema import schema_text, statements

Progress = Callable[[int, int], object]  # how many sessions are done with, of how many

_LOSS = """
INSERT INTO losses (at_us, pid, events, reason) SELECT ?1, ?2, ?3, ?4
WHERE NOT EXISTS (SELECT 1 FROM losses WHERE at_us = ?1 AND pid = ?2 AND events = ?3 AND reason = ?4)
"""
_THERE = "SELECT 1 FROM events WHERE session = ? AND id = ?"


@dataclass
class Merged:
    """What a merge has brought, or would bring.

    Attributes:
        files: how many databases were read.
        sessions: in them.
        new_sessions, changed_sessions: that were not here, and that are here and say more now.
        events: that were not here.
        changed_events: that are here, and say more now.
        there: events that were here already.
        uploaded: events that another machine has uploaded, so that they are not uploaded from here.
        noted: sessions of which the ledger of uploads knows more than before.
        scores: scores and notes that were not here, or are later than those that are.
    """

    files: int = 0
    sessions: int = 0
    new_sessions: int = 0
    changed_sessions: int = 0
    events: int = 0
    changed_events: int = 0
    there: int = 0
    uploaded: int = 0
    noted: int = 0
    scores: int = 0

    @property
    def is_nothing(self) -> bool:
        """Whether all of it was here already."""
        news = (self.new_sessions, self.changed_sessions, self.events, self.changed_events, self.noted, self.scores)
        return not any(news)


def merge(db: Path, files: Iterable[Path], *, dry_run: bool = False, progress: Progress = lambda *_: None) -> Merged:
    """Takes into a database what others hold and it lacks. Once or often is the same.

    Args:
        db: the database; it is made if it is not there.
        files: databases, packs, or folders that hold a database.
        dry_run: only looks, and writes nothing.
        progress: told after each session how many are done with, of how many.

    Raises:
        WrongUse: one of them is the database itself.
        DatabaseUnusable: one cannot be read, or is none of ours; then nothing of any is merged.
        StoreFault, sqlite3.Error, OSError: ours cannot be written now; the sessions that are done with are there.
    """
    found = Merged()
    with ExitStack() as stack:
        sources = [stack.enter_context(closing(Source(Path(file), db))) for file in files]
        todo = [source.sessions() for source in sources]
        total, done = sum(map(len, todo)), 0
        into = Dry(db) if dry_run else Into(Target(db))
        stack.enter_context(closing(into))
        for source, sessions in zip(sources, todo, strict=True):
            found.files += 1
            for session in sessions:
                bring(source, session, into, found)
                done += 1
                progress(done, total)
            into.take_losses(source)
    return found


def bring(source: Source, session_id: str, into: Into | Dry, found: Merged) -> None:
    """Brings one session, and counts what came with it."""
    with source.reading(session_id) as theirs:
        if theirs is None:  # erased since it was listed
            return
        found.sessions += 1
        try:
            into.take(theirs, found)
        except (ValueError, TypeError) as error:
            raise DatabaseUnusable(
                f"session {session_id} of {source.path} cannot be read ({error}): the database is damaged. "
                "`agentops-local doctor --repair` mends it; what was merged before is here"
            ) from error


class Into:
    """The database that is merged into. Afterwards, `close` it."""

    def __init__(self, target: Writable) -> None:
        self._target = target

    def close(self) -> None:
        """Closes it."""
        self._target.close()

    def take(self, theirs: Reading, found: Merged) -> None:
        """Writes what is lacking of a session, in one transaction."""
        ours = self._target.look()
        number, _ = look(ours, theirs.told)
        lacking = theirs.lacking(ours, number)
        uploads = sent(theirs, ours, number)
        with self._target.transaction() as connection:
            writing = Writing(connection, theirs.told)
            for event in theirs.events(sorted([*lacking.new, *lacking.more])):
                writing.add(event)
            scores = writing.scores()
            carrying = Carrying(connection, theirs, writing.number, writing.is_new)
            uploaded = sum(carrying.carry(what) for what in uploads)
        found.new_sessions += writing.is_new
        found.changed_sessions += writing.is_changed
        found.events += writing.counts["new"]
        found.changed_events += writing.counts["changed"]
        found.there += lacking.there + writing.counts["there"]
        found.uploaded += uploaded
        found.noted += bool(uploads)
        found.scores += scores

    def write(self, session: Session, events: Sequence[Event], found: Merged) -> None:
        """Writes what is told of a session, in one transaction."""
        with self._target.transaction() as connection:
            writing = Writing(connection, session)
            for event in events:
                writing.add(event)
            found.scores += writing.scores()
        found.new_sessions += writing.is_new
        found.changed_sessions += writing.is_changed
        found.events += writing.counts["new"]
        found.changed_events += writing.counts["changed"]
        found.there += writing.counts["there"]

    def take_losses(self, source: Source) -> None:
        """Events that others know to be lost are lost here as well."""
        losses = source.losses()
        if losses:
            with self._target.transaction() as connection:
                connection.executemany(_LOSS, losses)


class Dry:
    """The same, only looked at."""

    def __init__(self, path: Path) -> None:
        if path.is_file() and path.stat().st_size:
            self._connection = connect_readonly(path)
            return
        self._connection = sqlite3.connect(":memory:")
        for statement in statements(schema_text()):
            self._connection.execute(statement)

    def close(self) -> None:
        """Closes it."""
        self._connection.close()

    def take(self, theirs: Reading, found: Merged) -> None:
        """Counts what is lacking of a session."""
        number, is_changed = look(self._connection, theirs.told)
        lacking = theirs.lacking(self._connection, number)
        uploads = sent(theirs, self._connection, number)
        found.new_sessions += number is None
        found.changed_sessions += is_changed
        found.events += len(lacking.new)
        found.changed_events += len(lacking.more)
        found.there += lacking.there
        found.uploaded += sum(upload[2] == "done" for what in uploads for upload in what.uploads)
        found.noted += bool(uploads)
        self._count_scores(number, theirs.told, found)

    def write(self, session: Session, events: Sequence[Event], found: Merged) -> None:
        """Counts what of a session is new."""
        number, is_changed = look(self._connection, session)
        known: set[bytes] = set()
        for event in events:
            values = (number, event.id)
            is_there = event.id in known or self._connection.execute(_THERE, values).fetchone() is not None
            known.add(event.id)
            found.there += is_there
            found.events += not is_there
        found.new_sessions += number is None
        found.changed_sessions += is_changed
        self._count_scores(number, session, found)

    def _count_scores(self, number: int | None, told: Session, found: Merged) -> None:
        found.scores += sum(ratings.is_news(self._connection, number, one) for one in told.scores)

    def take_losses(self, source: Source) -> None:
        """They are not told of."""
