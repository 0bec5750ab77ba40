"""Values of a file, checked: what is wrong is told by the name of the field and the value."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID, uuid5

import orjson

from agentops_local.clock import parse_us
from agentops_local.errors import shown
from agentops_local.recorder import rows
from agentops_local.serialize import dump

# Ids that a source does not give are made of what it gives, and are therefore the same whenever it is taken in.
NAMESPACE = UUID("7d1cf0a4-6d2e-5b0f-9a3e-0f2f6f0c9b51")
_MOST_TOKENS = 10**12  # as in the recorder
_MOST_DOLLARS = 100_000
_LIMIT = 1 << 30  # bytes of JSON that was nested too deeply for the quick encoder


class Wrong(Exception):
    """A value that cannot be meant."""


def mapping(value: object, name: str) -> Mapping[str, Any]:
    """A JSON object."""
    if isinstance(value, dict):
        return value
    raise Wrong(f"{name} must be an object, not {shown(value)}")


def items(value: object, name: str) -> list[Any]:
    """A JSON array; null is an empty one."""
    if value is None:
        return []
    if isinstance(value, list):
        return value
    raise Wrong(f"{name} must be a list, not {shown(value)}")


def uuid(value: object, name: str) -> UUID | None:
    """A UUID in any spelling; None for null and for an empty text."""
    if value is None or value == "":
        return None
    if isinstance(value, str) and len(value) < 64:
        try:
            return UUID(value)
        except ValueError:
            pass
    raise Wrong(f"{name} {shown(value)} is not a UUID")


def the_uuid(value: object, name: str) -> UUID:
    """A UUID that must be there."""
    found = uuid(value, name)
    if found is None:
        raise Wrong(f"{name} is missing")
    return found


def derived(*parts: object) -> UUID:
    """A UUID of what is given, always the same for the same."""
    text = "\n".join(part.decode("utf-8", "replace") if isinstance(part, bytes) else str(part) for part in parts)
    return uuid5(NAMESPACE, text)


def time_us(value: object, name: str) -> int | None:
    """Microseconds of a time in ISO 8601, UTC if it names no zone; an integer is such a number already."""
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 62:
        return value
    us = parse_us(value) if isinstance(value, str) and len(value) < 64 else None
    if us is None:
        raise Wrong(f"{name} {shown(value)} is no time: use ISO 8601, as 2026-01-31T12:00:00.000000+00:00")
    return us


def the_time_us(value: object, name: str) -> int:
    """A time that must be there."""
    found = time_us(value, name)
    if found is None:
        raise Wrong(f"{name} is missing")
    return found


def text(value: object) -> str | None:
    """A value for a column of plain text: itself, or its JSON."""
    return None if value is None else value if isinstance(value, str) else encode(value).decode()


def count(value: object, name: str) -> int | None:
    """A number of tokens."""
    if value is None:
        return None
    number: object = int(value) if isinstance(value, float) and value.is_integer() else value
    if isinstance(number, str) and len(number) < 20 and number.isascii() and number.isdigit():
        number = int(number)
    if isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= _MOST_TOKENS:
        return number
    raise Wrong(f"{name} {shown(value)} is no number of tokens")


def money(value: object, name: str) -> int | None:
    """US dollars, as a number or a decimal text, in 1e-12 dollars."""
    if value is None:
        return None
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            amount = Decimal(str(value).strip())
        except InvalidOperation:
            amount = Decimal("NaN")
        if amount.is_finite() and abs(amount) <= _MOST_DOLLARS:
            return rows.money(amount)
    raise Wrong(f"{name} {shown(value)} is no amount of US dollars")


def encode(value: object) -> bytes:
    """JSON of parsed data, whole. A copy: what the encoder gives keeps the 4 kB that it was made in."""
    try:
        return bytes(memoryview(orjson.dumps(value)))
    except (TypeError, ValueError):  # nested deeper than the encoder follows: what is below is cut off, and marked
        return dump(value, _LIMIT)


def payloads(said: Mapping[str, Any], *names: str) -> dict[str, bytes]:
    """Those of some payloads that are there and not null, as JSON."""
    return {name: encode(said[name]) for name in names if said.get(name) is not None}
