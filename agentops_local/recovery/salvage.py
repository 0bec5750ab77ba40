"""One damaged file: what can be read of it, put into the database that took its place.

Reading goes into a stage first, without disturbing anybody. Then all of it gets into the database in one transaction
under the writers' lock, is counted and looked through, and committed, with a note that this copy has been salvaged. So
whatever interrupts it leaves the copy and the database as they were, and what is done twice is done once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from uuid import UUID

from agentops_local import clock
from agentops_local.errors import DatabaseTooNew
from agentops_local.recovery.census import Census
from agentops_local.recovery.layout import EVENT_IDS, tables
from agentops_local.recovery.merge import Merge, note_of
from agentops_local.recovery.pages import Image
from agentops_local.recovery.rows import Rows
from agentops_local.recovery.stage import Stage
from agentops_local.recovery.standins import complete
from agentops_local.store.file import DatabaseFile
from agentops_local.store.schema import APPLICATION_ID, VERSION

_TOLD = 100  # of what is lost, so many are named

# The highest number of an event of which anything is known, and how many of the numbers up to it are there.
_NUMBERS = """
SELECT max(coalesce((SELECT max(seq) FROM events), 0), coalesce((SELECT max(seq) FROM known_events), 0),
           coalesce((SELECT max(event) FROM uploads), 0), coalesce((SELECT max(taken_seq) FROM targets), 0)),
       (SELECT count(*) FROM events)
"""
_LOST_EVENTS = """
SELECT k.id, s.id FROM known_events k LEFT JOIN sessions s ON s.seq = k.session
WHERE s.id IS NOT '' ORDER BY k.seq
"""
_LOST_SESSIONS = """
SELECT id FROM known_sessions
WHERE id <> '' AND seq NOT IN (SELECT seq FROM sessions UNION ALL SELECT session FROM events
                               UNION ALL SELECT session FROM owners UNION ALL SELECT session FROM agents
                               UNION ALL SELECT session FROM scores)
