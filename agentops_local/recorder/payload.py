"""Payloads: JSON text, with its long strings put aside to be stored once.

A recipe (see schema.sql) is a JSON array in which a text stands for itself and a number names a row of `blobs`.
"""

from __future__ import annotations

import json
import re
import sqlite3
from hashlib import blake2b
from typing import NamedTuple

LONG = 2048  # bytes of a JSON string literal from which it is stored once, by content

# Every string literal of a JSON text, in order; the unrolled form runs through long strings without backtracking.
_LITERAL = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


class Long(NamedTuple):
    """A string literal to be stored once."""

    hash: bytes
    text: str


class Encoded(NamedTuple):
    """A value that was turned into JSON earlier, when it still was what it is to be recorded as."""

    raw: bytes


class Recipe(NamedTuple):
    """A payload in pieces."""

    pieces: tuple[str | Long, ...]


def cut(raw: bytes) -> str | Recipe:
    """A payload from JSON in UTF-8: itself, or a recipe if it holds a long string."""
    if len(raw) < LONG:
        return raw.decode()
    pieces: list[str | Long] = []
    done = 0
    for literal in _LITERAL.finditer(raw):
        start, end = literal.span()
        if end - start < LONG:
            continue
        if start > done:
            pieces.append(raw[done:start].decode())
        text = raw[start:end]
        pieces.append(Long(blake2b(text, digest_size=16).digest(), text.decode()))
        done = end
    if not pieces:
        return raw.decode()
    if done < len(raw):
        pieces.append(raw[done:].decode())
    return Recipe(tuple(pieces))


def place(connection: sqlite3.Connection, payload: str | Recipe) -> str | bytes:
    """The value for the column: text, or the recipe with its long strings stored. In a transaction.

    No row number is remembered between transactions: a pruned blob would be pointed at by nothing that could notice.
    """
    if isinstance(payload, str):
        return payload
    recipe: list[str | int] = []
    for piece in payload.pieces:
        if isinstance(piece, str):
            recipe.append(piece)
            continue
        found = connection.execute("SELECT id FROM blobs WHERE hash = ?", (piece.hash,)).fetchone()
        if found is None:
            row = connection.execute("INSERT INTO blobs (hash, text) VALUES (?, ?)", piece).lastrowid
            recipe.append(int(row or 0))
        else:
            recipe.append(found[0])
    return json.dumps(recipe).encode()
