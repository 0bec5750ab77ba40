"""Scores and notes, given from Python and from the command line.

    from agentops_local import analytics

    analytics.score("last", "helpful", 0.8)
    analytics.score("last", "thumb", "down", event="0197a1b2-c3d4-7000-8000-000000000001", note="wrong city")
    analytics.note("last", "ask again with the new prompt")
    analytics.scores("last")

They are written beside programs that record, in transactions of their own under the writers' lock.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from agentops_local import clock
from agentops_local.analytics import ratings
from agentops_local.analytics.ratings import NOTE, Score
from agentops_local.analytics.reading import reading
from agentops_local.analytics.sessions import Ambiguous, NoSuchSession, pick_session
from agentops_local.errors import AgentOpsLocalError, shown
from agentops_local.pricing.access import opened
from agentops_local.store.location import find_database

_SEQ = "SELECT seq FROM sessions WHERE id = ? AND id <> ''"
_EVENTS = "SELECT id FROM events WHERE session = ? AND id BETWEEN ? AND ? ORDER BY id LIMIT 2"
_REMOVE = "DELETE FROM scores WHERE id = ? AND at_us = ? AND session = (SELECT seq FROM sessions WHERE id = ?)"
_DIGITS = frozenset("0123456789abcdef")


class NoSuchEvent(AgentOpsLocalError):
    """The session has no such event."""


def score(
    session: str, name: str, value: bool | float | str, event: str | None = None, *, note: str | None = None,
    author: str | None = None, db: Path | str | None = None,
) -> Score:  # fmt: skip
    """Says how good a session was, or an event of it. What the same author has said of it under this name before is
    replaced.

    Args:
        session: its id, a beginning of it that fits no other, or "last".
        name: what is judged: "helpful", "thumb", "verdict".
        value: a thumb (True or "up", False or "down"), a number, or a text.
        event: the id of the event that is meant, or a beginning of it; None: the session itself.
        note: a remark on a thumb or a number.
        author: who says so.
        db: the database; None for that of the project around the working directory.

    Raises:
        WrongUse: the name or the value can be none of a score.
        NoSuchSession, NoSuchEvent, Ambiguous: it is not there, or several begin so.
        DatabaseUnusable: there is no database.
        StoreFault, sqlite3.Error, OSError: it cannot be written.
    """
    path = find_database(None if db is None else str(db))
    told = ratings.said(name, value, None, note, author, clock.now_us())
    with reading(path) as connection:
        whole = pick_session(connection, session)
        told = told._replace(event=_event(connection, whole, event))
    given: list[Score] = []

    def store(connection: sqlite3.Connection) -> None:
        row = connection.execute(_SEQ, (whole,)).fetchone()
        if row is None:
            raise NoSuchSession(f"session {whole} was erased meanwhile")
        given.append(ratings.give(connection, row[0], told))

    with opened(path) as access:
        access.write(store)
    return given[-1]


def note(
    session: str, text: str, event: str | None = None, *, author: str | None = None, db: Path | str | None = None
) -> Score:
    """Notes something about a session, or an event of it, beside what was noted before; see `score`."""
    return score(session, NOTE, str(text), event, author=author, db=db)


def scores(session: str, *, db: Path | str | None = None) -> list[Score]:
    """What was said of a session and its events, in the order in which it was first said.

    Args:
        session: its id, a beginning of it that fits no other, or "last".
        db: the database; None for that of the project around the working directory.

    Raises:
        NoSuchSession, Ambiguous: the session is not there, or several begin so.
        DatabaseUnusable: there is no database.
    """
    with reading(find_database(None if db is None else str(db))) as connection:
        whole = pick_session(connection, session)
        return ratings.of_session(connection, connection.execute(_SEQ, (whole,)).fetchone()[0])


def unscore(session: str, number: int, at_us: int, *, db: Path | str | None = None) -> bool:
    """Takes a score or a note away; whether it was there.

    Args:
        session: its whole id.
        number, at_us: of a `Score`. The time tells it from a later one that was given the same number.
    """
    gone: list[int] = []
    with opened(find_database(None if db is None else str(db))) as access:
        access.write(lambda connection: gone.append(connection.execute(_REMOVE, (number, at_us, session)).rowcount))
    return bool(gone[-1])


def _event(connection: sqlite3.Connection, session: str, text: str | None) -> bytes | None:
    """The id of an event of a session, by a beginning of it that fits no other."""
    if text is None:
        return None
    digits = text.strip().lower().replace("-", "")
    if digits and len(digits) <= 32 and set(digits) <= _DIGITS:
        number = connection.execute(_SEQ, (session,)).fetchone()[0]
        least, most = (bytes.fromhex(digits.ljust(32, fill)) for fill in "0f")
        found = connection.execute(_EVENTS, (number, least, most)).fetchall()
        if len(found) > 1:
            raise Ambiguous(f"{text!r} is the beginning of the ids of several events: give more of it")
        if found:
            return bytes(found[0][0])
    raise NoSuchEvent(
        f"session {session} has no event {shown(text)}: `agentops-local show {session} --json` has their ids"
    )
