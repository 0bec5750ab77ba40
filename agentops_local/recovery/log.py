"""The logs beside a database that say what is newer, or older, than the file: a WAL, or a rollback journal.

The facts are those of https://sqlite.org/fileformat2.html, sections 3 and 4. Only what SQLite itself would believe is
believed: frames whose salts and checksums are right, up to the last one that commits. A torn tail, or anything that has
been changed, ends it.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field
from pathlib import Path

_WAL_MAGIC = 0x377F0682  # the lowest bit tells the byte order of the checksums
_WAL_VERSION = 3007000
_WAL_HEADER, _FRAME_HEADER = 32, 24
_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
_JOURNAL_HEADER = 28
_SIZES = frozenset(1 << power for power in range(9, 17))


@dataclass
class Log:
    """The pages in a log that stand for those in the file.

    Attributes:
        places: where each begins in the log.
        count: how many pages the database has by it; 0 if there is none.
        page_size: the size of its pages; 0 if there is none.
    """

    places: dict[int, int] = field(default_factory=dict)
    count: int = 0
    page_size: int = 0


def checksum(data: bytes, order: str, so_far: tuple[int, int]) -> tuple[int, int]:
    """The checksum of a WAL over some more words, whose number is even."""
    first, second = so_far
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    for one, two in zip(words, words, strict=True):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + two + first) & 0xFFFFFFFF
    return first, second


def read_wal(path: Path) -> Log:
    """The committed pages of a WAL, the newest of each."""
    log = Log()
    try:
        file = path.open("rb")
    except OSError:
        return log
    with file:
        end = os.fstat(file.fileno()).st_size
        header = file.read(_WAL_HEADER)
        if len(header) < _WAL_HEADER:
            return log
        magic, version, size, _, *salts, one, two = struct.unpack(">8I", header)
        order = ">" if magic & 1 else "<"
        sums = checksum(header[:24], order, (0, 0))
        if magic | 1 != _WAL_MAGIC | 1 or version != _WAL_VERSION or size not in _SIZES or sums != (one, two):
            return log
        log.page_size = size
        pending: dict[int, int] = {}
        at = _WAL_HEADER
        while len(frame := file.read(_FRAME_HEADER + size)) == _FRAME_HEADER + size:
            number, commit, *frame_salts, one, two = struct.unpack(">6I", frame[:_FRAME_HEADER])
            sums = checksum(frame[:8], order, sums)
            sums = checksum(frame[_FRAME_HEADER:], order, sums)
            if frame_salts != salts or sums != (one, two) or not number:
                break
            pending[number] = at + _FRAME_HEADER
            if commit:
                log.places.update(pending)
                log.count = commit
                pending.clear()
            at += len(frame)
        # A program that still had the file open has moved the log into it meanwhile, and emptied it. Of half a log the
        # number of pages would be that of an earlier moment, and what was committed since beyond the end.
        shrunk = os.fstat(file.fileno()).st_size < end
    return read_wal(path) if shrunk else log


def read_journal(path: Path) -> Log:
    """The pages as they were before a transaction that was cut short in a rollback journal's mode."""
    log = Log()
    try:
        file = path.open("rb")
    except OSError:
        return log
    with file:
        end = os.fstat(file.fileno()).st_size
        at = 0
        while at + _JOURNAL_HEADER <= end:
            file.seek(at)
            header = file.read(_JOURNAL_HEADER)
            records, nonce, count, sector, size = struct.unpack(">5I", header[8:])
            if not header.startswith(_JOURNAL_MAGIC) or size not in _SIZES or not 32 <= sector <= 65536:
                break
            log.count, log.page_size = log.count or count, size
            at += sector
            if records == 0xFFFFFFFF:
                records = (end - at) // (size + 8)
            for _ in range(records):
                file.seek(at)
                record = file.read(size + 8)
                number = int.from_bytes(record[:4], "big")
                if len(record) < size + 8 or _sum(record[4:-4], nonce) != int.from_bytes(record[-4:], "big"):
                    return log
                log.places.setdefault(number, at + 4)
                at += size + 8
            at = -(-at // sector) * sector
    return log


def _sum(page: bytes, nonce: int) -> int:
    return (nonce + sum(page[at] for at in range(len(page) - 200, 0, -200))) & 0xFFFFFFFF
