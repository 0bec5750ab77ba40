"""Varints and records, as SQLite writes them.

The facts are those of https://sqlite.org/fileformat2.html, sections 1.6 and 2.1. A record is a header (its own size,
then a serial type for each column) and the values one after the other. Of one that was cut off, everything up to the
cut can be read still, and the header tells what is missing: that is why this is not left to SQLite.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

# The storage classes of a value, as a set.
NULL, INTEGER, REAL, TEXT, BLOB = 1, 2, 4, 8, 16
ANY = NULL | INTEGER | REAL | TEXT | BLOB

_SIZES = (0, 1, 2, 3, 4, 6, 8, 8, 0, 0)
_CLASSES = (NULL, *[INTEGER] * 6, REAL, INTEGER, INTEGER)


class Unreadable(Exception):
    """Bytes that are not what they ought to be."""


class Cut(NamedTuple):
    """What is left of a value whose end, or all of which, cannot be read.

    Attributes:
        begin: the bytes that can.
        size: how many there were.
    """

    begin: bytes
    size: int


class Altered(str):
    """A text that is no UTF-8 any more, with replacement characters for what is none."""

    __slots__ = ()


Value = None | int | float | str | bytes | Cut


def varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of one to nine bytes, signed in 64 bits, and where it ends.

    Raises:
        IndexError: the data ends before it.
    """
    byte = data[at]
    if byte < 0x80:
        return byte, at + 1
    value = byte & 0x7F
    for end in range(at + 1, at + 8):
        byte = data[end]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, end + 1
    value = value << 8 | data[at + 8]
    return (value - (1 << 64) if value >> 63 else value), at + 9


def serial_size(serial: int) -> int:
    """How many bytes a value of this serial type takes."""
    return (serial - 12) >> 1 if serial >= 12 else _SIZES[serial]


def storage_class(serial: int) -> int:
    """The storage class of a value of this serial type."""
    if serial >= 12:
        return TEXT if serial & 1 else BLOB
    return _CLASSES[serial]


def serials(payload: bytes, size: int, count: int | None = None) -> tuple[list[int], int]:
    """The serial types of a record, and where its values begin.

    Args:
        payload: the record, as much of it as can be read.
        size: how large it is.
        count: how many columns it must have.

    Raises:
        Unreadable: it is no record, or one with another number of columns.
    """
    found: list[int] = []
    try:
        begin, at = varint(payload, 0)
        if not at <= begin <= size:
            raise Unreadable("the header of a record is larger than the record")
        while at < begin:
            serial, at = varint(payload, at)
            if serial < 0 or serial in (10, 11):
                raise Unreadable(f"there is no serial type {serial}")
            found.append(serial)
    except IndexError:
        raise Unreadable("a record ends within its header") from None
    if at != begin or (count is not None and len(found) != count):
        raise Unreadable(f"a record has {len(found)} columns")
    if begin + sum(map(serial_size, found)) != size:
        raise Unreadable("a record has another size than its values")
    return found, begin


def values(payload: bytes, types: Sequence[int], at: int) -> list[Value]:
    """The values of a record whose serial types are known, from where they begin."""
    found: list[Value] = []
    for serial in types:
        size = serial_size(serial)
        part = payload[at : at + size]
        at += size
        if len(part) < size:
            found.append(Cut(part, size))
        elif serial >= 13 and serial & 1:
            found.append(as_text(part))
        elif serial >= 12:
            found.append(part)
        elif serial == 7:
            found.append(float(struct.unpack(">d", part)[0]))
        elif serial >= 8:
            found.append(serial - 8)
        elif serial:
            found.append(int.from_bytes(part, "big", signed=True))
        else:
            found.append(None)
    return found


def as_text(part: bytes) -> str:
    """A text as it is stored; `Altered` if it is none."""
    try:
        return part.decode()
    except UnicodeDecodeError:
        return Altered(part.decode("utf-8", "replace"))


def decode(payload: bytes) -> list[Value]:
    """The values of a whole record.

    Raises:
        Unreadable: it is none.
    """
    types, begin = serials(payload, len(payload))
    return values(payload, types, begin)
