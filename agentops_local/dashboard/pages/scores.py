"""What was said of a session and its events: scores and notes."""

from __future__ import annotations

import sqlite3

from agentops_local.analytics import ratings
from agentops_local.analytics.one_session.asked import asked as asked_of
from agentops_local.dashboard.asking import Asked


def scores(asked: Asked) -> dict[str, object]:
    """The data of the page: the averages by name, and each score and note.

    Raises:
        NoSuchSession: if the session is not there.
    """
    with asked_of(asked.db, asked.path["id"]) as (connection, (found,)):
        return {"session_id": found.id, "averages": found.scores, "given": given(connection, found.seq)}


def given(connection: sqlite3.Connection, session: int) -> list[dict[str, object]]:
    """Each score and note, with what a form needs that takes it away."""
    return [
        {**one.to_json(), "number": one.number, "at_us": one.at_us} for one in ratings.of_session(connection, session)
    ]
