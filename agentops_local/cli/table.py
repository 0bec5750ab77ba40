"""Tables for people: as wide as the terminal at most, one line a row.

A table that is too wide first cuts the columns that may be cut, then leaves out those that may be left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from agentops_local.cli.common import styled
from agentops_local.cli.text import cut, one_line, width, wrap

_GAP = 2  # columns; 1 where there is no room


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        right: whether it holds numbers.
        least: it may be cut to this width; 0: it may not be cut.
        spare: it is left out where there is no room, the highest first; 0: never.
    """

    title: str
    right: bool = False
    least: int = 0
    spare: int = 0


class Cell(NamedTuple):
    """A text in a colour."""

    text: str
    colour: str | None = None
    bold: bool = False
    dim: bool = False


class Note(NamedTuple):
    """A line of its own under a row."""

    text: str
    colour: str | None = None


Row = Sequence[str | Cell] | Note


def table(columns: Sequence[Column], rows: Sequence[Row], room: int) -> list[str]:
    """The lines of a table."""
    cells = [row if isinstance(row, Note) else [_cell(cell) for cell in row] for row in rows]
    filled = [row for row in cells if not isinstance(row, Note)]
    widths = [
        max([width(column.title), *(width(row[index].text) for row in filled)]) for index, column in enumerate(columns)
    ]
    # A column without anything in it is not shown.
    shown = [
        index for index, column in enumerate(columns) if not column.spare or any(row[index].text for row in filled)
    ]
    gap = _fit(columns, widths, shown, room)
    lines = [_line(columns, widths, shown, gap, [Cell(column.title, bold=True) for column in columns])]
    for row in cells:
        if isinstance(row, Note):
            lines += [styled(line, fg=row.colour) for line in wrap(row.text, room, "  ")]
        else:
            lines.append(_line(columns, widths, shown, gap, row))
    return lines


def _fit(columns: Sequence[Column], widths: list[int], shown: list[int], room: int) -> int:
    """Makes columns fit: leaves out of `shown`, and narrows `widths`, as little as it must. The gap between two."""
    for gap in (_GAP, 1):
        if sum(widths[index] for index in shown) + gap * (len(shown) - 1) <= room:
            return gap
    while True:
        excess = sum(widths[index] for index in shown) + len(shown) - 1 - room
        to_cut = sum(max(0, widths[index] - columns[index].least) for index in shown if columns[index].least)
        spare = [index for index in shown if columns[index].spare]
        if excess <= to_cut or not spare:
            break
        shown.remove(max(spare, key=lambda index: columns[index].spare))
    while excess > 0:
        to_narrow = [index for index in shown if columns[index].least and widths[index] > columns[index].least]
        if not to_narrow:
            break
        widths[max(to_narrow, key=lambda index: widths[index])] -= 1
        excess -= 1
    return 1


def _line(columns: Sequence[Column], widths: Sequence[int], shown: Sequence[int], gap: int, row: Sequence[Cell]) -> str:
    parts = []
    for index in shown:
        cell = row[index]
        text = cut(cell.text, widths[index]) if columns[index].least else cell.text
        blank = " " * (widths[index] - width(text))
        style = {"fg": cell.colour, "bold": cell.bold or None, "dim": cell.dim or None}
        coloured = styled(text, **style) if any(style.values()) and text else text
        last = index == shown[-1]
        parts.append(blank + coloured if columns[index].right else coloured + ("" if last else blank))
    return (" " * gap).join(parts).rstrip()


def _cell(cell: str | Cell) -> Cell:
    if isinstance(cell, str):
        cell = Cell(cell)
    # The tree of `show` begins with blanks that mean something.
    indent = len(cell.text) - len(cell.text.lstrip(" "))
    return cell._replace(text=" " * indent + one_line(cell.text))
