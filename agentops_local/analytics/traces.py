"""Where a text stands in a database, and what would stand there without it.

Everything is gone through once, in pieces, each a short read: the long texts (blobs), the messages, the events, and the
rows around them. What is remembered is a bit for each row, so memory stays flat. Nothing is written here.

A blob is never changed in its place, for others may hold it: whoever holds one with a match gets another, and what
nobody needs any more is swept away. A message is changed in its place and keeps its number: a process that remembers
the conversation goes on below it, and would write the whole of it anew if it were gone.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NamedTuple

from agentops_local.analytics.censor import Censor

LONG = 2048  # bytes of a JSON string literal from which it is a blob (see schema.sql)
_MOST, _FEWEST = 400, 8  # rows a read
_PIECE = 4 << 20  # bytes a read, as far as the size of the last one tells

PAYLOADS = ("params", "returns", "logs", "screenshot", "details")
_TEXTS = ("name", "provider", "model", "thread_id", "code", "trigger_kind")
_EVENT = (*_TEXTS, *PAYLOADS, "extra")
_EVENTS = f"""
SELECT seq, session, prompt, completion, {", ".join(_EVENT)} FROM events
WHERE seq > ? AND session IS NOT (SELECT seq FROM sessions WHERE id = '') ORDER BY seq LIMIT ?
"""  # noqa: S608 - our own text
_MESSAGES = "SELECT id, parent, hash, content FROM messages WHERE id > ? ORDER BY id LIMIT ?"
_BLOBS = "SELECT id, text FROM blobs WHERE id > ? ORDER BY id LIMIT ?"
_BLOB = "SELECT text FROM blobs WHERE id = ?"
# The messages that the events of a session name, with all on the way to their roots.
_PATHS = """
WITH RECURSIVE path (id) AS (
    SELECT prompt FROM events WHERE session = :session AND prompt IS NOT NULL
    UNION SELECT completion FROM events WHERE session = :session AND completion IS NOT NULL
    UNION SELECT m.parent FROM path CROSS JOIN messages m ON m.id = path.id WHERE m.parent < m.id)
SELECT id FROM path
"""


class Place(NamedTuple):
    """A table around the events, and where text may stand in it.

    Attributes:
        session: an SQL expression for the session that a row belongs to; NULL for none.
        also: what a change does to the row beside that, in SQL.
        rows: a condition for the rows that are looked at.
    """

    table: str
    key: tuple[str, ...]
    plain: tuple[str, ...] = ()
    json: tuple[str, ...] = ()
    session: str = "NULL"
    also: str = ""
    rows: str = "TRUE"


# Those who follow the revisions see the change, the uploader above all.
_REVISED = "revision = (SELECT max(revision) + 1 FROM {})"
_OF_EVENT = "(SELECT session FROM events WHERE seq = event)"
AROUND = (
    Place(
        "sessions",
        ("seq",),
        ("end_state_reason", "video"),
        ("tags", "moment"),
        "seq",
        _REVISED.format("sessions"),
        "id <> ''",
    ),
    Place("agents", ("seq",), ("name",), (), "session", _REVISED.format("agents"), "id <> ''"),
    Place("owners", ("seq",), ("host", "program"), (), "session"),
    Place("environments", ("id",), (), ("host_env",)),
    # Two models may come to have one name: neither's price is to be taken for the other's.
    Place("prices", ("id",), ("provider", "model", "source"), also="ended_us = coalesce(ended_us, looked_us)"),
    Place("losses", ("id",), ("reason",)),
    Place("scores", ("id",), ("name", "text", "author"), (), "session"),
    Place("targets", ("id",), ("last_error",)),
    Place("deliveries", ("target", "session"), ("reason", "last_error"), (), "session"),
    Place("batches", ("id",), ("manner", "outcome"), (), "session"),
    Place("attempts", ("target", "event"), ("manner", "words"), (), _OF_EVENT),
    Place("dead_letters", ("target", "event"), ("reason", "words"), (), _OF_EVENT),
    Place("parked", ("target", "what", "name"), ("reason",)),
    Place("about", ("key",), (), ("value",), rows="key LIKE 'salvaged %'"),
)


class Fresh(NamedTuple):
    """A JSON string literal that is to be a blob."""

    literal: str


Piece = str | int | Fresh  # of a payload: a text, a blob that stays, a new one


@dataclass(frozen=True)
class Change:
    """A row in which the text stands, and what it would be without.

    Attributes:
        old, new: the columns that change.
        session: whose row it is; None: nobody's, or several sessions'.
        shown: of an event: what it shows of messages in which the text stands.
        also: what else becomes of the row, in SQL.
    """

    table: str
    key: dict[str, Any]
    old: dict[str, Any]
    new: dict[str, Any]
    session: int | None = None
    shown: tuple[str, ...] = ()
    also: str = ""


class Bits:
    """A set of row numbers, a bit for each."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self.count = 0

    def add(self, number: int) -> None:
        """Takes a number in."""
        if number in self:
            return
        place = number >> 3
        if place >= len(self._bytes):
            self._bytes.extend(bytes(place + 1 - len(self._bytes) + (len(self._bytes) >> 3)))
        self._bytes[place] |= 1 << (number & 7)
        self.count += 1

    def __contains__(self, number: int | None) -> bool:
        return (
            number is not None and number >> 3 < len(self._bytes) and bool(self._bytes[number >> 3] >> (number & 7) & 1)
        )


