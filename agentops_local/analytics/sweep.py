"""Mark and sweep: finds messages and blobs that no event needs any more, and deletes them.

Writers record all the while, and that is what the order of things is about:

1. Marking reads. Everything that an event names is marked, with all the messages on the way to its root and the blobs
   in either. It runs without the writers' lock, piece by piece. A mark too many (the event was deleted meanwhile) only
   spares a message until the next time.
2. Sweeping deletes, a batch at a time, each in a transaction under the writers' lock. What a writer has stored since
   the marking may name an old message that was not marked: it found it by its content, or remembered its number. So
   each batch begins by marking what is new, and deletes in the same transaction what is unmarked still. Nobody can
   come between the two, and no message is judged by an old look.
3. A writer that remembers a message which is deleted finds nothing at its number (see `numbers`): its insert fails by
   the foreign key, and it stores the conversation anew.

Messages go from the highest number down. A message comes after its parent, so none ever loses its parent before it
goes itself, and whatever interrupts this leaves a sound tree. Those that came after the marking began are spared.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from time import monotonic

_PIECE = 20_000  # events or messages a read
_ROWS = 500  # candidates looked up at once

_PREPARE = """
CREATE TEMP TABLE IF NOT EXISTS kept_messages (id INTEGER PRIMARY KEY);
CREATE TEMP TABLE IF NOT EXISTS kept_blobs (id INTEGER PRIMARY KEY);
CREATE TEMP TABLE IF NOT EXISTS fresh (id INTEGER PRIMARY KEY);
DELETE FROM kept_messages; DELETE FROM kept_blobs; DELETE FROM fresh
"""

# The messages that some events name, and those on the way to their roots, as far as they are not marked yet: what is
# above a marked one is marked as well.
_NAMED = """
WITH RECURSIVE named (id) AS (
    SELECT id FROM (SELECT prompt AS id FROM events WHERE {which} AND prompt IS NOT NULL
                    UNION SELECT completion FROM events WHERE {which} AND completion IS NOT NULL)
    WHERE id NOT IN (SELECT id FROM kept_messages)
    UNION
    SELECT m.parent FROM named CROSS JOIN messages m ON m.id = named.id
    WHERE m.parent IS NOT NULL AND m.parent NOT IN (SELECT id FROM kept_messages))
INSERT INTO fresh SELECT id FROM named
"""
# Messages that have just been stored count as named.
_STORED = """
WITH RECURSIVE named (id) AS (
    SELECT id FROM messages WHERE id > ? AND id NOT IN (SELECT id FROM kept_messages)
    UNION
    SELECT m.parent FROM named CROSS JOIN messages m ON m.id = named.id
    WHERE m.parent IS NOT NULL AND m.parent NOT IN (SELECT id FROM kept_messages))
