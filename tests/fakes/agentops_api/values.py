"""Single values as the real server takes them (500 when it does not) and as its database returns them."""

from __future__ import annotations

import json
import re
import uuid
from datetime import datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from typing import Any

_CANONICAL = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,12}))?)?\s?(Z|z|[+-]\d\d(?::?\d\d)?)?)?"
)


class Crash(Exception):
    """The server fails in a way of its own: 500 without a word about the cause."""


def identifier(value: Any) -> str:
    """A UUID in the spelling of the database."""
    if isinstance(value, str):
        if _CANONICAL.fullmatch(value):
            return value
        try:
            return str(uuid.UUID(value))
        except ValueError:
            pass
    raise Crash(f"no UUID: {value!r}")


def instant(value: str) -> str:
    """A time as the database returns it: UTC, with the trailing zeros of the fraction dropped."""
    match = _TIME.fullmatch(value.strip())
    if not match:
        raise Crash(f"no time: {value!r}")
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    try:
        found = datetime(
            int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0), tzinfo=timezone.utc
        )
        if fraction:
            found += timedelta(microseconds=round(int(fraction) / 10 ** (len(fraction) - 6)))
        if zone and zone not in "Zz":
            minutes = int(zone[1:3]) * 60 + int(zone[3:].lstrip(":") or 0)
            found += timedelta(minutes=-minutes if zone[0] == "+" else minutes)
    except (ValueError, OverflowError):
        raise Crash(f"no time: {value!r}") from None
    return written(found)


def written(moment: datetime) -> str:
    """A moment of UTC in the spelling of the database."""
    text = moment.strftime("%Y-%m-%dT%H:%M:%S").zfill(19)
    return text + (f".{moment.microsecond:06}".rstrip("0") if moment.microsecond else "") + "+00:00"


def text(value: Any) -> str | None:
    """What a column of text keeps of any JSON value."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def amount(value: Any) -> Decimal:
    """A cost as it is added up."""
    try:
        return Decimal(value)
    except (InvalidOperation, TypeError, ValueError):
        raise Crash(f"no number: {value!r}") from None


def shown(value: Decimal | None) -> float | str | None:
    """A number of the database in JSON, which has no word for NaN and infinity."""
    if value is None:
        return None
    return float(value) if value.is_finite() else str(value)
