"""The database that a question is asked of, brought up to date: its calls priced, its index at the last event."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from agentops_local import faults
from agentops_local.analytics.index import opened
from agentops_local.analytics.reading import reading
from agentops_local.errors import AgentOpsLocalError
from agentops_local.log import logger
from agentops_local.pricing.access import opened as opened_for_prices
from agentops_local.pricing.catch_up import catch_up, is_due
from agentops_local.store.location import find_database
from agentops_local.store.schema import VERSION


@contextmanager
def indexed(db: Path | str | None, *more: Callable[[sqlite3.Connection], None]) -> Iterator[sqlite3.Connection]:
    """A connection for reading, with the index; see `index.opened`.

    Args:
        db: the database; None for that of the project around the working directory.

    Raises:
        DatabaseUnusable: there is none, or it is not one of ours.
    """
    path = find_database(None if db is None else str(db))
    price(path)
    with opened(path, *more) as connection:
        yield connection


def price(path: Path) -> None:
    """Prices the calls that are not priced yet, before their costs are shown. Where the database is not ours to write,
    or that fails, they are shown as they are."""
    if not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        return
    try:
        with reading(path) as connection:  # what is wrong here, the question itself will meet and tell
            current = connection.execute("PRAGMA user_version").fetchone()[0] == VERSION
            if not (current and is_due(connection, path)):
                return
    except (sqlite3.Error, OSError, AgentOpsLocalError):
        return
    try:
        with opened_for_prices(path) as access, faults.contained("pricing LLM calls"):
            catch_up(access)
    except (sqlite3.Error, OSError, AgentOpsLocalError) as error:
        logger.warning("agentops_local: calls that have no price yet are shown without (%s)", error)
