"""What a repair finds that SQLite finds nothing wrong with."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random

from tests.recovery.test_repair import leaves, repair
from tests.reliability.tools.corrupt import File
from tests.reliability.tools.crash import query


def test_contents_are_looked_at_too(database: Path) -> None:
    """A long text that was overwritten is found by its hash, though SQLite finds nothing wrong with the file, also
    where an index had to be mended first; it comes back as what is left of it."""
    file = File(database, Random(1))
    number = file.pages("name = 'blobs' AND pagetype = 'overflow'")[-1]
    file.write((number - 1) * file.page + 100, b"overwritten")
    index = file.pages(leaves("owners_by_session"))[0]
    at = (index - 1) * file.page
    file.write(at + 3, (int.from_bytes(file.data[at + 3 : at + 5], "big") - 1).to_bytes(2, "big"))
    database.write_bytes(file.data)
    done = repair(database)
    assert done.damage[-1] == "rows of blobs that are not what was written: 1"
    assert not done.reindexed
    assert done.copies[0].altered == {"blobs": 1}
    assert query(database, "SELECT count(*) FROM tools WHERE returns LIKE '%overwritten%'") == [(1,)]


def test_a_row_that_names_one_that_is_not_there(database: Path) -> None:
    """A row whose number of another was altered, so that it names none, is found, and is not in the database that comes
    of it; all others are."""
    events = query(database, "SELECT * FROM events")
    with closing(sqlite3.connect(database)) as connection, connection:
        number, before = connection.execute("SELECT max(id), count(*) FROM batches").fetchone()
        connection.execute("UPDATE batches SET session = 987654 WHERE id = ?", (number,))
    done = repair(database)
    assert done.damage == ["rows of batches that name one that is not there: 1"]
    assert query(database, "PRAGMA foreign_key_check") == []
    assert query(database, "SELECT count(*) FROM batches") == [(before - 1,)]
    assert query(database, "SELECT * FROM events") == events
