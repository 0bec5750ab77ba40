"""The sessions that a question is about, by the names that people give them."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from agentops_local.analytics.project import price
from agentops_local.analytics.reading import reading
from agentops_local.analytics.sessions import Summary, pick_session, summary
from agentops_local.store.location import find_database

Database = str | os.PathLike[str] | None


@contextmanager
def asked(db: Database, *names: str, priced: bool = False) -> Iterator[tuple[sqlite3.Connection, list[Summary]]]:
    """A connection for reading, and the sessions that are named, in the order of their names.

    Args:
        db: the database; None for the project's.
        names: a whole id, a beginning that fits no other, or "last".
        priced: whether costs are asked for: calls that have no price yet are priced before.

    Raises:
        DatabaseUnusable: if there is no such database.
        NoSuchSession: if there is no such session.
        Ambiguous: if a name fits several.
    """
    path = find_database(db)
    if priced:
        price(path)
    with reading(path) as connection:
        yield connection, [summary(connection, pick_session(connection, str(name))) for name in names]
