"""What goes wrong, and when: faults by script, and chaos.

A fault of the script waits for requests that fit it. Chaos rolls a seeded die for every other request.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from tests.fakes.wire import Request

NAMES = frozenset(
    "reset_before reset_after lost_answer hang late 502_before 502_after html_200 cut_body 413 429 redirect refuse "
    "slow".split()
)
READS = frozenset(("stats", "export", "reauthorize_jwt", "health"))  # reauthorizing changes nothing


@dataclass
class Fault:
    """One thing that goes wrong with each request that fits."""

    fault: str
    # which requests
    path: str | None = None  # the last part of the path, such as create_events, or the whole of it
    kind: str | None = None  # an event of this kind is in the body
    above: int = -1  # the body is longer than this
    nth: int = 1  # the first one that counts, among those that fit
    times: int | None = 1  # how many from there on; None: all
    # how
    seconds: float = 0.0  # hang, slow, refuse: how long; late: how long the client waits until the connection closes
    delay: float | None = None  # late: seconds until the request is committed; None: as the settings say
    status: int = 0  # 502_before, 502_after, redirect: another status
    retry_after: str = ""  # 429: the header, in seconds or as a date
    location: str = ""  # redirect: where to
    early: bool = False  # 413: before the body is read, as proxies do; the kind of the events is not known then
    fits: int = 0  # how many have fitted so far

    def __post_init__(self) -> None:
        if self.fault not in NAMES:
            raise ValueError(f"no fault is called {self.fault}; there are {', '.join(sorted(NAMES))}")
        if self.early and self.fault != "413":
            raise ValueError("only the fault 413 can come early")

    def takes(self, request: Request, size: int) -> bool:
        """Whether it happens to this request with a body of this size; counts the request if it fits."""
        if self.path not in (None, request.name, request.path) or size <= self.above:
            return False
        if self.kind is not None and self.kind not in kinds_of(request):
            return False
        self.fits += 1
        return self.nth <= self.fits and (self.times is None or self.fits < self.nth + self.times)

    @property
    def over(self) -> bool:
        """Whether it has happened as often as it should."""
        return self.times is not None and self.fits >= self.nth + self.times - 1


def fault(described: str | Mapping[str, Any] | Fault, **more: Any) -> Fault:
    """A fault from its name, or from a JSON object with the names of its fields."""
    if isinstance(described, Fault):
        return described
    values = {"fault": described} if isinstance(described, str) else dict(described)
    unknown = set(values | more) - {field.name for field in fields(Fault)}
    if unknown:
        raise ValueError(f"a fault knows nothing of {', '.join(sorted(unknown))}")
    return Fault(**values | more)


class Chaos:
    """Each fault with the same chance, for a share of the requests.

    One client that sends one request after the other meets the same faults with the same seed.
    """

    def __init__(self, rate: float, seed: int, faults: Sequence[Any], *, reads: bool = False) -> None:
        self.rate = rate
        self.reads = reads
        self.faults = [fault(each, times=None) if isinstance(each, str) else fault(each) for each in faults]
        self._chance = random.Random(seed)

    def pick(self, request: Request) -> Fault | None:
        """The fault for this request."""
        if not self.faults or (request.name in READS and not self.reads):
            return None
        if self._chance.random() >= self.rate:
            return None
        chosen = self._chance.choice(self.faults)
        fitting = chosen.path in (None, request.name, request.path) and len(request.body) > chosen.above
        return chosen if fitting and (chosen.kind is None or chosen.kind in kinds_of(request)) else None


class Faults:
    """The faults of a server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._script: list[Fault] = []
        self._chaos: Chaos | None = None

    def add(self, described: Iterable[Any]) -> None:
        """More faults for the script; the first that takes a request has it."""
        found = [fault(each) for each in described]
        with self._lock:
            self._script += found

    def chaos(self, rate: float, *, seed: int = 0, faults: Sequence[Any] = (), reads: bool = False) -> None:
        """Chaos from now on, in place of the former; a rate of 0 ends it."""
        found = Chaos(rate, seed, faults or sorted(NAMES - {"refuse", "redirect", "413"}), reads=reads)
        with self._lock:
            self._chaos = found if rate else None

    def clear(self) -> None:
        """No faults any more."""
        with self._lock:
            self._script, self._chaos = [], None

    @property
    def left(self) -> int:
        """How many faults of the script have yet to happen."""
        return len(self._script)

    def pick(self, request: Request) -> Fault | None:
        """What happens to this request; None: nothing."""
        if not self._script and self._chaos is None:
            return None
        with self._lock:
            found = self._scripted(request, len(request.body), early=False)
            return self._chaos.pick(request) if found is None and self._chaos is not None else found

    def pick_early(self, request: Request, size: int) -> Fault | None:
        """What happens to a request of which the head has come and a body of this size is announced."""
        if not self._script:
            return None
        with self._lock:
            return self._scripted(request, size, early=True)

    def _scripted(self, request: Request, size: int, *, early: bool) -> Fault | None:
        for each in self._script:
            if each.early == early and each.takes(request, size):
                if each.over:
                    self._script.remove(each)
                return each
        return None


def kinds_of(request: Request) -> tuple[str, ...]:
    """The kinds of events in the body of a request, each once."""
    try:
        events = request.json()["events"]
        return tuple(sorted({str(event["event_type"]) for event in events}))
    except (ValueError, TypeError, KeyError, IndexError):
        return ()
