"""Durations as numbers of 16 bits, as the index keeps them: in their order, and to one part in a thousand.

Up to 1023 µs a code is the duration itself. Beyond, it is a floating point number with 9 bits after the leading one,
which is given back as the middle of what it stands for. The percentile of any number of events is found by counting
codes; it is wrong by 0.1 % at most.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

_BITS = 9
_EXACT = 2 << _BITS  # microseconds; durations below stand for themselves
_MASK = (1 << _BITS) - 1
_LONGEST = (1 << 63) - 1


def code(us: int) -> int:
    """The code of a duration of 0 µs or more."""
    if us < _EXACT:
        return us
    shift = min(us, _LONGEST).bit_length() - 1 - _BITS
    return (shift << _BITS) + (min(us, _LONGEST) >> shift)


def duration(coded: int) -> int:
    """The middle, in microseconds, of the durations that have a code."""
    if coded < _EXACT:
        return coded
    shift = (coded >> _BITS) - 1
    return (((coded & _MASK) + _MASK + 1) << shift) + (1 << shift >> 1)


def pack(codes: Iterable[int]) -> bytes:
    """Codes as bytes, two each, the lower first."""
    packed = array("H", codes)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def unpack(packed: bytes) -> array[int]:
    """The codes again."""
    codes = array("H")
    codes.frombytes(packed)
    if sys.byteorder == "big":
        codes.byteswap()
    return codes


def percentiles(spread: Mapping[int, int], percents: Sequence[int]) -> list[float | None]:
    """Seconds within which so many of a hundred were done (nearest rank), in the order asked for; None of nothing.

    Args:
        spread: how many had each code.
        percents: in ascending order.
    """
    total = sum(spread.values())
    ranks = [max(1, -(-percent * total // 100)) for percent in percents] if total else []
    ordered = sorted(spread)
    seen = list(accumulate(map(spread.__getitem__, ordered)))
    return [duration(ordered[bisect_left(seen, rank)]) / 1e6 for rank in ranks] or [None] * len(percents)


class Joined:
    """An aggregate of SQL: the codes of cells, one after the other."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def step(self, part: bytes) -> None:
        """Takes those of a cell."""
        self._parts.append(part)

    def finalize(self) -> bytes:
        """All of them."""
        return b"".join(self._parts)
