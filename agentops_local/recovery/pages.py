"""The pages of a database file, read without SQLite, which refuses a file as soon as it meets a part that is wrong.

The facts are those of https://sqlite.org/fileformat2.html, sections 1 and 2. A page is given as the newest committed
version of it: from the log beside the file, if it is there, else from the file. Only what the cell pointers of a page
name is read, never the gaps between: what was deleted may still stand there.

The header tells the size of the pages, unless it is damaged. So sizes are tried, and that is the right one by which
most pages look like nodes of a tree whose cells reach exactly to the end of the page, as SQLite lays them out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from errno import ENOENT
from pathlib import Path
from typing import NamedTuple

from agentops_local.recovery.log import Log, read_journal, read_wal
from agentops_local.recovery.record import Unreadable, varint

MAGIC = b"SQLite format 3\0"
INDEX_NODE, TABLE_NODE, INDEX_LEAF, TABLE_LEAF = 2, 5, 10, 13
NODES = frozenset((INDEX_NODE, TABLE_NODE, INDEX_LEAF, TABLE_LEAF))
_LOCK_BYTE = 1 << 30  # the page with this byte is never used
_SIZES = (4096, 1024, 2048, 8192, 16384, 32768, 65536, 512)
_SAMPLES = 64


class Cell(NamedTuple):
    """An entry of a page.

    Attributes:
        child: the page to its left; 0 in a leaf.
        key: the number of the row; 0 in an index.
        size: of its record, all of it.
        local: the part of the record that stands in the page itself.
        overflow: the page that holds the next part; 0 if there is none.
    """

    child: int
    key: int
    size: int
    local: bytes
    overflow: int


class Image:
    """A damaged file and the log beside it. Afterwards, `close` it.

    Attributes:
        page_size: of its pages.
        usable: of that, what SQLite uses.
        count: how many pages there are.
        logged: how many of them are read from the log.
        header: the first 100 bytes, or as many as there are.
        cut_off: how many pages more there were, by the header.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():  # a folder can be opened, and then reads like a disk that fails everywhere
            raise FileNotFoundError(ENOENT, "it is no file", str(path))
        self._file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self._log_file = -1
        self._log = Log()
        for end, read in (("-wal", read_wal), ("-journal", read_journal)):
            beside = path.with_name(path.name + end)
            log = read(beside)
            if log.places:
                self._log = log
                self._log_file = os.open(beside, os.O_RDONLY | getattr(os, "O_BINARY", 0))
                break
        size = os.fstat(self._file).st_size
        self.page_size, reserved = _page_size(self, size)
        self.usable = self.page_size - reserved
        if self._log.page_size != self.page_size:
            self._log = Log()
        self.logged = len(self._log.places)
        # What the file has beyond what the log says was cut off by a transaction; what it lacks stands in the log.
        self.count = self._log.count or -(-size // self.page_size)
        self.header = self.page(1)[:100]
        # The header counts the pages since SQLite 3.7.0; the two counters are equal where it has done so last.
        counts = self.header.startswith(MAGIC) and self.word(24) == self.word(92)
        self.cut_off = max(0, self.word(28) - self.count) if counts else 0

    def close(self) -> None:
        """Closes the files."""
        os.close(self._file)
        if self._log_file >= 0:
            os.close(self._log_file)

    def page(self, number: int) -> bytes:
        """A page; shorter, or empty, if it cannot be read."""
        place = self._log.places.get(number)
        if place is not None:
            found = self.read(place, self.page_size, self._log_file)
            if len(found) == self.page_size:
                return found
            # Whoever still had the file open has moved the log into it meanwhile, and emptied it.
        return self.read((number - 1) * self.page_size, self.page_size)

    def read(self, at: int, size: int, file: int | None = None) -> bytes:
        """Bytes of the file; fewer where it ends, none where the disk fails."""
        file = self._file if file is None else file
        try:
            os.lseek(file, at, os.SEEK_SET)
            return os.read(file, size)
        except OSError:
            return b""

    def exists(self, number: int) -> bool:
        """Whether a page of this number can hold anything."""
        return 2 <= number <= self.count and number != _LOCK_BYTE // self.page_size + 1

    def word(self, at: int) -> int:
        """Four bytes of the header, as a number."""
        return int.from_bytes(self.header[at : at + 4], "big")

    def cells(self, page: bytes, number: int) -> Iterator[Cell | None]:
        """The entries of a node, in order; None for one that cannot be read.

        Raises:
            Unreadable: it is no node.
        """
        kind, places, _ = node(page, number, self.usable)
        for place in places:
            yield _cell(page, kind, place, self.usable)

    def children(self, page: bytes, number: int) -> list[int]:
        """The pages below a node that is no leaf, as far as they can be read; 0 for one that cannot.

        Raises:
            Unreadable: it is no node.
        """
        _, places, last = node(page, number, self.usable)
        found = [int.from_bytes(page[place : place + 4], "big") for place in places]
        return [child if self.exists(child) else 0 for child in (*found, last)]


def node(page: bytes, number: int, usable: int) -> tuple[int, list[int], int]:
    """What kind of node a page is, where its cells begin, and its last child (0 in a leaf).

    Raises:
        Unreadable: it is none.
    """
    head = 100 if number == 1 else 0
    if len(page) < head + 12 or page[head] not in NODES:
        raise Unreadable("it is no node of a tree")
    kind = page[head]
    leaf = kind in (INDEX_LEAF, TABLE_LEAF)
    count = int.from_bytes(page[head + 3 : head + 5], "big")
    begin = head + (8 if leaf else 12)
    end = begin + 2 * count
    if end > usable or len(page) < usable:
        raise Unreadable("it has more cells than room")
    places = [int.from_bytes(page[at : at + 2], "big") for at in range(begin, end, 2)]
    # One that points into the header or out of the page is no reason to give up the others.
    places = [place if end <= place < usable - 3 else usable for place in places]
    return kind, places, 0 if leaf else int.from_bytes(page[head + 8 : head + 12], "big")


def local_size(size: int, kind: int, usable: int) -> int:
    """How much of a record of some size stands in the page itself."""
    most = usable - 35 if kind == TABLE_LEAF else (usable - 12) * 64 // 255 - 23
    if size <= most:
        return size
    least = (usable - 12) * 32 // 255 - 23
    better = least + (size - least) % (usable - 4)
    return better if better <= most else least


def _cell(page: bytes, kind: int, at: int, usable: int) -> Cell | None:
    try:
        return _read_cell(page, kind, at, usable)
    except (IndexError, Unreadable):
        return None


def _read_cell(page: bytes, kind: int, at: int, usable: int) -> Cell:
    child = size = key = 0
    if kind in (INDEX_NODE, TABLE_NODE):
        child = int.from_bytes(page[at : at + 4], "big")
        at += 4
    if kind == TABLE_NODE:
        key, _ = varint(page, at)
        return Cell(child, key, 0, b"", 0)
    size, at = varint(page, at)
    if kind == TABLE_LEAF:
        key, at = varint(page, at)
    if size < 0:
        raise Unreadable("a record of a size below 0")
    end = at + local_size(size, kind, usable)
    overflow = 0
    if end - at < size:
        overflow = int.from_bytes(page[end : end + 4], "big")
    if end + (4 if overflow else 0) > usable:
        raise Unreadable("a cell that reaches out of its page")
    return Cell(child, key, size, page[at:end], overflow)


def _page_size(image: Image, size: int) -> tuple[int, int]:
    """The size of the pages, and how many bytes at the end of each are not used."""
    header = image.read(0, 100)
    said = int.from_bytes(header[16:18], "big")
    said = 65536 if said == 1 else said
    reserved = header[20] if len(header) > 20 else 0
    candidates = [(candidate, 0) for candidate in _SIZES]
    if header.startswith(MAGIC) and said in _SIZES and reserved <= said - 480:
        candidates.insert(0, (said, reserved))
    scores = [(_score(image, size, *candidate), -place) for place, candidate in enumerate(candidates)]
    return candidates[-max(scores)[1]]


def _score(image: Image, size: int, page_size: int, reserved: int) -> int:
    """How many of some pages, spread over the file, are laid out as pages of this size."""
    count = size // page_size
    step = max(1, count // _SAMPLES)
    return sum(_fits(image.read(at * page_size, page_size), page_size - reserved) for at in range(1, count, step))


def _fits(page: bytes, usable: int) -> bool:
    try:
        kind, places, _ = node(page, 2, usable)
        if not places:
            return False
        place = max(places)
        cell = _read_cell(page, kind, place, usable)
    except (Unreadable, IndexError):
        return False
    if kind == TABLE_NODE:
        _, end = varint(page, place + 4)
        return end == usable
    end = usable - (4 if cell.overflow else 0)
    return cell.size > 0 and page[end - len(cell.local) : end] == cell.local
