"""When a session is over because nothing more has come of it.

A classic client that exits without `end_session` says nothing at all. When something arrived is nowhere in the
database, and the times of events do not tell it either: an uploader may bring old ones for hours. So the collector
remembers what it hears while it runs. It counts by a clock that stands still while the machine sleeps, for then nobody
could be heard.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from agentops_local.errors import WrongUse

HOURS = 24.0

_MOST_HOURS = 1e6
_HOUR = 3600.0
_GRACE = (
    _HOUR  # of uptime, at most, before a session that was never heard of is over: its client may be on its way back
)
_PAUSE = 600.0  # seconds between two sweeps, at most
_SHORTEST_PAUSE = 1.0


class Idle:
    """The time-out of sessions, and when each was last heard of.

    Args:
        hours: after which a session is over; 0: none ever is.
        clock: Unix time in seconds.
        uptime: seconds since any moment, by a clock that is never set.

    Raises:
        WrongUse: the hours are no such number.
    """

    def __init__(
        self, hours: float = HOURS, clock: Callable[[], float] = time.time, uptime: Callable[[], float] = time.monotonic
    ) -> None:
        if not 0 <= hours <= _MOST_HOURS:
            raise WrongUse(f"--idle {hours} must be a number of hours from 0 to {_MOST_HOURS:.0f}")
        self.never = hours == 0
        self.pause = max(_SHORTEST_PAUSE, min(hours * _HOUR / 4, _PAUSE))
        self.reason = f"nothing has come for {_words(hours)}"
        self._seconds = hours * _HOUR
        self._clock = clock
        self._uptime = uptime
        self._started = uptime()
        self._heard: OrderedDict[tuple[str, str], float] = OrderedDict()  # the longest ago first
        self._lock = threading.Lock()

    @property
    def before_us(self) -> int:
        """What a session is over with must lie before this moment."""
        return int((self._clock() - self._seconds) * 1e6)

    def hear(self, project: str, session_id: str) -> None:
        """A client has just spoken of this session."""
        if self.never:
            return
        with self._lock:
            now = self._uptime()
            self._forget(now)
            self._heard[project, session_id] = now
            self._heard.move_to_end((project, session_id))

    def is_silent(self, project: str, session_id: str) -> bool:
        """Whether nothing was heard of this session for so long that it may be over."""
        with self._lock:
            now = self._uptime()
            self._forget(now)
            known = (project, session_id) in self._heard
        return not (self.never or known) and now - self._started >= min(self._seconds, _GRACE)

    @property
    def remembered(self) -> int:
        """How many sessions are remembered."""
        return len(self._heard)

    def _forget(self, now: float) -> None:
        while self._heard:
            first = next(iter(self._heard))
            if now - self._heard[first] < self._seconds:
                return
            del self._heard[first]


def _words(hours: float) -> str:
    return f"{hours:g} h" if hours >= 1 else f"{hours * 60:g} min"
