"""The server as a whole: whether it can be reached, and which keys and kinds wait. What fails for one session is not
noted here: only that no connection came about, or that the server asked everybody to wait."""

from __future__ import annotations

import threading

from agentops_sync.client import Outcome, Verdict
from agentops_sync.deliveries import seconds_us
from agentops_sync.ledger import Ledger
from agentops_sync.timing import Moment, Timing, pause_us

_ROW = "SELECT retry_us, failures FROM targets WHERE id = ?"
_PAUSE = """
UPDATE targets SET retry_us = ?, failures = ?, last_error = ?, last_error_us = ? WHERE id = ?
"""
_CLAIM = "UPDATE parked SET retry_us = ? WHERE target = ? AND what = 'kind' AND name = ? AND retry_us <= ?"
# A moment that was noted while the wall clock ran ahead may lie years away: none is further than its longest period.
_CLAMP = (
    "UPDATE targets SET retry_us = min(retry_us, :now + :wait) WHERE id = :target",
    "UPDATE parked SET retry_us = min(retry_us, :now + CASE what WHEN 'kind' THEN :canary ELSE :key END) "
    "WHERE target = :target",
    "UPDATE attempts SET retry_us = min(retry_us, :now + :canary) WHERE target = :target",
    "UPDATE agent_deliveries SET retry_us = min(retry_us, :now + :wait) WHERE target = :target AND retry_us",
)
_PARKED = "SELECT what, name, retry_us FROM parked WHERE target = ?"
_PARK = """
INSERT INTO parked (target, what, name, since_us, retry_us, reason) VALUES (?, 'key', ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET retry_us = excluded.retry_us, reason = excluded.reason
"""


class Host:
    """One target; for several threads."""

    def __init__(self, ledger: Ledger, timing: Timing) -> None:
        self._ledger = ledger
        self._timing = timing
        self._lock = threading.Lock()
        self._asked = False  # the pause is one that the server has asked for
        target = ledger.target
        self.retry_us, self.failures = ledger.read(lambda connection: connection.execute(_ROW, (target,)).fetchone())

    def note(self, outcome: Outcome, now: Moment) -> None:
        """Learns from a request whether the server can be reached."""
        with self._lock:
            if outcome.verdict is Verdict.NOT_SENT:
                if now.wall_us >= self.retry_us:  # of requests that failed together, one counts
                    self._pause(pause_us(self.failures + 1, self._timing), outcome, now)
                    self._asked = False
            elif outcome.verdict is Verdict.SLOW_DOWN:
                asked = outcome.retry_after
                pause = (
                    pause_us(self.failures + 1, self._timing)
                    if asked is None
                    else seconds_us(max(self._timing.backoff, min(asked, self._timing.most_wait)))
                )
                self._pause(pause, outcome, now)
                self._asked = True
            elif outcome.status is not None and self.failures and (not self._asked or now.wall_us >= self.retry_us):
                # The answer to a request that was under way ends no pause that the server has asked for meanwhile.
                self.failures = self.retry_us = 0
                self._asked = False
                self._write(None, None)

    def begin_anew(self, now: Moment) -> None:
        """Tries again at once: the daemon has started, the machine has slept, or a clock was set."""
        with self._lock:
            self.retry_us = 0
        timing = self._timing
        values = {
            "target": self._ledger.target, "now": now.wall_us, "wait": seconds_us(timing.most_wait),
            "canary": seconds_us(timing.canary), "key": seconds_us(timing.key),
        }  # fmt: skip
        with self._ledger.transaction() as connection:
            for sql in _CLAMP:
                connection.execute(sql, values)

    @property
    def words(self) -> str:
        """Why it could not be reached last."""
        target = self._ledger.target
        found = self._ledger.read(
            lambda c: c.execute("SELECT last_error FROM targets WHERE id = ?", (target,)).fetchone()
        )
        return str(found[0] or "")

    def accepted(self) -> int:
        """How many requests with events it has accepted so far."""
        target = self._ledger.target
        return int(
            self._ledger.read(lambda c: c.execute("SELECT accepted FROM targets WHERE id = ?", (target,)).fetchone()[0])
        )

    def looked(self, now: Moment) -> None:
        """Everything that could be sent has been."""
        with self._ledger.transaction() as connection:
            connection.execute("UPDATE targets SET looked_us = ? WHERE id = ?", (now.wall_us, self._ledger.target))

    def parked(self) -> dict[tuple[str, str], int]:
        """What waits as a whole, ('kind' or 'key', its name), and until when."""
        target = self._ledger.target
        rows = self._ledger.read(lambda connection: connection.execute(_PARKED, (target,)).fetchall())
        return {(what, name): retry_us for what, name, retry_us in rows}

    def claim_canary(self, kind: str, now: Moment) -> bool:
        """The right to send the one event of a parked kind that is sent in a period; one session gets it."""
        values = (now.wall_us + seconds_us(self._timing.canary), self._ledger.target, kind, now.wall_us)
        with self._ledger.transaction() as connection:
            return connection.execute(_CLAIM, values).rowcount == 1

    def park_key(self, name: str, reason: str, now: Moment) -> None:
        """The server does not know a key."""
        retry_us = now.wall_us + seconds_us(self._timing.key)
        with self._ledger.transaction() as connection:
            connection.execute(_PARK, (self._ledger.target, name, now.wall_us, retry_us, reason))

    def unpark_key(self, name: str) -> None:
        """The server knows it by now."""
        if ("key", name) in self.parked():
            with self._ledger.transaction() as connection:
                connection.execute(
                    "DELETE FROM parked WHERE target = ? AND what = 'key' AND name = ?", (self._ledger.target, name)
                )

    def _pause(self, pause: int, outcome: Outcome, now: Moment) -> None:
        self.failures += 1
        self.retry_us = now.wall_us + pause
        self._write(str(outcome), now.wall_us)

    def _write(self, words: str | None, at_us: int | None) -> None:
        with self._ledger.transaction() as connection:
            connection.execute(_PAUSE, (self.retry_us, self.failures, words, at_us, self._ledger.target))
