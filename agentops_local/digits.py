"""Numbers of JSON that a database can keep: what is too large for one, or no number at all, stays the text it was.

For `parse_int` and `parse_float` of Python's `json`. A JSON text may hold `1e999` or a number of a thousand digits; one
such value must not cost the row in which it stands.
"""

from __future__ import annotations

import math


def integer(digits: str) -> int | str:
    """A whole number; its digits where it has more than 64 bits."""
    try:
        number = int(digits)
    except ValueError:  # longer than Python will convert
        return digits
    return number if -(1 << 63) <= number < 1 << 64 else digits


def number(digits: str) -> float | str:
    """A number; "Infinity" or "-Infinity" where it is larger than any that is finite."""
    found = float(digits)
    return found if math.isfinite(found) else ("Infinity" if found > 0 else "-Infinity")
