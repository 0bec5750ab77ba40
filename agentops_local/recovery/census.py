"""Which page belongs to which tree.

The trees are walked from the table of the tables, each page is looked at, and one whose records are not those of the
tree is no part of it (two pages may have been swapped). Where a tree is broken, pages hang in the air that belong to
it; they are known by their records.

What was deleted must not come back. So a page in the air is read only for a table whose tree is broken, and never if
the list of free pages names it. That list may be broken itself: what can be read of it still counts, and no more is
needed, because `rm` and `prune` overwrite each page that they free (secure_delete).
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from agentops_local.recovery.layout import SCHEMA, Tree, trees
from agentops_local.recovery.pages import INDEX_LEAF, INDEX_NODE, TABLE_LEAF, TABLE_NODE, Image, node
from agentops_local.recovery.record import Unreadable, Value, serials, values

FREE, FOREIGN = 255, 254  # beside the numbers of our trees, from 1 on
_INNER = frozenset((INDEX_NODE, TABLE_NODE))
_TRIED = 16  # cells by which a page is known
# The first words of rows of `about`; two indexes have records of the same shape.
_ABOUT = ("generation", "created_us", "created_by", "erasing", "scrubbing", "rewrite_due", "salvaged ")


@dataclass
class Census:
    """The pages of a damaged file, by tree.

    Args:
        image: the file.

    Attributes:
        owners: for each page the number of its tree, or FREE, FOREIGN; 0 if nothing names it.
        pages: of each tree, those that hold records.
        broken: trees of which a part could not be reached.
        unreadable: pages that a tree names and that are no part of it.
        free_list_broken: whether the list of free pages is.
        adrift: pages that no tree reached and that were known by their records.
    """

    image: Image
    owners: bytearray = field(init=False)
    pages: dict[str, array[int]] = field(init=False)
    broken: set[str] = field(default_factory=set)
    unreadable: set[int] = field(default_factory=set)
    free_list_broken: bool = False
    adrift: int = 0

    def __post_init__(self) -> None:
        self.owners = bytearray(self.image.count + 2)
        self._trees = trees()
        self._numbers = {name: number for number, name in enumerate(self._trees, 1)}
        self.pages = {name: array("L") for name in self._trees}

    def take(self) -> Census:
        """Goes through the file."""
        roots = self._roots()
        for name in self._trees:
            if name in roots:
                self._walk(name, roots.pop(name))
            elif name != SCHEMA:
                self.broken.add(name)
        for root in roots.values():
            self._walk_foreign(root)
        self._walk_free_list()
        self._find(self.broken - {SCHEMA})
        return self

    def is_ours(self) -> bool:
        """Whether it shows by what is in it that the file is a database of ours. Of a census that is not taken."""
        known = set(self._roots())
        return len(known & {"about", "sessions", "owners", "events", "messages", "blobs"}) >= 4

    # Trees --------------------------------------------------------------------------------------------------------

    def _roots(self) -> dict[str, int]:
        """The root page of each table and index, as far as the table of the tables can be read."""
        self._walk(SCHEMA, 1)
        if SCHEMA in self.broken:
            self._find({SCHEMA})
        found: dict[str, int] = {}
        for number in self.pages[SCHEMA]:
            with suppress(Unreadable):
                for cell in self.image.cells(self.image.page(number), number):
                    if cell is None:
                        continue
                    # Of a long text only the beginning stands in the page; the root comes before it.
                    with suppress(Unreadable, ValueError):
                        record = _columns(cell.local, cell.size, 4)
                        if isinstance(record[1], str) and isinstance(record[3], int) and record[3]:
                            found.setdefault(record[1], record[3])
        return found

    def _walk(self, name: str, root: int) -> None:
        tree = self._trees[name]
        waiting = [root]
        while waiting:
            number = waiting.pop()
            page = self._claimed(tree, number, root)
            if page is None:
                self.broken.add(name)
                if self.image.exists(number) and not self.owners[number]:
                    self.unreadable.add(number)
                continue
            self.owners[number] = self._numbers[name]
            inner = page[100 if number == 1 else 0] in _INNER
            if inner:
                waiting += reversed(self.image.children(page, number))
            if tree.keyed or not inner:
                self.pages[name].append(number)

    def _claimed(self, tree: Tree, number: int, root: int) -> bytes | None:
        """A page that is to be a part of a tree; None if it cannot be, or is a part of one already."""
        if not (self.image.exists(number) or (number == root == 1)) or self.owners[number]:
            return None
        page = self.image.page(number)
        try:
            kind, places, _ = node(page, number, self.image.usable)
        except Unreadable:
            return None
        if kind not in ((INDEX_NODE, INDEX_LEAF) if tree.keyed else (TABLE_NODE, TABLE_LEAF)):
            return None
        if kind == TABLE_NODE or (not places and number == root) or self._known(page, number, [tree]):
            return page
        return None

    def _known(self, page: bytes, number: int, among: list[Tree]) -> Tree | None:
        """The tree that a page belongs to by its records: the first that most of some of them fit."""
        votes = dict.fromkeys((tree.name for tree in among), 0)
        tried = 0
        for cell in self.image.cells(page, number):
            if cell is None:
                continue
            tried += 1
            try:
                types, begin = serials(cell.local, cell.size)
            except Unreadable:
                types, begin = [], 0
            for tree in among:
                votes[tree.name] += tree.fits(types) and (tree.name != "about" or _is_about(cell.local[begin:]))
            if tried == _TRIED:
                break
        best = max(among, key=lambda tree: votes[tree.name], default=None)
        return best if best is not None and 2 * votes[best.name] >= max(tried, 1) else None

    def _walk_foreign(self, root: int) -> None:
        """The pages of a table that somebody else has made in this database."""
        waiting = [root]
        while waiting:
            number = waiting.pop()
            if not self.image.exists(number) or self.owners[number]:
                continue
            page = self.image.page(number)
            with suppress(Unreadable):
                kind, _, _ = node(page, number, self.image.usable)
                self.owners[number] = FOREIGN
                if kind in _INNER:
                    waiting += self.image.children(page, number)

    # Free pages ---------------------------------------------------------------------------------------------------

    def _walk_free_list(self) -> None:
        number, found, seen = self.image.word(32), 0, set()
        while number:
            page = self.image.page(number) if self.image.exists(number) and number not in seen else b""
            seen.add(number)
            words = struct.unpack(f">{len(page) // 4}I", page[: len(page) // 4 * 4])
            if not words or words[1] > self.image.usable // 4 - 2 or self.owners[number]:
                self.free_list_broken = True
                return
            leaves = words[2 : 2 + words[1]]
            if not all(map(self.image.exists, leaves)) or len(set(leaves)) < len(leaves):
                self.free_list_broken = True
                return
            for free in (number, *leaves):
                if not self.owners[free]:
                    self.owners[free] = FREE
            found += 1 + len(leaves)
            number = words[0]
        self.free_list_broken = found != self.image.word(36)

    # In the air ---------------------------------------------------------------------------------------------------

    def _find(self, names: set[str]) -> None:
        """Gives the pages in the air to broken trees whose records they hold."""
        for kinds, keyed in (((TABLE_LEAF,), False), ((INDEX_LEAF, INDEX_NODE), True)):
            among = [self._trees[name] for name in self._trees if name in names and self._trees[name].keyed is keyed]
            for number in self._in_the_air(kinds) if among else ():
                with suppress(Unreadable):
                    tree = self._known(self.image.page(number), number, among)
                    if tree is not None:
                        self.owners[number] = self._numbers[tree.name]
                        self.pages[tree.name].append(number)
                        self.unreadable.discard(number)
                        self.adrift += 1

    def _in_the_air(self, kinds: tuple[int, ...]) -> Iterator[int]:
        for number in range(1, self.image.count + 1):
            if not self.owners[number] and (number == 1 or self.image.exists(number)):
                page = self.image.page(number)
                if len(page) > 100 and page[100 if number == 1 else 0] in kinds:
                    yield number


def _columns(local: bytes, size: int, count: int) -> list[Value]:
    """The first columns of a record that may go on elsewhere."""
    types, begin = serials(local, size)
    return values(local, types[:count], begin)


def _is_about(text: bytes) -> bool:
    return text.startswith(tuple(word.encode() for word in _ABOUT))
