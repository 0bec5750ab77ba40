"""Texts of the database as parts of JSON documents.

A payload is JSON already, so it goes out as the text it is: nothing of it is changed by reading and writing it again,
and nothing is slower than it must be. But other programs can write to the file too, so each is checked: what is no JSON
goes out as a text, and a line break between two values as a space, for a line must stay one.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections import OrderedDict
from datetime import datetime, timedelta, timezone

import orjson

from agentops_local.clock import to_iso

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_YEAR_10000 = 253_402_300_800_000_000  # in microseconds
_KEPT = 4 << 20  # characters of long strings that are kept
_HALF = re.compile("[\ud800-\udfff]")
_BLOB = "SELECT text FROM blobs WHERE id = ?"


class Texts:
    """The payloads of a database, whole.

    Args:
        connection: from `analytics.reading`.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._blobs: OrderedDict[int, str] = OrderedDict()
        self._size = 0

    def raw(self, payload: object) -> str | None:
        """A payload as the JSON text that it is, or should be."""
        if payload is None or isinstance(payload, str):
            return payload
        if isinstance(payload, bytes):
            return self._made(payload)
        return str(payload)  # another program's number

    def json(self, payload: object) -> orjson.Fragment | None:
        """A payload as a part of a JSON document."""
        text = self.raw(payload)
        return None if text is None else orjson.Fragment(checked(text))

    def _made(self, recipe: bytes) -> str:
        try:
            pieces = orjson.loads(recipe)
        except orjson.JSONDecodeError:
            return recipe.decode("utf-8", "replace")
        if not isinstance(pieces, list):
            return recipe.decode("utf-8", "replace")
        return "".join([self._blob(piece) if isinstance(piece, int) else str(piece) for piece in pieces])

    def _blob(self, number: int) -> str:
        known = self._blobs.get(number)
        if known is not None:
            self._blobs.move_to_end(number)
            return known
        row = self._connection.execute(_BLOB, (number,)).fetchone()
        text = "" if row is None else str(row[0])
        self._blobs[number] = text
        self._size += len(text)
        while self._size > _KEPT and len(self._blobs) > 1:
            self._size -= len(self._blobs.popitem(last=False)[1])
        return text


def checked(text: str) -> str:
    """A text that is JSON, on one line; one that is none, as the JSON of a text."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            return _mended(text)
        except (ValueError, RecursionError):
            return orjson.dumps(text).decode()
    if "\n" in text or "\r" in text:  # between two values: within a text they are escaped
        text = text.replace("\r", " ").replace("\n", " ")
    return text


def loaded(text: str | None) -> object:
    """The value of a JSON text; the text itself if it is none."""
    if text is None:
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            found: object = json.loads(_mended(text))
            return found
        except (ValueError, RecursionError):
            return text


def plain(text: str | None) -> str | None:
    """A payload as people read it: a text without its quotes, anything else as JSON."""
    if text is not None and text[:1] == '"':
        value = loaded(text)
        if isinstance(value, str):
            return value
    return text


def iso(us: int | None) -> str | int | None:
    """ISO 8601 in UTC with a year of four digits; the number itself where no calendar has that year."""
    if us is None:
        return None
    if type(us) is int and 0 <= us < _YEAR_10000:
        return to_iso(us)
    try:
        return (_EPOCH + timedelta(microseconds=us)).isoformat(timespec="microseconds")
    except (OverflowError, TypeError):
        return us


def uuid_text(raw: object) -> str | None:
    """The text of a UUID."""
    if raw is None:
        return None
    digits = raw.hex() if isinstance(raw, bytes) else str(raw)
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _mended(text: str) -> str:
    """JSON that orjson refuses and others take: deep, or with half a surrogate pair, of which no UTF-8 can be made."""
    return _HALF.sub("\ufffd", json.dumps(json.loads(text), ensure_ascii=False, allow_nan=False))
