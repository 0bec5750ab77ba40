"""Tables for people: as wide as the terminal at most, one line a row.

A table that is too wide first cuts the columns that may be cut, then leaves out those that may be left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from agentops_local.cli.common import styled
from agentops_local.cli.text import cut, one_line, width

_GAP = 2


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
    widths = [
        max([width(column.title), *(width(row[index].text) for row in cells if not isinstance(row, Note))])
        for index, column in enumerate(columns)
    ]
    # A column without anything in it is not shown.
    shown = [
        index
        for index, column in enumerate(columns)
        if not column.spare or any(row[index].text for row in cells if not isinstance(row, Note))
    ]
    shown = _fit(columns, widths, shown, room)
    titles = [Cell(column.title, bold=True) for column in columns]
    lines = [_line(columns, widths, shown, titles)]
    for row in cells:
        if isinstance(row, Note):
            lines.append(styled(cut(f"  {one_line(row.text)}", room), fg=row.colour))
        else:
            lines.append(_line(columns, widths, shown, row))
    return lines


def _fit(columns: Sequence[Column], widths: list[int], shown: list[int], room: int) -> list[int]:
    """The columns for which there is room; narrows their widths."""
    while True:
        excess = sum(widths[index] for index in shown) + _GAP * (len(shown) - 1) - room
        spare = sum(max(0, widths[index] - columns[index].least) for index in shown if columns[index].least)
        if excess <= spare or not any(columns[index].spare for index in shown):
            break
        shown.remove(max((index for index in shown if columns[index].spare), key=lambda index: columns[index].spare))
    while excess > 0:
        cuttable = [index for index in shown if columns[index].least and widths[index] > columns[index].least]
        if not cuttable:
            break
        widest = max(cuttable, key=lambda index: widths[index])
        widths[widest] -= 1
        excess -= 1
    return shown


def _line(columns: Sequence[Column], widths: Sequence[int], shown: Sequence[int], row: Sequence[Cell]) -> str:
    parts = []
    for index in shown:
        cell = row[index]
        text = cut(cell.text, widths[index]) if columns[index].least else cell.text
        blank = " " * (widths[index] - width(text))
        style = {"fg": cell.colour, "bold": cell.bold or None, "dim": cell.dim or None}
        coloured = styled(text, **style) if any(style.values()) and text else text
        last = index == shown[-1]
        parts.append(blank + coloured if columns[index].right else coloured + ("" if last else blank))
    return (" " * _GAP).join(parts).rstrip()


def _cell(cell: str | Cell) -> Cell:
    if isinstance(cell, str):
        cell = Cell(cell)
    # The tree of `show` begins with blanks that mean something.
    indent = len(cell.text) - len(cell.text.lstrip(" "))
    return cell._replace(text=" " * indent + one_line(cell.text))
