"""How far the index has come, without bringing it any further: what is shown to those who wait for it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentops_local.analytics.index.file import index_file
from agentops_local.analytics.index.tables import VERSION
from agentops_local.analytics.reading import reading
from agentops_local.store.connection import file_uri

_TOP = "SELECT coalesce(max(seq), 0), (SELECT value FROM about WHERE key = 'generation') FROM events"
_MARKS = "SELECT key, value FROM marks WHERE key IN ('version', 'generation', 'seq', 'text_seq')"


@dataclass(frozen=True)
class Progress:
    """How far the index has come, in numbers of events.

    Attributes:
        counted: events that are summed up. known: those whose words are known. top: the last event there is.
    """

    counted: int
    known: int
    top: int

    @property
    def left(self) -> int:
        """How many events must still be counted or taken up the words of, until words can be searched."""
        return (self.top - self.counted) + (self.top - self.known)


def progress(path: Path) -> Progress:
    """How far the index of a database has come.

    Raises:
        DatabaseUnusable: there is no database.
    """
    with reading(path) as connection:
        top, generation = connection.execute(_TOP).fetchone()
    marks = _marks(index_file(path))
    if marks.get("version") != VERSION or marks.get("generation") != generation:
        return Progress(0, 0, top)
    counted, known = (min(int(marks.get(name) or 0), top) for name in ("seq", "text_seq"))
    return Progress(counted, known, top)


def _marks(file: Path) -> dict[str, Any]:
    try:
        with closing(sqlite3.connect(file_uri(file, "ro"), uri=True, timeout=1.0)) as connection:
            return dict(connection.execute(_MARKS).fetchall())
    except (sqlite3.Error, OSError):  # there is none, or it is being made
        return {}
