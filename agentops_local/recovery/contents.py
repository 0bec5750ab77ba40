"""Whether the rows of a sound file are what was written. SQLite looks at the structure of its pages only: where the
rest of a long text was overwritten, it finds nothing wrong, and hands out what stands there."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable

from agentops_local.recovery.layout import tables
from agentops_local.recovery.mending import Mender
from agentops_local.recovery.record import as_text

_ROWS = 500

Progress = Callable[[int, int], None]


def altered(connection: sqlite3.Connection, progress: Progress = lambda *_: None) -> Counter[str]:
    """How many rows of each table show that they were altered: by their hash, or because they are no JSON or no text.

    Args:
        connection: for reading; texts come as they are from now on.
        progress: told how many tables are done with, of how many.

    Raises:
        sqlite3.DatabaseError: they cannot even be read.
    """
    connection.text_factory = as_text
    found: Counter[str] = Counter()
    for done, tree in enumerate(tables()):
        progress(done, len(tables()))
        mender = Mender(tree)
        cursor = connection.execute(f"SELECT {', '.join(tree.columns)} FROM {tree.name}")  # noqa: S608 - our names
        while rows := cursor.fetchmany(_ROWS):
            for row in rows:
                if mender.mend(list(row)) is None:
                    found[tree.name] += 1
        found[tree.name] += mender.altered
    return +found
