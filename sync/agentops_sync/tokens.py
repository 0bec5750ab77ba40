"""The servers' tokens (JWT), one a session: in memory only, renewed before they expire."""

from __future__ import annotations

import base64
import json
import threading

from agentops_sync.client import Outcome
from agentops_sync.deliveries import seconds_us
from agentops_sync.timing import Moment

_LIFE = 86400.0  # seconds, as AgentOps has it
_RENEW = 0.8  # of the life
_NEW = 10.0  # seconds; a token refused within them is not worth another try at once


class Tokens:
    """The tokens of sessions, by their ids: another database has other sessions under the same numbers of rows. For
    several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, tuple[str, int, int]] = {}  # token, when it is to be renewed, when it came

    def get(self, session: str, now: Moment) -> str | None:
        """A session's token, unless it is to be renewed."""
        with self._lock:
            token, renew_us, _ = self._known.get(session, (None, 0, 0))
            return token if now.mono_us < renew_us else None

    def put(self, session: str, outcome: Outcome, now: Moment) -> str | None:
        """Keeps the token that came with an answer; None if none did."""
        token = outcome.body.get("jwt") if isinstance(outcome.body, dict) else None
        if not isinstance(token, str) or not token:
            return None
        with self._lock:
            renew_us = now.mono_us + seconds_us(_RENEW * _life(token, outcome.server_time))
            self._known[session] = (token, renew_us, now.mono_us)
        return token

    def drop(self, session: str, now: Moment) -> bool:
        """Forgets a token that the server does not take any more; whether it was of some age, so that a new one may do
        better."""
        with self._lock:
            known = self._known.pop(session, None)
        return known is not None and now.mono_us - known[2] > seconds_us(_NEW)


def _life(token: str, server_time: float | None) -> float:
    """Seconds that a token lives, by the server's own clock: ours may be wrong."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        if server_time is not None:
            return max(0.0, float(claims["exp"]) - server_time)
    except (ValueError, TypeError, KeyError, IndexError):
        pass
    return _LIFE
