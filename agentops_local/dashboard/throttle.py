"""Whoever guesses keys is slowed down: after some failures each further one makes him wait twice as long."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

FREE = 5  # failures that cost nothing
LONGEST = 60.0  # seconds
_FORGOTTEN = 900.0  # seconds after the last failure
_MOST = 10_000  # addresses that are remembered


@dataclass
class _Record:
    failures: int = 0
    last: float = 0.0


class Throttle:
    """Failures by address. Times are seconds of a clock that is never set."""

    def __init__(self) -> None:
        self._records: OrderedDict[str, _Record] = OrderedDict()
        self._lock = threading.Lock()

    def wait(self, address: str, now: float) -> float:
        """Seconds for which an address is not heard; 0: it is."""
        with self._lock:
            record = self._records.get(address)
            if record is None or record.failures < FREE or now - record.last > _FORGOTTEN:
                return 0.0
            pause = min(LONGEST, 2.0 ** (record.failures - FREE))
            return max(0.0, record.last + pause - now)

    def fail(self, address: str, now: float) -> None:
        """Counts a failure."""
        with self._lock:
            record = self._records.setdefault(address, _Record())
            if now - record.last > _FORGOTTEN:
                record.failures = 0
            record.failures += 1
            record.last = now
            self._records.move_to_end(address)
            while len(self._records) > _MOST:
                self._records.popitem(last=False)

    def succeed(self, address: str) -> None:
        """Forgets the failures of an address."""
        with self._lock:
            self._records.pop(address, None)
