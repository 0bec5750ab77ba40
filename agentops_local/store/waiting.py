"""What could not be written yet: a bounded memory of events, and an exact count of those it could not hold.

A full disk must not stop the user's program, and most full disks are emptied again. So a write that fails for now is
kept here, in order, and tried again with the next one.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, Protocol, TypeVar

MOST_WRITES = 10_000
MOST_BYTES = 64 << 20


class Kept(Protocol):
    """A write that holds all it needs, whenever it is run."""

    size: int  # about how many bytes it keeps in memory
    events: int  # how many events are lost if it is never run


W = TypeVar("W", bound=Kept)


class WaitingRoom(Generic[W]):
    """Writes that wait for the store to work again, oldest first.

    Attributes:
        lost: events that found no room, not yet written to the table `losses`.
    """

    def __init__(self, most_writes: int = MOST_WRITES, most_bytes: int = MOST_BYTES) -> None:
        self._writes: deque[tuple[W, bool]] = deque()
        self._most_writes = most_writes
        self._most_bytes = most_bytes
        self._bytes = 0
        self.lost = 0

    def __len__(self) -> int:
        return len(self._writes)

    @property
    def events(self) -> int:
        """How many events wait."""
        return sum(write.events for write, _ in self._writes)

    def add(self, write: W, power: bool) -> bool:
        """Keeps a write; False if there is no room, and then its events are counted as lost."""
        if len(self._writes) >= self._most_writes or self._bytes + write.size > self._most_bytes:
            self.lost += write.events
            return False
        self._writes.append((write, power))
        self._bytes += write.size
        return True

    def first(self) -> tuple[W, bool]:
        """The oldest write."""
        return self._writes[0]

    def done(self) -> None:
        """Forgets the oldest write: it is stored."""
        write, _ = self._writes.popleft()
        self._bytes -= write.size

    def clear(self) -> None:
        """Forgets everything: after a fork these are the parent's to write."""
        self._writes.clear()
        self._bytes = 0
        self.lost = 0
