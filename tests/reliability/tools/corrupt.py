"""Damages an SQLite file in one of the ways that disks, memories, cables and careless programs do.

    python -m tests.reliability.tools.corrupt --kind "bit flips" --seed 7 notes.db

The file must not be open anywhere. Which pages were touched is printed: what stands on others ought to be readable.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

SECTOR = 512


class File:
    """A database file, and where its parts are.

    Attributes:
        touched: the pages that were changed; those that are gone, too.
    """

    def __init__(self, path: Path, chance: random.Random) -> None:
        self.path = path
        self.chance = chance
        self.data = bytearray(path.read_bytes())
        size = int.from_bytes(self.data[16:18], "big")
        self.page = 65536 if size == 1 else size
        self.count = len(self.data) // self.page
        self.touched: set[int] = set()

    def write(self, at: int, content: bytes) -> None:
        """Overwrites bytes."""
        if self.data[at : at + len(content)] != content:
            self.data[at : at + len(content)] = content
            self.touched.update(range(at // self.page + 1, (at + len(content) - 1) // self.page + 2))

    def spoil(self, number: int) -> None:
        """Makes a page garbage, or zeros."""
        self.write((number - 1) * self.page, self.chance.choice([self.chance.randbytes(self.page), bytes(self.page)]))

    def cut(self, size: int) -> None:
        """Cuts the file off."""
        self.touched.update(range(size // self.page + 1, self.count + 1))
        del self.data[size:]

    def get(self, number: int) -> bytes:
        """A page."""
        return bytes(self.data[(number - 1) * self.page : number * self.page])

    def any_page(self) -> int:
        """A page by chance."""
        return self.chance.randrange(1, self.count + 1)

    def pages(self, condition: str) -> list[int]:
        """Pages by what they are in it, as SQLite's own table `dbstat` tells."""
        with closing(sqlite3.connect(self.path)) as connection:
            sql = f"SELECT pageno FROM dbstat WHERE {condition} ORDER BY pageno"
            return [row[0] for row in connection.execute(sql).fetchall()]


def _header(file: File) -> None:
    at = file.chance.choice([0, 0, 16, 28, 44])
    file.write(at, file.chance.choice([bytes(100 - at), file.chance.randbytes(100 - at)]))


def _schema_gone(file: File) -> None:
    file.spoil(1)
    for number in file.chance.sample(file.pages("name IN ('sqlite_schema', 'sqlite_master') AND pageno > 1"), 3):
        file.spoil(number)


def _inner_pages(file: File) -> None:
    inner = file.pages("pagetype = 'internal' AND pageno > 1")
    for number in file.chance.sample(inner, file.chance.randint(1, len(inner))):
        file.spoil(number)


def _root_pages(file: File) -> None:
    for number in file.chance.sample(file.pages("path = '/' AND pageno > 1"), 6):
        file.spoil(number)


def _garbage_pages(file: File) -> None:
    for number in {file.any_page() for _ in range(file.chance.randint(1, 8))}:
        file.spoil(number)


def _bit_flips(file: File) -> None:
    for _ in range(file.chance.choice([1, 1, 3, 20])):
        at = file.chance.randrange(len(file.data))
        file.write(at, bytes([file.data[at] ^ 1 << file.chance.randrange(8)]))


def _truncated(file: File) -> None:
    file.cut(file.chance.randrange(file.page + 1, len(file.data)))


def _swapped(file: File) -> None:
    for _ in range(file.chance.randint(1, 4)):
        one, other = file.any_page(), file.any_page()
        first, second = file.get(one), file.get(other)
        file.write((one - 1) * file.page, second)
        if file.chance.random() < 0.5:
            file.write((other - 1) * file.page, first)


def _chains(file: File) -> None:
    """The list of free pages, or the chains of long texts, lead somewhere else; and a tree is broken."""
    chains = file.pages("pagetype = 'overflow'")
    for number in file.chance.sample(chains, min(4, len(chains))):
        file.write((number - 1) * file.page, file.any_page().to_bytes(4, "big"))
    file.write(32, file.any_page().to_bytes(4, "big") + file.chance.randrange(999).to_bytes(4, "big"))
    file.spoil(file.chance.choice(file.pages("pagetype = 'internal' AND pageno > 1")))


def _sectors(file: File) -> None:
    for _ in range(file.chance.randint(1, 12)):
        file.write(file.chance.randrange(len(file.data) // SECTOR) * SECTOR, bytes(SECTOR))


def _tail_zeros(file: File) -> None:
    at = file.chance.randrange(file.page, len(file.data))
    file.write(at, bytes(len(file.data) - at))


def _one_byte(file: File) -> None:
    file.cut(1)
    file.touched.add(1)


KINDS: dict[str, Callable[[File], None]] = {
    "header": _header,
    "schema gone": _schema_gone,
    "inner pages": _inner_pages,
    "root pages": _root_pages,
    "garbage pages": _garbage_pages,
    "bit flips": _bit_flips,
    "truncated": _truncated,
    "pages swapped or doubled": _swapped,
    "chains broken": _chains,
    "sectors zeroed": _sectors,
    "tail of zeros": _tail_zeros,
    "one byte": _one_byte,
}


def damage(kind: str, path: Path, chance: random.Random) -> set[int]:
    """Damages a file; the pages that are not what they were."""
    file = File(path, chance)
    KINDS[kind](file)
    path.write_bytes(file.data)
    return file.touched


def damage_wal(path: Path, chance: random.Random) -> int:
    """Tears a WAL, flips a bit in it or overwrites a part; the place up to which it is as it was."""
    data = bytearray(path.read_bytes())
    at = chance.randrange(32, len(data))
    how = chance.randrange(3)
    if how == 0:
        del data[at:]
    elif how == 1:
        data[at] ^= 1 << chance.randrange(8)
    else:
        data[at : at + 2000] = chance.randbytes(len(data[at : at + 2000]))
    path.write_bytes(data)
    return at


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=sorted(KINDS), required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("file", type=Path)
    given = parser.parse_args()
    touched = sorted(damage(given.kind, given.file, random.Random(given.seed)))
    print(f"{len(touched)} pages touched:", *touched)


if __name__ == "__main__":
    main()