ORDER BY seq
"""

Progress = Callable[[str, int, int], None]  # what is done, how much of it, of how much


@dataclass
class Salvaged:
    """What became of one damaged file.

    Attributes:
        copy: where it is kept.
        before: whether it had been salvaged by an earlier repair; then nothing else is known.
        bytes, pages, page_size: of the file; `logged` pages were read from the log beside it, and `cut_off` more were
            there by its header.
        rows: how many rows of each table were read and are in the database now.
        events: the same by kind.
        there: how many of them were there already.
        standins: how many stand-ins were needed for what is lost.
        cut, altered: how many rows of each table lack a part, or show that they are not what was written.
        lost_events: the events that are certainly lost, as an index tells: id and session; the first of them.
        lost_events_known: how many these are.
        numbers_missing: how many numbers of events are missing; `rm` and `prune` leave such gaps, too.
        exact: whether the index could be read wholly, so that `lost_events_known` is all of them.
        lost_sessions: the ids of sessions of which nothing is left.
        unreadable_pages: pages that belong to a table or an index and cannot be read.
        unreadable_rows: entries of pages that cannot be read, by table.
        adrift: pages that nothing named any more and that were known by what they hold.
    """

    copy: str
    before: bool = False
    bytes: int = 0
    pages: int = 0
    page_size: int = 0
    logged: int = 0
    cut_off: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    events: dict[str, int] = field(default_factory=dict)
    there: dict[str, int] = field(default_factory=dict)
    standins: dict[str, int] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    altered: dict[str, int] = field(default_factory=dict)
    lost_events: list[dict[str, str | None]] = field(default_factory=list)
    lost_events_known: int = 0
    numbers_missing: int = 0
    exact: bool = True
    lost_sessions: list[str] = field(default_factory=list)
    unreadable_pages: list[int] = field(default_factory=list)
    unreadable_rows: dict[str, int] = field(default_factory=dict)
    adrift: int = 0


class Salvage:
    """Salvages one copy.

    Args:
        copy: the damaged file.
        file: the database to put it into; it is made if it is not there.
        progress: told how far it is.
    """

    def __init__(self, copy: Path, file: DatabaseFile, progress: Progress = lambda *_: None) -> None:
        self._copy = copy
        self._file = file
        self._progress = progress
        self.done = Salvaged(str(copy))

    def run(self) -> Salvaged:
        """Does it.

        Raises:
            DatabaseTooNew: the copy is of a newer version.
            NotMerged, StoreFault, DatabaseUnusable, sqlite3.Error, OSError: it could not be done; nothing is changed.
        """
        if self._is_done():
            self.done.before = True
            return self.done
        with closing(Stage(self._file.path)) as stage:
            with closing(Image(self._copy)) as image:
                _refuse_newer(image)
                self._read(image, stage)
            stage.ready()
            self._merge(stage)
        return self.done

    def _is_done(self) -> bool:
        with self._file.transaction() as connection:
            return (
                connection.execute("SELECT 1 FROM about WHERE key = ?", (note_of(self._copy.name),)).fetchone()
                is not None
            )

    def _read(self, image: Image, stage: Stage) -> None:
        done = self.done
        self._progress("looking for the tables", 0, 1)
        census = Census(image).take()
        self._progress("looking for the tables", 1, 1)
        rows = Rows(census)
        total = max(1, sum(len(census.pages[tree.name]) for tree in tables()))
        for pages in stage.fill(rows):
            self._progress("reading", pages, total)
        done.bytes, done.pages = self._copy.stat().st_size, image.count
        done.page_size, done.logged, done.cut_off = image.page_size, image.logged, image.cut_off
        done.adrift, done.unreadable_pages = census.adrift, sorted(census.unreadable)
        done.unreadable_rows = {
            name: count for name, count in rows.unreadable.items() if not name.startswith("sqlite_")
        }
        for name, count in stage.unusable.items():
            done.unreadable_rows[name] = done.unreadable_rows.get(name, 0) + count
        done.exact = EVENT_IDS not in census.broken and EVENT_IDS not in rows.unreadable
        done.cut, done.altered = dict(+stage.cut), dict(+stage.altered)
        _count(stage.connection, stage.counts, done)
        done.standins = dict(complete(stage.connection, self._copy.name))

    def _merge(self, stage: Stage) -> None:
        self._progress("storing", 0, 1)
        try:
            with self._file.transaction() as connection:
                merge = Merge(connection, stage.path)
                merge.run()
                self.done.there = {name: count for name, count in merge.there.items() if count}
                merge.note(self._copy.name, {"at_us": clock.now_us(), **asdict(self.done)})
                merge.check()
        finally:
            self._file.close()  # and with it what was attached
        self._progress("storing", 1, 1)


def _refuse_newer(image: Image) -> None:
    if image.word(68) == APPLICATION_ID and image.word(60) > VERSION:
        raise DatabaseTooNew(
            f"{image.path} has schema version {image.word(60)} and this program knows version {VERSION} at most: "
            "upgrade agentops-local (pip install -U agentops-local)"
        )


def _count(connection: sqlite3.Connection, counts: dict[str, int], done: Salvaged) -> None:
    """What was read, and what is known to be lost. Before the stand-ins."""
    done.rows = {name: count for name, count in counts.items() if count and name != "about"}
    for table, empty in (
        ("sessions", "id = ''"), ("blobs", "hash = x''"), ("messages", "parent IS NULL AND hash IS NULL"),
        ("owners", "session IN (SELECT seq FROM sessions WHERE id = '')"),
        ("agents", "session IN (SELECT seq FROM sessions WHERE id = '')"),
        ("events", "session IN (SELECT seq FROM sessions WHERE id = '')"),
    ):  # fmt: skip
        (empties,) = connection.execute(f"SELECT count(*) FROM {table} WHERE {empty}").fetchone()  # noqa: S608 - our names
        if empties:
            done.rows[table] -= empties
    done.events = dict(
        connection.execute("SELECT kind, count(*) FROM events WHERE kind <> '' GROUP BY kind").fetchall()
    )
    highest, there = connection.execute(_NUMBERS).fetchone()
    done.numbers_missing = highest - there
    lost = connection.execute(_LOST_EVENTS).fetchall()
    done.lost_events_known = len(lost)
    done.lost_events = [{"id": _uuid(event), "session_id": session} for event, session in lost[:_TOLD]]
    done.lost_sessions = [str(row[0]) for row in connection.execute(_LOST_SESSIONS).fetchall()]


def _uuid(text: bytes) -> str:
    return str(UUID(bytes=text)) if len(text) == 16 else text.hex()
