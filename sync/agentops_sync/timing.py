"""Time as the daemon sees it: two clocks, and every period that it waits for. Tests give it clocks of their own."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from agentops_local import clock, process

SECOND = 1_000_000  # µs


@dataclass(frozen=True)
class Timing:
    """How long the daemon waits, in seconds.

    Attributes:
        settle: after a request with events that carry ids, of which nothing was heard: the server may still be at work.
            A wrong guess costs a wrong statistic there.
        settle_errors: the same for errors, which carry no key: a wrong guess costs a double.
        backoff, longest: the first and the longest pause while a server cannot be reached, and after failures of one
            session. The pause is drawn between 0 and its bound ("full jitter"), which doubles.
        most_wait: the longest that a server may ask for with Retry-After.
        poison: over how long a single event must have been refused, in the same way, before it is given up.
        canary: from one event of a kind that the server cannot take to the next.
        key: from one look whether an unknown API key is known to the next.
        late_end: how long the end of a session waits for its events.
        poll: from one look at the database for new rows to the next.
        running: from one look whether the processes of open sessions live to the next.
        connect, read: time-outs of one request.
        share: of the time (0 to 1, no period), that the ledger may keep recorders waiting while there are any.
    """

    settle: float = 60.0
    settle_errors: float = 900.0
    backoff: float = 1.0
    longest: float = 600.0
    most_wait: float = 3600.0
    poison: float = 3600.0
    canary: float = 86400.0
    key: float = 3600.0
    late_end: float = 600.0
    poll: float = 1.0
    running: float = 60.0
    connect: float = 10.0
    read: float = 120.0
    share: float = 0.1

    def settling(self, kind: str) -> float:
        """The settle time of a kind of events."""
        return self.settle_errors if kind == "errors" else self.settle


class Moment(NamedTuple):
    """A moment by both clocks.

    Attributes:
        wall_us: since 1970 UTC; it may be set, forwards and backwards.
        mono_us: since some moment of this boot; it is never set.
        boot: names the boot for which `mono_us` holds.
    """

    wall_us: int
    mono_us: int
    boot: str


class Clock(Protocol):
    """Where the daemon takes its time from."""

    def now(self) -> Moment:
        """This moment."""

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        """Sleeps on a condition, whose lock is held, for some seconds at most."""


class SystemClock:
    """The machine's own clocks."""

    def __init__(self) -> None:
        self._boot = process.current().boot

    def now(self) -> Moment:
        """This moment."""
        return Moment(clock.now_us(), time.monotonic_ns() // 1000, self._boot)

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        """Sleeps on a condition, whose lock is held, for some seconds at most."""
        condition.wait(seconds)


def left_us(sent: Moment, now: Moment, seconds: float) -> int | None:
    """How many µs are missing until some seconds have passed since a moment, by every clock that can tell.

    Returns:
        0 when they have passed; None when the wall clock was set back behind `sent`: then the wait begins anew.
    """
    if now.wall_us < sent.wall_us:
        return None
    passed = now.wall_us - sent.wall_us
    if sent.boot == now.boot:
        passed = min(passed, now.mono_us - sent.mono_us)
    return max(0, round(seconds * SECOND) - passed)


def pause_us(failures: int, timing: Timing) -> int:
    """The pause after so many failures in a row: drawn from 0 to a bound that doubles (full jitter, as in
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter)."""
    bound = min(timing.longest, timing.backoff * 2.0 ** min(failures - 1, 30))
    return round(random.uniform(0, bound) * SECOND)  # noqa: S311 - spread, not secrecy
