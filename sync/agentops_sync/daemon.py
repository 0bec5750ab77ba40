"""The loop: it looks for new rows, serves the sessions that are due, and sleeps as long as there is nothing to do.

What is asked while nothing is new is `PRAGMA data_version`, once a second: a few microseconds, no request and no write.
A laptop that wakes up has a wall clock far ahead of the monotonic one, and a clock may be set: then everything that
waited is looked at again. How long a request has to settle is not told by the wall clock alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from agentops_local.log import logger
from agentops_sync.ledger import FAULTS
from agentops_sync.timing import SECOND, Clock, Moment, Timing
from agentops_sync.uploader import Uploader

PARALLEL = 4  # sessions served at once
_STEPS = 8  # for one session in a row, before others get their turn
_UNREACHED = 5.0  # seconds
_ROOM = 5 * SECOND  # from one look at the disk to the next
_NO_ROOM = 1.0  # seconds until a disk that is full is tried again: what that costs is a look
_SLEPT = 30 * SECOND  # by which the wall clock has to have run ahead


class Lane:
    """One uploader in the loop: what is known of its database between two looks.

    Args:
        uploader: brings the database to its target.
    """

    def __init__(self, uploader: Uploader) -> None:
        self.uploader = uploader
        self.busy: set[int] = set()
        self.seen: tuple[int, int] | None = None
        self.next_us: int | None = 0  # when something is due; None: when something new comes
        self.running_us = 0  # when to look at the processes of open sessions
        self.room_us = 0  # when to look whether there is room on the disk for the reserve
        self.retry_us = 0  # when the database may be tried again
        self.failures = 0
        self.served: dict[int, int] = {}  # by session, which turn it had last
        self.active = True
        self.broken: set[int] = set()  # sessions on which a bug of ours was met; they wait until the next start

    def due(self, now: Moment) -> list[int]:
        """The sessions to serve now, the one that has waited longest first."""
        with self.uploader.ledger.one_file():  # marks read in one file must not be written into another
            return self._due(now)

    def _due(self, now: Moment) -> list[int]:
        uploader = self.uploader
        if uploader.refresh():
            self.next_us = now.wall_us
        if now.mono_us >= self.room_us:
            self.room_us = now.mono_us + _ROOM
            uploader.ledger.keep_reserve()
        version = uploader.ledger.changed()
        if version != self.seen:
            if uploader.outbox.take():
                self.next_us = now.wall_us
            else:
                self.seen = version
        if now.mono_us >= self.running_us:
            self.running_us = now.mono_us + round(uploader.timing.running * SECOND)
            uploader.look_at_processes()
            self.next_us = now.wall_us
        host = uploader.host
        if host.retry_us > now.wall_us:
            self.next_us = host.retry_us
            return []
        if self.next_us is None or self.next_us > now.wall_us:
            return []
        busy = set(self.busy)  # as it was before the look: one that ends meanwhile makes its next look due itself
        due = uploader.outbox.due(now.wall_us)
        free = [session for session in due.sessions if session not in busy and session not in self.broken]
        if not free and not busy:
            self.next_us = due.next_us if version == self.seen else now.wall_us
            if self.active and self.next_us is None:
                uploader.host.looked(now)
                self.active = False
        self.active = self.active or bool(free)
        # After failures one request tells whether the server is there again; four would tell no more.
        most = 1 if host.failures else PARALLEL
        free.sort(key=lambda session: self.served.get(session, 0))
        return free[: max(0, most - len(self.busy))]


class _Patience:
    """How long a drain waits for what is due later: so long in a row, and so long in all for a server that cannot be
    reached, however often it is tried meanwhile."""

    def __init__(self, seconds: float) -> None:
        self._us = round(seconds * SECOND)
        self._since_us: int | None = None  # by the clock that is never set
        self._down_since_us: int | None = None

    def heard(self, now: Moment, started: bool, down: bool) -> None:
        """What came of the last look."""
        if not down:
            self._down_since_us = None
            if started:
                self._since_us = None
        elif self._down_since_us is None:
            self._down_since_us = now.mono_us

    def until_us(self, now: Moment, down: bool) -> int:
        """When it ends."""
        if self._since_us is None:
            self._since_us = now.mono_us
        until_us = self._since_us + self._us
        if down and self._down_since_us is not None:
            until_us = min(until_us, self._down_since_us + min(self._us, round(_UNREACHED * SECOND)))
        return until_us


class Daemon:
    """Serves some databases until it is told to stop, or until nothing is left that can be done now.

    Args:
        uploaders: one for each database.
        clock: where the time comes from.
        timing: how long to wait for what.
        parallel: sessions served at once; 0: one after the other, in the thread that calls.
        told: called after each step.
    """

    def __init__(
        self,
        uploaders: Sequence[Uploader],
        clock: Clock,
        timing: Timing,
        parallel: int = PARALLEL,
        told: Callable[[], None] = lambda: None,
    ) -> None:
        self._lanes = [Lane(uploader) for uploader in uploaders]
        self._clock = clock
        self._timing = timing
        self._parallel = parallel
        self._told = told
        self._wake = threading.Condition()
        self._stopping = False
        self._turn = 0
        self._offset: int | None = None

    def stop(self) -> None:
        """Ends the loop after the requests under way; from a signal handler, too."""
        self._stopping = True

    def run(self, until_idle: bool = False, patience: float = 0.0) -> None:
        """Serves.

        Args:
            until_idle: return when nothing can be done now.
            patience: then wait at most so many seconds in a row for what is due later (a pause, a request that has to
                settle), and 5 for a server that cannot be reached.
        """
        pool = ThreadPoolExecutor(self._parallel, "upload") if self._parallel else None
        patient = _Patience(patience)
        try:
            while not self._stopping:
                now = self._clock.now()
                self._notice_sleep(now)
                started = sum(self._serve(lane, pool, now) for lane in self._lanes)
                busy = any(lane.busy for lane in self._lanes)
                down = any(lane.uploader.host.failures for lane in self._lanes)
                patient.heard(now, bool(started), down)
                if started and not busy:
                    continue  # served in this thread
                next_us = min((lane.next_us for lane in self._lanes if lane.next_us is not None), default=None)
                if until_idle and not busy:
                    if next_us is None:
                        return
                    if now.mono_us + (next_us - now.wall_us) > patient.until_us(now, down):
                        return
                self._sleep(now, next_us, busy)
        finally:
            self._stopping = True
            if pool is not None:
                pool.shutdown(wait=True)

    def _serve(self, lane: Lane, pool: ThreadPoolExecutor | None, now: Moment) -> int:
        """Starts what is due in one database; returns how much that was."""
        if now.mono_us < lane.retry_us:
            return 0
        try:
            sessions = lane.due(now)
        except FAULTS as error:
            self._database_failed(lane, error, now)
            return 0
        if not sessions:
            lane.failures = 0
        for session in sessions:
            self._turn += 1
            lane.served[session] = self._turn
            lane.busy.add(session)
            if pool is None:
                self._steps(lane, session)
            else:
                pool.submit(self._steps, lane, session)
        return len(sessions)

    def _steps(self, lane: Lane, session: int) -> None:
        """Some steps of one session."""
        try:
            for _ in range(_STEPS):
                # Also before the first: another session of this turn may have been asked to wait.
                if self._stopping or lane.uploader.host.retry_us > self._clock.now().wall_us:
                    break
                more = lane.uploader.step(session)
                self._told()
                if not more:
                    break
            lane.failures = 0  # not before: what fails at each step must be tried ever more seldom
        except FAULTS as error:
            self._database_failed(lane, error, self._clock.now())
        except Exception:
            if not self._parallel:
                raise
            logger.exception("agentops-sync: a bug; session %d waits until the next start", session)
            lane.broken.add(session)
        finally:
            with self._wake:
                lane.busy.discard(session)
                lane.next_us = 0
                self._wake.notify()

    def _database_failed(self, lane: Lane, error: Exception, now: Moment) -> None:
        lane.failures += 1
        longest = _NO_ROOM if "is full" in str(error) else 60.0
        pause = min(longest, 0.5 * 2 ** min(lane.failures, 10))
        lane.retry_us = now.mono_us + round(pause * SECOND)
        lane.next_us = now.wall_us + round(pause * SECOND)
        if lane.failures == 1:
            logger.warning("agentops-sync: %s cannot be used: %s", lane.uploader.ledger.path, error)

    def _notice_sleep(self, now: Moment) -> None:
        offset = now.wall_us - now.mono_us
        if self._offset is not None and abs(offset - self._offset) > _SLEPT:
            for lane in self._lanes:
                with suppress(*FAULTS):  # moments noted by the wall clock mean another time now
                    lane.uploader.begin_anew()
                lane.next_us = 0
        self._offset = offset

    def _sleep(self, now: Moment, next_us: int | None, busy: bool) -> None:
        """Until a worker is done, something is due, or it is time to look for new rows."""
        pause = self._timing.poll
        if next_us is not None and not busy:
            pause = min(pause, max(0.0, (next_us - now.wall_us) / SECOND))
        with self._wake:
            self._clock.wait(self._wake, max(pause, 0.001))
