"""CSV: RFC 4180, UTF-8, one header, harmless in a spreadsheet.

A spreadsheet takes a text that begins with =, +, - or @ for a formula, and a formula can send away what stands in the
other cells. Recorded text comes from models and from the web, so such a text gets a ' before it, which spreadsheets
hide; and so does one that begins with a ' itself, so that whoever takes one ' away again has the text as it was.
Numbers stay numbers.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import BinaryIO

from agentops_local.exporting.choice import Choice, Progress
from agentops_local.exporting.source import SessionHead, Source
from agentops_local.exporting.tables import columns, rows
from agentops_local.exporting.texts import iso

_OUT = 1 << 16  # characters that are gathered before they are written
# The wide forms are formulas too, where the language of the spreadsheet is Chinese or Japanese.
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|['\t\r\n]")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")


def write(source: Source, sessions: Iterator[SessionHead], out: BinaryIO, choice: Choice, progress: Progress) -> None:
    """Writes a table of sessions."""
    wanted = columns(choice)
    times = [column.kind == "time" for column in wanted]
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([column.name for column in wanted])
    for cells in rows(source, sessions, choice, progress):
        writer.writerow([
            iso(value) if is_time and isinstance(value, int) else harmless(value) if isinstance(value, str) else value
            for value, is_time in zip(cells, times, strict=True)
        ])  # fmt: skip
        if text.tell() > _OUT:
            out.write(text.getvalue().encode("utf-8", "replace"))
            text.seek(0)
            text.truncate()
    out.write(text.getvalue().encode("utf-8", "replace"))


def harmless(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    if "\0" in text:  # readers of CSV stop there
        text = text.replace("\0", "\ufffd")
    if _FORMULA.match(text) is None or _NUMBER.fullmatch(text) is not None:
        return text
    return f"'{text}"
