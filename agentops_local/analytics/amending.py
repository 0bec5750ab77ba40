"""What a person puts right in a session afterwards: its tags, and an end that its program had no time to tell.

Both are changes that uploading takes along, for they raise the session's revision. They are made in short transactions
under the writers' lock, beside programs that record.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from agentops_local.analytics.owners import Status, judge, owners_of
from agentops_local.analytics.ratings import clean
from agentops_local.analytics.reading import reading
from agentops_local.analytics.sessions import NoSuchSession, pick_session, summary, tag_list
from agentops_local.enums import EndState
from agentops_local.errors import AgentOpsLocalError, WrongUse, shown
from agentops_local.pricing.access import opened
from agentops_local.store.location import find_database

BY_HAND = "ended by hand"
_MOST_TAG = 200  # characters
_ROW = "SELECT seq, tags, end_us FROM sessions WHERE id = ? AND id <> ''"
_REVISED = "revision = (SELECT max(revision) + 1 FROM sessions)"
_TAG = f"UPDATE sessions SET tags = ?, {_REVISED} WHERE seq = ?"  # noqa: S608 - our own text
_END = f"""
UPDATE sessions SET end_us = max(:at_us, init_us, coalesce((SELECT max(coalesce(end_us, init_us)) FROM events
    WHERE session = :seq), 0)), auto_ended = 0, end_state = :state, end_state_reason = :reason, {_REVISED}
WHERE seq = :seq
"""  # noqa: S608 - our own text


class NotOver(AgentOpsLocalError):
    """The session runs, or has ended already."""


def tag(
    session: str, add: Sequence[str] = (), remove: Sequence[str] = (), *, db: Path | str | None = None
) -> list[str]:
    """Adds tags to a session and takes others away; all that it has then.

    Args:
        session: its id, a beginning of it that fits no other, or "last".
        add, remove: tags; one that is there already, or not there, changes nothing.
        db: the database; None for that of the project around the working directory.

    Raises:
        WrongUse: one of them can be no tag.
        NoSuchSession, Ambiguous: the session is not there, or several begin so.
        DatabaseUnusable: there is no database.
        StoreFault, sqlite3.Error, OSError: it cannot be written.
    """
    path = find_database(None if db is None else str(db))
    wanted = list(map(_tag, add))
    unwanted = {text for one in remove for text in (one, one.strip())}
    with reading(path) as connection:
        whole = pick_session(connection, session)
    found: list[str] = []

    def change(connection: sqlite3.Connection) -> None:
        seq, tags, _ = _row(connection, whole)
        has = tag_list(tags)
        found[:] = [one for one in dict.fromkeys([*has, *wanted]) if one not in unwanted or one in wanted]
        if found != has:
            connection.execute(_TAG, (json.dumps(found), seq))

    with opened(path) as access:
        access.write(change)
    return found


def end(
    session: str, end_state: str = EndState.INDETERMINATE.value, reason: str | None = None, *,
    db: Path | str | None = None,
) -> None:  # fmt: skip
    """Ends a session that nobody has ended and whose processes are gone, or cannot be seen from here. It ended when it
    was last heard of.

    Args:
        session: its id, a beginning of it that fits no other, or "last".
        end_state: "Success", "Fail" or "Indeterminate".
        reason: None: that it was ended by hand.
        db: the database; None for that of the project around the working directory.

    Raises:
        WrongUse: there is no such end state.
        NotOver: it runs still, or has ended already.
        NoSuchSession, Ambiguous: the session is not there, or several begin so.
        DatabaseUnusable: there is no database.
        StoreFault, sqlite3.Error, OSError: it cannot be written.
    """
    path = find_database(None if db is None else str(db))
    state = EndState.parse(end_state).value
    with reading(path) as connection:
        of = summary(connection, pick_session(connection, session))

    def change(connection: sqlite3.Connection) -> None:
        seq, _, end_us = _row(connection, of.id)
        status = judge(end_us, owners_of(connection, seq))
        if status is Status.ENDED:
            raise NotOver(f"session {of.id} has ended already")
        if status is Status.RUNNING:
            raise NotOver(f"session {of.id} is still running: stop its program, or let it end the session itself")
        words = clean(reason).strip() if reason else ""
        connection.execute(
            _END, {"seq": seq, "at_us": of.last_seen_us, "state": state, "reason": words or BY_HAND}
        )  # fmt: skip

    with opened(path) as access:
        access.write(change)


def _row(connection: sqlite3.Connection, session: str) -> tuple[int, str, int | None]:
    row = connection.execute(_ROW, (session,)).fetchone()
    if row is None:
        raise NoSuchSession(f"session {session} was erased meanwhile")
    return row[0], row[1], row[2]


def _tag(text: str) -> str:
    found = clean(text).strip()
    if not found or len(found) > _MOST_TAG or not found.isprintable():
        raise WrongUse(f"a tag must be 1 to {_MOST_TAG} characters that can be seen, not {shown(text)}")
    return found
