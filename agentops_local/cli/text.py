"""Values as people read them. Recorded text is a stranger's: what a terminal would obey is taken out of it."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from datetime import datetime, timezone

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_BLANKS = re.compile(r"\s+")


def clean(text: str) -> str:
    """A text without control characters, terminal escapes and marks that turn the direction of writing; line breaks
    and tabs stay."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def one_line(text: str) -> str:
    """A clean text on one line."""
    return _BLANKS.sub(" ", _CONTROL.sub("\N{REPLACEMENT CHARACTER}", _BLANKS.sub(" ", text))).strip()


def width(text: str) -> int:
    """The columns a text takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(map(_columns, text))


def cut(text: str, columns: int) -> str:
    """A text in at most so many columns; what was cut is shown by an ellipsis."""
    if width(text) <= columns:
        return text
    taken, room = [], columns - 1
    for character in text:
        room -= _columns(character)
        if room < 0:
            break
        taken.append(character)
    return "".join(taken).rstrip() + "…" if columns > 0 else ""


def wrap(text: str, columns: int, indent: str = "", first: str | None = None) -> list[str]:
    """A text on lines of at most so many columns, broken between words."""
    return textwrap.wrap(
        one_line(text),
        max(columns, 40),
        initial_indent=indent if first is None else first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _columns(character: str) -> int:
    if unicodedata.combining(character) or character in "\u200b\u200c\u200d\ufe0f":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def offset(us: int) -> str:
    """How long after the beginning, in seconds or, after ten minutes, as a clock would show it."""
    sign, us = ("-", -us) if us < 0 else ("+", us)
    if us < 600_000_000:
        return f"{sign}{us / 1e6:.3f}"
    minutes, rest = divmod(us // 1_000_000, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{sign}{hours}:{minutes:02d}:{rest:02d}"


def counted(plural: str, count: int) -> str:
    """A number of things whose plural is known: the kinds are called as the tables are."""
    return f"{count:,} {plural.removesuffix('s') if count == 1 else plural}"


def many(count: int, noun: str) -> str:
    """A number of things."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def moment(us: int | None, utc: bool, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """A time, in the local zone or in UTC."""
    if us is None:
        return ""
    try:
        at = datetime.fromtimestamp(us / 1e6, tz=timezone.utc)
        return (at if utc else at.astimezone()).strftime(form)
    except (OverflowError, ValueError, OSError):  # a year that no calendar has
        return f"{us} us"


def short_moment(us: int | None, utc: bool, now_us: int) -> str:
    """A time to the minute; the year only where it is another."""
    year = moment(us, utc, "%Y")
    return moment(us, utc, "%m-%d %H:%M" if year == moment(now_us, utc, "%Y") else "%Y-%m-%d")


def clock_time(us: int | None, utc: bool) -> str:
    """The time of day, to the millisecond."""
    return "" if us is None else f"{moment(us, utc, '%H:%M:%S')}.{us // 1000 % 1000:03d}"
