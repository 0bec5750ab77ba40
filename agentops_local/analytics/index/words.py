"""The words of what was recorded: every message once, and what events hold beside their messages."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import Iterable, Iterator

import orjson

from agentops_local.analytics.index.tables import TEXTS

PIECE = 2_000  # events in a transaction, about a tenth of a second
_LONGEST = 1.0  # seconds that a search spends on the words of others
_PAUSE = 0.001  # seconds in which another may take its turn
_MEMORY = 64 << 20  # bytes of words that are gathered before they are written; with 1 MB it takes half as long again
_ENCODED = re.compile(r"data:[\w.+-]+/|[A-Za-z0-9+/_=-]{1000,}\Z")  # an image and the like: no words

EVENTS = """
SELECT e.seq, e.kind, e.prompt, e.completion, e.name, e.code, e.params, e.returns, e.logs, e.details
FROM payloads e WHERE e.seq > ? AND e.seq <= ? ORDER BY e.seq LIMIT ?
"""
_KNOWN = """
SELECT coalesce((SELECT value FROM idx.marks WHERE key = 'text_seq'), 0),
       coalesce((SELECT max(message) FROM idx.places), 0)
"""
FIELDS = ("name", "code", "params", "returns", "logs", "details")
_TEXTS = "SELECT id, text FROM message_texts WHERE id IN (SELECT value FROM json_each(?))"


def catch_up(connection: sqlite3.Connection) -> None:
    """Takes up words of the events that are counted by now, and where their messages came up, for about a second: those
    of a million events take minutes, and who searches can look at the rest himself (see `known`). Only the places of
    messages where SQLite has no FTS5 with trigrams.

    Raises:
        sqlite3.Error: the index cannot be written, or is damaged.
    """
    deadline = time.monotonic() + _LONGEST
    while not _piece(connection) and time.monotonic() < deadline:
        time.sleep(_PAUSE)


def known(connection: sqlite3.Connection) -> tuple[int, int]:
    """The last event and the last message whose words are known."""
    row = connection.execute(_KNOWN).fetchone()
    return (row[0], row[1]) if are_known(connection) else (0, 0)


def are_known(connection: sqlite3.Connection) -> bool:
    """Whether the index has words at all."""
    sql = "SELECT 1 FROM idx.sqlite_master WHERE name = 'event_words'"
    return connection.execute(sql).fetchone() is not None


def words(payload: str | None) -> Iterator[str]:
    """The texts in a payload: what stands in its strings, names and numbers, as a reader sees it."""
    if payload is None:
        return
    try:
        value = orjson.loads(payload)
    except ValueError:
        yield payload
        return
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            if not (len(value) > 1000 and _ENCODED.match(value)):
                yield value
        elif isinstance(value, dict):
            for name, member in reversed(value.items()):
                waiting += (member, name)
        elif isinstance(value, list):
            waiting += reversed(value)
        elif value is not None:
            yield str(value)


def _piece(connection: sqlite3.Connection) -> bool:
    connection.execute("BEGIN IMMEDIATE")
    try:
        marks = {row[0]: row[1] for row in connection.execute("SELECT key, value FROM idx.marks").fetchall()}
        last, top = marks.get("text_seq"), marks.get("seq", 0)
        if last is None:
            last = _begin(connection)
        seen = _take(connection, last, top)
        connection.execute("INSERT OR REPLACE INTO idx.marks (key, value) VALUES ('text_seq', ?)", (seen,))
        connection.execute("COMMIT")
        return bool(seen >= top)
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _begin(connection: sqlite3.Connection) -> int:
    try:
        for statement in TEXTS:
            connection.execute(statement)
    except sqlite3.OperationalError as error:
        if "no such" not in str(error) and "error in tokenizer" not in str(error):  # of the module, of the tokenizer
            raise
    return 0


def _take(connection: sqlite3.Connection, last: int, top: int) -> int:
    """Takes up a piece; the last event of it."""
    rows = connection.execute(EVENTS, (last, top, PIECE)).fetchall()
    told = []
    new: dict[int, int] = {}
    for row in rows:
        text = "\n".join(part for field in FIELDS for part in _field(row, field))
        if text:
            told.append((row["seq"], text))
        for message in (row["prompt"], row["completion"]):
            if message is not None:
                _climb(connection, message, row["seq"], new)
    connection.executemany("INSERT INTO idx.places (message, seq) VALUES (?, ?)", new.items())
    if are_known(connection):
        texts = connection.execute(_TEXTS, (json.dumps(list(new)),)).fetchall()
        _put(connection, "event_words", told)
        _put(connection, "message_words", ((row["id"], "\n".join(words(row["text"]))) for row in texts))
    return int(rows[-1]["seq"]) if len(rows) == PIECE else top


def _put(connection: sqlite3.Connection, table: str, texts: Iterable[tuple[int, str]]) -> None:
    connection.execute(f"INSERT INTO idx.{table} ({table}, rank) VALUES ('hashsize', ?)", (_MEMORY,))  # noqa: S608
    connection.executemany(f"INSERT INTO idx.{table} (rowid, text) VALUES (?, ?)", texts)  # noqa: S608 - our own names


def _field(row: sqlite3.Row, field: str) -> Iterator[str]:
    if field in ("name", "code"):
        if row[field]:
            yield str(row[field])
        return
    yield from words(row[field])


def _climb(connection: sqlite3.Connection, message: int, seq: int, new: dict[int, int]) -> None:
    """Finds the messages that come up first with this event: up from its last one, to the first that is known."""
    at: int | None = message
    while at is not None and at not in new:
        if connection.execute("SELECT 1 FROM idx.places WHERE message = ?", (at,)).fetchone() is not None:
            return
        new[at] = seq
        row = connection.execute("SELECT parent FROM messages WHERE id = ?", (at,)).fetchone()
        parent = None if row is None else row[0]
        at = parent if parent is not None and parent < at else None  # a damaged row that named itself would go round
