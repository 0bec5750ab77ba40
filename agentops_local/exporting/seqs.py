"""Numbers of rows, gathered in any order and given back in theirs.

The index of a session's events is in the order of their ids. A list of a million numbers, sorted, would take 40 MB; as
bits they take 125 kB where the session's events lie together, and 12 MB among a hundred million events of others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator


class Seqs:
    """A set of numbers between two.

    Args:
        first, last: the lowest and the highest that it may hold.
    """

    __slots__ = ("_bits", "_first", "_last")

    def __init__(self, first: int, last: int) -> None:
        self._first = first
        self._last = last
        self._bits = bytearray((max(last - first, 0) >> 3) + 1)

    def add(self, number: int) -> bool:
        """Puts a number in; False if it is there already. One beyond the ends is left out: it came later."""
        if not self._first <= number <= self._last:
            return False
        place = number - self._first
        byte, bit = place >> 3, 1 << (place & 7)
        if self._bits[byte] & bit:
            return False
        self._bits[byte] |= bit
        return True

    def update(self, numbers: Iterable[int]) -> None:
        """Puts numbers in."""
        for number in numbers:
            self.add(number)

    def __iter__(self) -> Iterator[int]:
        for index, byte in enumerate(self._bits):
            if byte:
                start = self._first + (index << 3)
                for place in range(8):
                    if byte >> place & 1:
                        yield start + place
