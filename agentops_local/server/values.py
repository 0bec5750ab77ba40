"""Values of fields, checked: what is wrong is told by the name of the field and the value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from uuid import UUID

from agentops_local.clock import parse_us
from agentops_local.recorder import rows
from agentops_local.server.body import encode, shown
from agentops_local.server.refusal import BadInput

_MOST_TOKENS = 10**12  # as in the recorder
_MOST_DOLLARS = 100_000
# Python 3.10 knows fractions of three and six digits only.
_FRACTION = re.compile(r"(?<=:\d\d)[.,](\d+)")
_NOT_FINITE = frozenset({"nan", "infinity", "-infinity", "inf", "-inf"})


def uuid(value: object, name: str) -> UUID:
    """A UUID in any spelling.

    Raises:
        BadInput: it is none.
    """
    found = uuid_or_none(value, name)
    if found is None:
        raise BadInput(f"{name} is missing")
    return found


def uuid_or_none(value: object, name: str) -> UUID | None:
    """A UUID in any spelling; None for null and for an empty text."""
    if value is None or value == "":
        return None
    if isinstance(value, str) and len(value) < 64:
        try:
            return UUID(value)
        except ValueError:
            pass
    raise BadInput(f"{name} {shown(value)} is not a UUID")


def time_us(value: object, name: str) -> int | None:
    """Microseconds of a time in ISO 8601, UTC if it names no zone; None for null."""
    if value is None:
        return None
    us = None
    if isinstance(value, str) and len(value) < 64:
        us = parse_us(_FRACTION.sub(lambda found: f".{found[1][:6]:0<6}", value))
    if us is None:
        raise BadInput(f"{name} {shown(value)} is no time: use ISO 8601, as 2026-01-31T12:00:00.000000+00:00")
    return us


def text(value: object) -> str | None:
    """A value for a column of plain text: itself, or its JSON; None for null."""
    return None if value is None else value if isinstance(value, str) else encode(value).decode()


def count(value: object, name: str) -> int | None:
    """A number of tokens; None for null and for what is no finite number."""
    if value is None or _is_not_finite(value):
        return None
    number: object = value
    digits = isinstance(value, str) and len(value) < 20 and value.isascii() and value.isdigit()
    if digits or (isinstance(value, float) and value.is_integer()):
        number = int(value)  # type: ignore[call-overload]  # text or float by the line above
    if isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= _MOST_TOKENS:
        return number
    raise BadInput(f"{name} {shown(value)} is no number of tokens")


def money(value: object, name: str) -> int | None:
    """US dollars, as a number or a decimal text, in 1e-12 dollars; None for null and for what is not finite."""
    if value is None or _is_not_finite(value):
        return None
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            amount = Decimal(str(value).strip())
        except InvalidOperation:
            amount = Decimal("NaN")
        if amount.is_nan():
            raise BadInput(f"{name} {shown(value)} is no amount of US dollars")
        if abs(amount) <= _MOST_DOLLARS:
            return rows.money(amount)
    raise BadInput(f"{name} {shown(value)} is no amount of US dollars")


def mapping(value: object, name: str) -> Mapping[str, object]:
    """A JSON object."""
    if isinstance(value, dict):
        return value
    raise BadInput(f"{name} must be an object, not {shown(value)}")


def _is_not_finite(value: object) -> bool:
    return isinstance(value, str) and value.strip().lower() in _NOT_FINITE
