"""What a disk may hold after a power cut.

The model is adversarial and, we think, fair to ext4, XFS and the disks below them:

- What was synced (fsync or fdatasync, of the file itself) is there.
- Of what was not synced, each sector of 512 bytes holds, independently, what it held at the last sync or after any of
  the writes since: a later write may be there and an earlier one not, and a write of several sectors be torn. Within a
  sector nothing is torn.
- When a sync fails, Linux takes what it covered for written all the same, and the next sync that succeeds says nothing
  of it: it may be there or not for as long as its page (4096 bytes) is not written anew.
- A file that grew without a sync is as long as what is there of it needs, or longer by zeros: lengths are written
  apart from contents.
- Of changes that cut a file, a first part in their order is there: they are in the filesystem's journal. Whatever was
  written later, beyond a cut that is not there, is not there either: it went to blocks that the file did not have.
- Names (new, lost, renamed) appear, folder by folder, in their order up to some moment; up to the last sync of the
  folder they are all there. To sync a file does not keep its name, although ext4 and XFS are kinder than that. A rename
  is one step. A folder whose own name is missing is missing with all that is in it.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Iterable, Iterator

from tests.reliability.tools.powercut.operations import ROOT, Name, Operation, Resize, Run, Sync, Write

SECTOR = 512
PAGE = 4096
# How an image treats what was not synced; "mixed" draws anew for each file.
MANNERS = ("nothing", "everything", "first", "last", "some writes", "some sectors", "some sectors", "lengths", "mixed")


class _File:
    def __init__(self, content: bytes = b"") -> None:
        self.synced = bytearray(content)
        self.since: list[tuple[int, Write | Resize]] = []
        self._forgotten: set[int] = set()  # pages that the kernel takes for written, because a sync of them has failed

    def take(self, number: int, change: Write | Resize) -> None:
        self.since.append((number, change))
        if isinstance(change, Write):
            self._forgotten.difference_update(_pages(change))
        else:
            self._forgotten = {page for page in self._forgotten if page * PAGE < change.size}

    def sync(self, before: int, failed: bool) -> None:
        known = bisect_left(self.since, before, key=lambda entry: entry[0])
        done = self.since[:known]
        if failed:
            for group, forget in (
                (done, self._forgotten.update),
                (self.since[known:], self._forgotten.difference_update),
            ):
                for _, change in group:
                    if isinstance(change, Write):
                        forget(_pages(change))
            return
        left: list[tuple[int, Write | Resize]] = []
        for number, change in done:
            for piece in _by_page(change) if self._forgotten else (change,):
                if isinstance(piece, Write) and piece.offset // PAGE in self._forgotten:
                    left.append((number, piece))
                else:
                    _apply(self.synced, piece)
        self.since[:known] = left


class _Folder:
    def __init__(self) -> None:
        self.synced: dict[str, int] = {}
        self.since: list[tuple[int, Name]] = []

    def sync(self, before: int, failed: bool) -> None:
        while not failed and self.since and self.since[0][0] < before:
            _rename(self.synced, self.since.pop(0)[1])


class Disk:
    """The disk below the watched folder, from one operation to the next."""

    def __init__(self, before: dict[str, bytes | None]) -> None:
        self._count = 0
        self._files: dict[int, _File] = {}
        self._folders: dict[int, _Folder] = {ROOT: _Folder()}
        numbers = {"": ROOT}
        for number, (path, content) in enumerate(before.items(), 1):
            parent, _, name = path.rpartition("/")
            self._folders[numbers[parent]].synced[name] = numbers[path] = number
            if content is None:
                self._folders[number] = _Folder()
            else:
                self._files[number] = _File(content)

    def take(self, operation: Operation) -> None:
        """The next operation."""
        if isinstance(operation, Name):
            self._folders[operation.folder].since.append((self._count, operation))
            if operation.added is not None and operation.lost is None:
                if operation.is_folder:
                    self._folders[operation.node] = _Folder()
                else:
                    self._files[operation.node] = _File()
        elif isinstance(operation, (Write, Resize)):
            self._files[operation.node].take(self._count, operation)
        elif isinstance(operation, Sync):
            (self._folders.get(operation.node) or self._files[operation.node]).sync(operation.before, operation.failed)
        self._count += 1

    def image(self, dice: random.Random, manner: str) -> dict[str, bytes | None]:
        """A disk as a cut at this moment could leave it: its files by path; a folder is None."""
        found: dict[str, bytes | None] = {}
        self._collect(ROOT, "", dice, manner, found)
        return found

    def _collect(
        self, number: int, path: str, dice: random.Random, manner: str, found: dict[str, bytes | None]
    ) -> None:
        folder = self._folders[number]
        names = dict(folder.synced)
        kept = {"nothing": 0, "everything": len(folder.since)}.get(manner, dice.randint(0, len(folder.since)))
        for _, change in folder.since[:kept]:
            _rename(names, change)
        for name, node in names.items():
            if node in self._folders:
                found[path + name] = None
                self._collect(node, f"{path}{name}/", dice, manner, found)
            else:
                found[path + name] = _content(self._files[node], dice, manner)


def images(run: Run, count: int, seed: int) -> Iterator[tuple[int, str, dict[str, bytes | None]]]:
    """So many images of a run: the cut (before which operation), the manner, the files."""
    dice = random.Random(seed)
    cuts = sorted(dice.randint(0, len(run.operations)) for _ in range(count))
    disk = Disk(run.before)
    done = 0
    for cut in cuts:
        for operation in run.operations[done:cut]:
            disk.take(operation)
        done = cut
        manner = dice.choice(MANNERS)
        yield cut, manner, disk.image(dice, manner)


# One file -----------------------------------------------------------------------------------------------------------


def _content(file: _File, dice: random.Random, manner: str) -> bytes:
    if not file.since:
        return bytes(file.synced)
    if manner == "mixed":
        manner = dice.choice(MANNERS[:-1])
    changes = _those_possible([change for _, change in file.since], dice, manner)
    held = _versions(changes, dice, manner)
    content = bytearray(file.synced)
    for number, change in enumerate(changes):
        if isinstance(change, Resize):
            _apply(content, change)
        else:
            for piece in _pieces(change, number, held):
                _apply(content, piece)
    if manner == "lengths" or (manner.startswith("some") and dice.random() < 0.25):
        _lengthen(content, changes)
    return bytes(content)


def _those_possible(changes: list[Write | Resize], dice: random.Random, manner: str) -> list[Write | Resize]:
    """The changes without the cuts of the file that are not there, and what could only be written after them."""
    cuts = [number for number, change in enumerate(changes) if isinstance(change, Resize)]
    kept = {"nothing": 0, "everything": len(cuts), "lengths": len(cuts)}.get(manner, dice.randint(0, len(cuts)))
    if kept == len(cuts):
        return changes
    first = cuts[kept]
    possible, room = changes[:first], _size(changes[first])
    for change in changes[first:]:
        if isinstance(change, Resize):
            room = min(room, change.size)
        elif change.offset < room:
            possible.append(change._replace(data=change.data[: room - change.offset]))
    return possible


def _size(change: Write | Resize) -> int:
    return change.size if isinstance(change, Resize) else change.offset + len(change.data)


def _versions(changes: list[Write | Resize], dice: random.Random, manner: str) -> dict[int, int]:
    """For each sector the number of the last change that is there; it holds the earlier ones, too."""
    if manner in ("nothing", "lengths"):
        return {}
    share = dice.choice((0.05, 0.5, 0.95))
    middle = dice.randint(0, len(changes))
    held: dict[int, int] = {}
    for number, change in enumerate(changes):
        if isinstance(change, Resize):
            continue
        sectors = range(change.offset // SECTOR, -(-(change.offset + len(change.data)) // SECTOR))
        for sector in _kept(sectors, number, middle, share, dice, manner):
            held[sector] = number
    return held


def _kept(sectors: range, number: int, middle: int, share: float, dice: random.Random, manner: str) -> Iterable[int]:
    """The sectors of one write that are there."""
    if manner == "some sectors":
        return [sector for sector in sectors if dice.random() < share]
    if manner == "some writes":
        return sectors if dice.random() < share else ()
    if manner == "first" and number == middle:  # the last one of them is torn
        return sectors[: dice.randint(0, len(sectors))]
    whole = {"first": number < middle, "last": number >= middle, "everything": True}[manner]
    return sectors if whole else ()


def _pieces(change: Write, number: int, held: dict[int, int]) -> Iterator[Write]:
    """The parts of the write of this number that are there, neighbouring sectors together."""
    end = change.offset + len(change.data)
    begin: int | None = None
    for sector in range(change.offset // SECTOR, -(-end // SECTOR) + 1):
        there = sector * SECTOR < end and number <= held.get(sector, -1)
        if there and begin is None:
            begin = max(change.offset, sector * SECTOR)
        elif not there and begin is not None:
            stop = min(end, sector * SECTOR)
            yield Write(change.node, begin, change.data[begin - change.offset : stop - change.offset])
            begin = None


def _pages(change: Write) -> range:
    return range(change.offset // PAGE, -(-(change.offset + len(change.data)) // PAGE))


def _by_page(change: Write | Resize) -> Iterator[Write | Resize]:
    """A write, cut at the borders of pages."""
    if isinstance(change, Resize):
        yield change
        return
    for page in _pages(change):
        begin = max(change.offset, page * PAGE)
        end = min(change.offset + len(change.data), (page + 1) * PAGE)
        yield Write(change.node, begin, change.data[begin - change.offset : end - change.offset])


def _lengthen(content: bytearray, changes: list[Write | Resize]) -> None:
    size = len(content)
    for change in changes:
        size = change.size if isinstance(change, Resize) else max(size, _size(change))
    content.extend(bytes(max(0, size - len(content))))


def _apply(content: bytearray, change: Write | Resize) -> None:
    if isinstance(change, Resize):
        del content[change.size :]
        content.extend(bytes(change.size - len(content)))
        return
    content.extend(bytes(max(0, change.offset - len(content))))
    content[change.offset : change.offset + len(change.data)] = change.data


def _rename(names: dict[str, int], change: Name) -> None:
    if change.lost is not None:
        names.pop(change.lost, None)
    if change.added is not None:
        names[change.added] = change.node