INSERT INTO fresh SELECT id FROM named
"""
_PAYLOADS = ("params", "returns", "logs", "screenshot", "details")
_RECIPES = f"""
SELECT {", ".join(f"CASE typeof({name}) WHEN 'blob' THEN {name} END" for name in _PAYLOADS)} FROM events
WHERE {{which}} AND ({" OR ".join(f"typeof({name}) = 'blob'" for name in _PAYLOADS)})
"""  # noqa: S608 - our own text
# CROSS JOIN: in this order. SQLite knows nothing of how little is in `fresh`, and would go through all messages.
_FRESH_RECIPES = """
SELECT m.content FROM fresh CROSS JOIN messages m ON m.id = fresh.id WHERE typeof(m.content) = 'blob'
"""
# What the messages and blobs just marked weigh, for `prune --max-size`.
_MESSAGE, _BLOB = 30, 60  # bytes of a row and its entries in indexes, beside the content
_BLOB_BYTES = """
SELECT coalesce(sum(length(CAST(text AS BLOB)) + :row), 0) FROM blobs WHERE id IN (SELECT value FROM json_each(:blobs))
"""
_FRESH_BYTES = """
SELECT coalesce(sum(length(CAST(m.content AS BLOB))), 0), count(*) FROM fresh CROSS JOIN messages m ON m.id = fresh.id
"""

_OF_SESSION = "session = :first"
_BETWEEN = "seq > :first AND seq <= :last"


class Marks:
    """What is needed still.

    Args:
        connection: in autocommit mode; the marks live in its temporary tables.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        for statement in _PREPARE.split(";"):
            connection.execute(statement)
        self._message = self._top("messages", "id")  # first of all: what comes later is spared
        self._blob = self._top("blobs", "id")
        self._seen_message = self._message
        self._seen_event = 0

    def mark_events(self) -> Iterator[int]:
        """Marks what the events name, piece by piece; yields how many numbers of events were gone through."""
        while True:
            top = self._top("events", "seq")
            if self._seen_event >= top:
                return
            end = min(self._seen_event + _PIECE, top)
            self._mark(_BETWEEN, self._seen_event, end)
            yield end - self._seen_event
            self._seen_event = end

    def mark_session(self, session: int) -> int:
        """Marks what the events of a session name; returns how many bytes of messages and blobs that adds."""
        return self._mark(_OF_SESSION, session, weigh=True)

    def catch_up(self) -> None:
        """Marks what has been stored meanwhile. In the transaction that then deletes."""
        top = self._top("events", "seq")
        self._mark(_BETWEEN, self._seen_event, top)
        self._seen_event = top
        self._connection.execute(_STORED, (self._seen_message,))
        self._settle(set())
        self._seen_message = self._top("messages", "id")

    def messages(self, below: int | None) -> list[int]:
        """Messages that are not needed, the highest first, under a number."""
        return self._unmarked("messages", "kept_messages", self._message + 1 if below is None else below)

    def blobs(self, below: int | None) -> list[int]:
        """Blobs that are not needed, the highest first, under a number."""
        return self._unmarked("blobs", "kept_blobs", self._blob + 1 if below is None else below)

    def delete(self, table: str, numbers: list[int], deadline: float) -> tuple[int, int | None]:
        """Deletes those of some rows that are not needed still, until a moment has come.

        Returns:
            How many it deleted, and the last number it went through; None if that was all.
        """
        # The marks are asked again: `catch_up` may have added to them since the rows were looked up.
        sql = f"DELETE FROM {table} WHERE id = :id AND :id NOT IN (SELECT id FROM kept_{table})"  # noqa: S608 - our names
        gone = 0
        for number in numbers:
            gone += self._connection.execute(sql, {"id": number}).rowcount
            if monotonic() > deadline:
                return gone, number
        return gone, None

    def _mark(self, which: str, first: int, last: int = 0, weigh: bool = False) -> int:
        values = {"first": first, "last": last}
        self._connection.execute(_NAMED.format(which=which), values)
        recipes = self._connection.execute(_RECIPES.format(which=which), values).fetchall()
        return self._settle(_blobs(recipes), weigh)

    def _settle(self, blobs: set[int], weigh: bool = False) -> int:
        """Marks what is in `fresh`, with the blobs it names, and some others; returns the bytes of what is new, if
        that is wanted: it means reading all of it."""
        execute = self._connection.execute
        content, count = execute(_FRESH_BYTES).fetchone() if weigh else (0, 0)
        blobs |= _blobs(execute(_FRESH_RECIPES).fetchall())
        execute("INSERT INTO kept_messages SELECT id FROM fresh")
        execute("DELETE FROM fresh")
        new = [blob for blob in blobs if execute("INSERT OR IGNORE INTO kept_blobs VALUES (?)", (blob,)).rowcount]
        if not weigh:
            return 0
        weight = execute(_BLOB_BYTES, {"blobs": json.dumps(new), "row": _BLOB}).fetchone()[0]
        return int(content + _MESSAGE * count + weight)

    def _unmarked(self, table: str, kept: str, below: int) -> list[int]:
        # The empty row on top of the numbers (see `numbers`) stays: a message without parent and hash, an empty hash.
        empty = "parent IS NULL AND hash IS NULL" if table == "messages" else "hash = x''"
        sql = f"""
        SELECT id FROM {table} WHERE id < ? AND id NOT IN (SELECT id FROM {kept})
          AND NOT (id = (SELECT max(id) FROM {table}) AND {empty})
        ORDER BY id DESC LIMIT {_ROWS}
        """  # noqa: S608 - our own names
        return [row[0] for row in self._connection.execute(sql, (below,)).fetchall()]

    def _top(self, table: str, column: str) -> int:
        return int(self._connection.execute(f"SELECT coalesce(max({column}), 0) FROM {table}").fetchone()[0])  # noqa: S608


def _blobs(rows: list[tuple[bytes | None, ...]]) -> set[int]:
    """The numbers of the blobs in some recipes."""
    found: set[int] = set()
    for row in rows:
        for recipe in row:
            if recipe is not None:
                found.update(piece for piece in json.loads(recipe) if isinstance(piece, int))
    return found