@dataclass
class Traces:
    """Looks for a text.

    Args:
        connection: for short reads; in autocommit mode.
        censor: what is looked for.
        sessions: only in these, by number; None: everywhere. Messages that they share with others are looked at.
        progress: told how many rows were gone through.
    """

    connection: sqlite3.Connection
    censor: Censor
    sessions: frozenset[int] | None = None
    progress: Callable[[int], object] = lambda _: None
    _blobs: Bits = field(default_factory=Bits)  # with a match
    _touched: Bits = field(default_factory=Bits)  # messages with a match, and all below them
    _wanted: Bits = field(default_factory=Bits)  # messages of the sessions
    _seen: dict[str, int] = field(default_factory=dict)  # table → the last number gone through
    _doubtful: dict[str, set[int]] = field(default_factory=dict)  # table → rows that another process has changed

    def changes(self) -> Iterator[list[Change]]:
        """All that is to change, a piece at a time. What is recorded meanwhile is found when it is asked for again."""
        counted = self.censor.matches
        for number, text in self._rows("blobs", _BLOBS):
            if self.censor.json(text) != text:
                self._blobs.add(number)
        self.censor.matches = counted  # they count where they are held
        self._want()
        for table, sql, judge in (("messages", _MESSAGES, self._message), ("events", _EVENTS, self._event)):
            for number in self._doubtful.pop(table, ()):
                yield from _pieces(iter(self.connection.execute(sql, (number - 1, 1)).fetchall()), judge)
            yield from _pieces(self._rows(table, sql), judge)
        for place in AROUND:
            yield from self._around(place)

    def look_again(self, change: Change) -> None:
        """A row was not what it had been when it was looked at."""
        if change.table in self._seen:  # the others are gone through every time
            self._doubtful.setdefault(change.table, set()).add(next(iter(change.key.values())))

    def _want(self) -> None:
        """Takes in the messages of the sessions. One that a new event has come to share is looked at once more."""
        for session in self.sessions or ():
            for (number,) in self.connection.execute(_PATHS, {"session": session}).fetchall():
                if number not in self._wanted:
                    self._wanted.add(number)
                    if number <= self._seen.get("messages", 0):
                        self._seen["messages"] = 0

    def _rows(self, table: str, sql: str) -> Iterator[tuple[Any, ...]]:
        size = _FEWEST
        while True:
            seen = self._seen.get(table, 0)
            rows = self.connection.execute(sql, (seen, size)).fetchall()
            if not rows:
                return
            yield from rows
            self._seen[table] = rows[-1][0]
            self.progress(rows[-1][0] - seen)
            held = sum(len(value) for row in rows for value in row if isinstance(value, (str, bytes)))
            size = max(_FEWEST, min(_MOST, 2 * size, _PIECE * len(rows) // max(held, 1)))

    # Messages, events -----------------------------------------------------------------------------------------------

    def _message(self, row: tuple[Any, ...]) -> Change | None:
        number, parent, hashed, content = row
        if parent in self._touched:
            self._touched.add(number)
        if self.sessions is not None and number not in self._wanted:
            return None
        pieces = self._payload(content)
        if pieces is None:
            return None
        self._touched.add(number)
        old: dict[str, Any] = {"content": content}
        new: dict[str, Any] = {"content": pieces}
        if hashed is not None:
            old["hash"], new["hash"] = hashed, whole_hash(self.connection, pieces)
        return Change("messages", {"id": number}, old, new)

    def _event(self, row: tuple[Any, ...]) -> Change | None:
        seq, session, prompt, completion, *values = row
        old, new = {}, {}
        if self.sessions is None or session in self.sessions:
            for name, value in zip(_EVENT, values, strict=True):
                fresh: object = None
                if name in PAYLOADS:
                    fresh = self._payload(value)
                elif isinstance(value, str):
                    fresh = self._changed(value, self.censor.column(name == "extra"))
                if fresh is not None:
                    old[name], new[name] = value, fresh
        shown = tuple(name for name, node in (("prompt", prompt), ("completion", completion)) if node in self._touched)
        return Change("events", {"seq": seq}, old, new, session, shown) if new or shown else None

    def _payload(self, value: object) -> list[Piece] | None:
        """A payload without the text, in pieces; None if it does not stand in it."""
        if isinstance(value, str):
            scrubbed = self.censor.json(value)
            return None if scrubbed == value else [scrubbed]
        recipe = _recipe(value)
        pieces = [self._piece(piece) for piece in recipe]
        return None if pieces == recipe else pieces

    def _piece(self, piece: str | int) -> Piece:
        if isinstance(piece, str):
            return self.censor.json(piece)
        if piece not in self._blobs and piece <= self._seen.get("blobs", 0):
            return piece
        literal = blob_text(self.connection, piece)
        scrubbed = self.censor.json(literal)
        if scrubbed == literal:
            return piece
        return Fresh(scrubbed) if len(to_bytes(scrubbed)) >= LONG else scrubbed

    # What is around them --------------------------------------------------------------------------------------------

    def _around(self, place: Place) -> Iterator[list[Change]]:
        columns = (*place.plain, *place.json)
        key = ", ".join(place.key)
        select = f"SELECT {place.session}, {key}, {', '.join(columns)} FROM {place.table} WHERE {place.rows}"  # noqa: S608
        after: tuple[Any, ...] | None = None
        while True:
            later = f" AND ({key}) > ({', '.join('?' * len(place.key))})" if after is not None else ""
            sql = f"{select}{later} ORDER BY {key} LIMIT {_MOST}"
            rows = self.connection.execute(sql, after or ()).fetchall()
            if not rows:
                return
            found = [self._row(place, columns, row) for row in rows]
            yield [change for change in found if change is not None]
            after = tuple(rows[-1][1 : 1 + len(place.key)])

    def _row(self, place: Place, columns: Sequence[str], row: tuple[Any, ...]) -> Change | None:
        session = row[0]
        if self.sessions is not None and session not in self.sessions:
            return None
        old, new = {}, {}
        for name, value in zip(columns, row[1 + len(place.key) :], strict=True):
            if isinstance(value, str):
                fresh = self._changed(value, self.censor.column(name in place.json))
                if fresh is not None:
                    old[name], new[name] = value, fresh
        key = dict(zip(place.key, row[1:], strict=False))
        return Change(place.table, key, old, new, session, also=place.also) if new else None

    @staticmethod
    def _changed(value: str, scrub: Callable[[str], str]) -> str | None:
        scrubbed = scrub(value)
        return None if scrubbed == value else scrubbed


def to_text(raw: bytes) -> str:
    """Text as it stands in the database; another program may have written what is no UTF-8."""
    return raw.decode("utf-8", "surrogateescape")


def to_bytes(text: str) -> bytes:
    """The same, back again."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def blob_text(connection: sqlite3.Connection, number: int) -> str:
    """A long text, as a JSON string literal."""
    row = connection.execute(_BLOB, (number,)).fetchone()
    return '""' if row is None else str(row[0])


def whole_hash(connection: sqlite3.Connection, pieces: Iterable[Piece]) -> bytes:
    """What a message is found by: of its text whole."""
    hashed = blake2b(digest_size=16)
    for piece in pieces:
        text = piece.literal if isinstance(piece, Fresh) else piece
        hashed.update(to_bytes(blob_text(connection, text) if isinstance(text, int) else text))
    return hashed.digest()


def _pieces(
    rows: Iterator[tuple[Any, ...]], judge: Callable[[tuple[Any, ...]], Change | None]
) -> Iterator[list[Change]]:
    """What is found, some at a time, so that one transaction makes many changes."""
    found: list[Change] = []
    for row in rows:
        change = judge(row)
        if change is not None:
            found.append(change)
            if len(found) >= _MOST // 8:
                yield found
                found = []
    yield found


def _recipe(value: object) -> list[str | int]:
    """The pieces of a payload; none where it is none."""
    if not isinstance(value, bytes):
        return []
    try:
        found = json.loads(value)
    except ValueError:
        return []
    is_recipe = isinstance(found, list) and all(isinstance(piece, (str, int)) for piece in found)
    return found if is_recipe else []
