"""Kinds of events that the server may not take at all: found out by one session for all of them.

A server that cannot process a kind answers each request with an error, and so would the search of every session for the
event at fault: eight requests more for each, before three single events have told. So once a kind was refused to two
sessions, and taken from nobody, it is on trial: one session at a time sends one event of it, and the others go on with
what else they have. One that is taken ends the trial; three that are refused park the kind (see `batches`).
"""

from __future__ import annotations

import threading

from agentops_sync.timing import SECOND, Moment, Timing

SESSIONS = 2  # that were refused: one alone may hold an event that is at fault itself
PAUSE = SECOND  # µs after which the others ask again
_SLACK = 60.0  # seconds beyond the time in which a request settles; then its session was removed, or a bug was met


class Trials:
    """What is on trial at one target. It is known to this process only: the next one finds it out as soon."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._lock = threading.Lock()
        self._refused: dict[str, set[int]] = {}  # by kind, the sessions
        self._turn: dict[str, tuple[int, int]] = {}  # by kind, whose turn it is, and until when

    def most(self, kind: str, session: int, now: Moment) -> int | None:
        """How many events of a kind a session may send at once: as many as it likes (None), one, or none for now."""
        with self._lock:
            if len(self._refused.get(kind, ())) < SESSIONS:
                return None
            whose, until_us = self._turn.get(kind, (session, 0))
            if whose != session and now.mono_us < until_us:
                return 0
            until_us = now.mono_us + round((self._timing.settling(kind) + _SLACK) * SECOND)
            self._turn[kind] = (session, until_us)
            return 1

    def refused(self, kind: str, session: int) -> None:
        """The server has refused a request with this kind, and has taken none for a day."""
        with self._lock:
            self._refused.setdefault(kind, set()).add(session)
            self._turn.pop(kind, None)

    def accepted(self, kind: str) -> bool:
        """The server has taken one; whether others have waited for that."""
        with self._lock:
            self._turn.pop(kind, None)
            return len(self._refused.pop(kind, ())) >= SESSIONS
