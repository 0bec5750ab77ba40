"""The sessions that a question is about, by the names that people give them."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from agentops_local.analytics.reading import reading
from agentops_local.analytics.sessions import NoSuchSession, Summary, find_session, summary
from agentops_local.store.location import find_database

Database = str | os.PathLike[str] | None


@contextmanager
def asked(db: Database, *names: str) -> Iterator[tuple[sqlite3.Connection, list[Summary]]]:
    """A connection for reading, and the sessions that are named, in the order of their names.

    Args:
        db: the database; None for the project's.
        names: a whole id, a beginning that fits no other, or "last".

    Raises:
        DatabaseUnusable: if there is no such database.
        NoSuchSession: if there is no such session.
        Ambiguous: if a name fits several.
    """
    with reading(find_database(db)) as connection:
        yield connection, [_named(connection, str(name)) for name in names]


def _named(connection: sqlite3.Connection, name: str) -> Summary:
    found = find_session(connection, name)
    if found is None:
        raise NoSuchSession(f"there is no session {name!r}: `agentops-local sessions` lists them")
    return summary(connection, found)
