"""The sums over all events, by one thing at a time: what a question without a filter is answered from."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

SUMS = (
    "events", "calls", "errors", "failed", "us", "prompt_tokens", "completion_tokens", "cache_read_tokens",
    "cache_write_tokens", "reasoning_tokens", "cost_pusd", "unpriced",
)  # fmt: skip
DIMENSIONS = ("session", "slot", "agent", "host", "what")

_FIND = f"SELECT {', '.join(SUMS)} FROM idx.sums WHERE dimension = ? AND key = ?"  # noqa: S608 - our own text
_PUT = f"""
INSERT OR REPLACE INTO idx.sums (dimension, key, {", ".join(SUMS)}) VALUES (?, ?, {", ".join("?" for _ in SUMS)})
"""  # noqa: S608 - our own text
_DROP = "DELETE FROM idx.sums WHERE dimension = ? AND key = ?"
_SPREAD = """
INSERT INTO idx.spread (what, code, events) VALUES (?, ?, ?)
ON CONFLICT (what, code) DO UPDATE SET events = events + excluded.events
"""
_FITS = 1 << 63


class Sums:
    """What is to be added to the sums."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, int], list[int]] = {}
        self._spread: dict[tuple[int, int], int] = {}

    def add(self, key: Sequence[int], sums: Sequence[int], codes: Iterable[int], sign: int = 1) -> None:
        """Adds a cell.

        Args:
            key: its place, in the order of `DIMENSIONS`. sums: in the order of `SUMS`.
            sign: -1 takes it away.
        """
        for dimension, number in zip(DIMENSIONS, key, strict=True):
            there = self._sums.setdefault((dimension, number), [0] * len(SUMS))
            for place, value in enumerate(sums):
                there[place] += sign * value
        spread, what = self._spread, key[-1]
        for code in codes:
            spread[what, code] = spread.get((what, code), 0) + sign

    def put(self, connection: sqlite3.Connection) -> None:
        """Writes them."""
        for place, added in self._sums.items():
            there = connection.execute(_FIND, place).fetchone()
            values = added if there is None else [int(old) + new for old, new in zip(there, added, strict=True)]
            if values[0]:
                # What does not fit into 64 bits is kept as text: one absurd count must not hide all the others.
                fitting = [value if -_FITS <= value < _FITS else str(value) for value in values]
                connection.execute(_PUT, (*place, *fitting))
            else:
                connection.execute(_DROP, place)
        connection.executemany(_SPREAD, ((*place, events) for place, events in self._spread.items() if events))
