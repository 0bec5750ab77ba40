"""Time and identity: microseconds, ISO 8601 and time-ordered UUIDs.

Inside, a time is an int of microseconds since 1970-01-01 UTC; outside, ISO 8601 in UTC with microseconds.
"""

from __future__ import annotations

import os
import re
import time
from datetime import datetime, timedelta, timezone
from uuid import UUID

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_FRACTION = re.compile(r"[.,](\d+)")
_MICROSECOND = timedelta(microseconds=1)
# The text of the last whole second seen: formatting a date costs 2 µs, and events come many to a second.
_second: tuple[int, str] = (-1, "")


def now_us() -> int:
    """Wall clock, in microseconds since the epoch."""
    return time.time_ns() // 1000


def to_iso(us: int) -> str:
    """ISO 8601 in UTC with microseconds, such as `2026-11-20T11:32:13.457287+00:00`."""
    global _second  # noqa: PLW0603 - a cache of one value; a race between threads only costs its recomputation
    seconds, fraction = divmod(us, 1_000_000)
    cached = _second
    if cached[0] != seconds:
        cached = _second = (seconds, (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S"))
    return f"{cached[1]}.{fraction:06d}+00:00"


def now_iso() -> str:
    """Wall clock in ISO 8601."""
    return to_iso(time.time_ns() // 1000)


def parse_us(stamp: object) -> int | None:
    """Microseconds of a time a user may have given: ISO 8601 text (naive means UTC), a datetime, or seconds since the
    epoch. None for anything that is no time."""
    try:
        if isinstance(stamp, str):
            stamp = _from_iso(stamp)
        if isinstance(stamp, datetime):
            if stamp.tzinfo is None:
                stamp = stamp.replace(tzinfo=timezone.utc)
            since = stamp - _EPOCH  # by its parts: `// _MICROSECOND` costs twice as much, and each event has two times
            return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
        if isinstance(stamp, (int, float)) and not isinstance(stamp, bool):
            return (_EPOCH + timedelta(seconds=stamp) - _EPOCH) // _MICROSECOND
    except (ValueError, OverflowError):
        return None
    return None


def _from_iso(text: str) -> datetime:
    if text[-1:] in ("Z", "z"):  # Python 3.10 knows no Z
        text = text[:-1] + "+00:00"
    try:
        return datetime.fromisoformat(text)
    except ValueError:  # nor a fraction of other than 3 or 6 digits
        return datetime.fromisoformat(_FRACTION.sub(lambda found: f".{found[1][:6]:0<6}", text, count=1))


def new_id_bytes() -> bytes:
    """The 16 bytes of a new UUID version 7 (RFC 9562, 5.7): 48 bits of milliseconds, 74 random bits.

    Ids that grow with time keep the inserts of a large index on its last pages.
    """
    random = os.urandom(10)
    return (
        (time.time_ns() // 1_000_000).to_bytes(6, "big")
        + bytes((0x70 | random[0] & 0x0F, random[1], 0x80 | random[2] & 0x3F))
        + random[3:]
    )


def new_id() -> UUID:
    """A new UUID version 7."""
    return UUID(bytes=new_id_bytes())
