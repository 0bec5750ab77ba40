"""The rows of a damaged file, tree by tree, with what goes on from one page to the next.

The rest of a long record stands in a chain of pages which say nothing of whose they are. So a chain is believed as far
as it can be true: it has to have exactly the pages that the size of the record calls for, to end after the last, and
to share none with a tree or with another chain.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from agentops_local.recovery.census import Census
from agentops_local.recovery.layout import Tree
from agentops_local.recovery.pages import Cell
from agentops_local.recovery.record import Unreadable, Value, serials, values


@dataclass
class Rows:
    """Reads the rows of the pages that a census found.

    Attributes:
        unreadable: how many entries of pages could not be read, by tree.
        pages: how many pages have been gone through.
    """

    census: Census
    pages: int = 0
    unreadable: dict[str, int] = field(default_factory=dict)

    def of(self, tree: Tree) -> Iterator[list[Value]]:
        """The rows of a tree, those of what is reached from its root first. What is cut off of a row is a `Cut`."""
        image = self.census.image
        for number in self.census.pages[tree.name]:
            self.pages += 1
            with suppress(Unreadable):  # whoever had the file open has written to it since
                for cell in image.cells(image.page(number), number):
                    row = None if cell is None else self._row(tree, cell)
                    if row is None:
                        self.unreadable[tree.name] = self.unreadable.get(tree.name, 0) + 1
                    else:
                        yield row

    def _row(self, tree: Tree, cell: Cell) -> list[Value] | None:
        try:
            types, begin = serials(cell.local, cell.size, len(tree.columns))
        except Unreadable:
            return None
        row = values(self._whole(cell), types, begin)
        if tree.number is not None:
            row[tree.number] = cell.key
        return row

    def _whole(self, cell: Cell) -> bytes:
        """The record of a cell, up to where its chain breaks off."""
        missing = cell.size - len(cell.local)
        if not missing:
            return cell.local
        parts, number, room = [cell.local], cell.overflow, self.census.image.usable - 4
        while missing > 0:
            page = self._link(number)
            following = int.from_bytes(page[:4], "big")
            if not page or (following == 0) is not (missing <= room):
                break
            parts.append(page[4 : 4 + min(room, missing)])
            missing -= room
            number = following
        return b"".join(parts)

    def _link(self, number: int) -> bytes:
        """A page of a chain; empty if it cannot be one."""
        census = self.census
        if not census.image.exists(number) or census.owners[number]:
            return b""
        page = census.image.page(number)
        return page if len(page) >= census.image.usable else b""
