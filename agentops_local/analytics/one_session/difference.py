"""Where two texts part, and what stands around that place."""

from __future__ import annotations

from dataclasses import dataclass

BEFORE, AFTER = 60, 200  # characters around the place


@dataclass(frozen=True)
class Difference:
    """Two texts around the first character in which they differ.

    Attributes:
        at: its place, from 0; the length of the shorter text, if that is the beginning of the other.
        one, other: the texts around it; where something is left out, stands an ellipsis.
    """

    at: int
    one: str
    other: str

    def to_json(self) -> dict[str, object]:
        """All of it."""
        return {"at": self.at, "a": self.one, "b": self.other}


def difference(one: str, other: str) -> Difference:
    """Where two texts part."""
    at = same_length(one, other)
    return Difference(at, around(one, at), around(other, at))


def around(text: str, at: int) -> str:
    """What stands around a place of a text."""
    begin, end = max(0, at - BEFORE), at + AFTER
    return f"{'…' if begin else ''}{text[begin:end]}{'…' if end < len(text) else ''}"


def same_length(one: str, other: str) -> int:
    """How many characters two texts have in common at their beginnings."""
    low, high = 0, min(len(one), len(other))
    while low < high:  # halved, by comparisons in C: a system prompt has tens of thousands
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def same_end(one: str, other: str) -> int:
    """How many characters two texts have in common at their ends."""
    return same_length(one[::-1], other[::-1])
