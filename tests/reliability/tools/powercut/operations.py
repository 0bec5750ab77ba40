"""What a program does to the files of a folder, as far as a power cut is concerned. A node is a file or a folder, by
a number that it keeps when it is renamed or removed; ROOT is the folder that is watched."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

ROOT = 0


class Write(NamedTuple):
    """Bytes go to a place in a file, which grows if need be."""

    node: int
    offset: int
    data: bytes


class Resize(NamedTuple):
    """A file is cut, or grows by zeros."""

    node: int
    size: int


class Name(NamedTuple):
    """A folder gets a name for a node, or loses one; both at once is a rename."""

    folder: int
    added: str | None
    node: int  # that is named; -1 where a name is only lost
    lost: str | None
    is_folder: bool = False


class Sync(NamedTuple):
    """What was done to a file, or to the names of a folder, before the operation number `before` is on the disk; or,
    where it failed, nobody knows what of it is."""

    node: int
    before: int
    failed: bool = False


class Said(NamedTuple):
    """What left the process: a piece of its standard output, or of what it sent through a socket."""

    text: str
    socket: bool = False


Operation = Write | Resize | Name | Sync | Said


class Run(NamedTuple):
    """A run of a program.

    Attributes:
        before: the files (and folders: None) that there were in the folder, by their path in it.
        operations: what happened, in order.
        code: the exit code.
        errors: what stands on standard error.
    """

    before: dict[str, bytes | None]
    operations: list[Operation]
    code: int
    errors: str

    def lines(self, word: str) -> list[tuple[int, list[str]]]:
        """The lines on standard output with this first word, in words, each with the number of the operation that
        ended it: a cut after that number must respect it."""
        found: list[tuple[int, list[str]]] = []
        rest = ""
        for number, operation in enumerate(self.operations):
            if isinstance(operation, Said) and not operation.socket:
                *whole, rest = (rest + operation.text).split("\n")
                found += [(number, line.split()) for line in whole if line.split()[:1] == [word]]
        return found


def files_of(folder: Path) -> dict[str, bytes | None]:
    """All that is in a folder, by its path in it; a folder is None."""
    found: dict[str, bytes | None] = {}
    for path in sorted(folder.rglob("*")):
        found[str(path.relative_to(folder))] = None if path.is_dir() else path.read_bytes()
    return found
