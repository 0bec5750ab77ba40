"""From what the user says to uploaders that can run: databases, the endpoint, keys, policies, periods, the one-instance
lock."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import filelock

from agentops_local.analytics.pruning import parse_size
from agentops_local.analytics.uploading import lock_file
from agentops_local.errors import AgentOpsLocalError, WrongUse
from agentops_local.store.location import find_database
from agentops_sync.authority import Authorities
from agentops_sync.client import Client, Transport, normal_endpoint
from agentops_sync.ledger import Ledger
from agentops_sync.reserve import SIZE
from agentops_sync.timing import Clock, SystemClock, Timing
from agentops_sync.uploader import Uploader

ENDPOINT = "https://api.agentops.ai"
ENDPOINT_VARIABLE = "AGENTOPS_API_ENDPOINT"
TIMING_VARIABLE = "AGENTOPS_SYNC_TIMING"
RESERVE_VARIABLE = "AGENTOPS_SYNC_RESERVE"


class AnotherRuns(AgentOpsLocalError):
    """Another agentops-sync serves the database already."""


@dataclass(frozen=True)
class Settings:
    """What the user said.

    Attributes:
        dbs: databases; none: the one of the project around this folder.
        endpoint: the server; None: `AGENTOPS_API_ENDPOINT`, else AgentOps itself.
        api_key: for sessions that were recorded without one; None: `AGENTOPS_API_KEY`, else the file of keys.
    """

    dbs: tuple[str, ...] = ()
    endpoint: str | None = None
    api_key: str | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def paths(self) -> list[Path]:
        """Where the databases are.

        Raises:
            WrongUse: one is not there.
        """
        found = [find_database(db) for db in self.dbs] or [find_database(None)]
        unique = list(dict.fromkeys(Path(os.path.realpath(path)) for path in found))
        for path in unique:
            if not path.is_file():
                raise WrongUse(f"there is no database at {path}: record something first, or name one with --db")
        return unique

    def url(self) -> str:
        """The server.

        Raises:
            WrongUse: it is no URL that may be used.
        """
        return normal_endpoint(self.endpoint or self.environ.get(ENDPOINT_VARIABLE) or ENDPOINT)

    def authorities(self, path: Path) -> Authorities:
        """The keys that are known, and the policies of a database.

        Raises:
            WrongUse, WrongCredentials, WrongPolicy: a key is none, or a file cannot be understood or trusted.
        """
        return Authorities(path, self.api_key, self.environ)

    def timing(self) -> Timing:
        """How long to wait for what: the defaults, and `AGENTOPS_SYNC_TIMING` ("settle=5,poll=0.1"), in seconds.

        Raises:
            WrongUse: there is no such period, or it is no number from 0 on (of `share`: over 0, and at most 1).
        """
        known = {one.name for one in fields(Timing)}
        changed: dict[str, float] = {}
        for part in filter(None, self.environ.get(TIMING_VARIABLE, "").split(",")):
            name, _, value = part.strip().partition("=")
            try:
                number = changed[name] = float(value)
            except ValueError:
                name, number = "", 0.0
            if name not in known or not 0 <= number < math.inf:
                raise WrongUse(f"{TIMING_VARIABLE}: {part!r} is none of {', '.join(sorted(known))} with a number")
            if name == "share" and not 0 < number <= 1:
                raise WrongUse(f"{TIMING_VARIABLE}: {part!r}: a share of the time is over 0, and at most 1")
        return replace(Timing(), **changed)

    def reserve(self) -> int:
        """Bytes to keep on the disk for the ledger: `AGENTOPS_SYNC_RESERVE` ("4MB"; 0: none).

        Raises:
            WrongUse: it is no size.
        """
        given = self.environ.get(RESERVE_VARIABLE)
        return SIZE if given is None else parse_size(given)


@contextmanager
def serving(settings: Settings, transport: Transport | None = None) -> Iterator[list[Uploader]]:
    """Uploaders for all databases, each of which this process serves alone.

    Args:
        transport: instead of HTTP.

    Raises:
        AnotherRuns: another process serves one of them.
        WrongUse, WrongPolicy, WrongCredentials, DatabaseUnusable: the settings do not do.
    """
    timing, reserve, clock = settings.timing(), settings.reserve(), SystemClock()
    with ExitStack() as stack:
        for path in settings.paths():
            stack.enter_context(_alone(path))
        if transport is None:
            client = Client(settings.url(), timing.connect, timing.read)
            stack.callback(client.close)
            transport = client
        url = settings.url()
        uploaders = []
        for path in settings.paths():
            ledger = Ledger(path, url, timing.share, reserve)
            stack.callback(ledger.close)
            uploaders.append(uploader(ledger, transport, settings.authorities(path), timing, clock))
        yield uploaders


def uploader(ledger: Ledger, transport: Transport, authorities: Authorities, timing: Timing, clock: Clock) -> Uploader:
    """An uploader that looks again at what waited for a key or a policy: they may be others now."""
    made = Uploader(ledger, transport, authorities, timing, clock)
    made.begin_anew()
    return made


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """The right to serve a database. The lock is on a file of its own: one on the database file would cancel SQLite's
    locks when it is closed."""
    lock = filelock.FileLock(lock_file(path), mode=0o600)
    try:
        lock.acquire(timeout=1)  # whoever only looks whether somebody serves it holds it for a moment
    except filelock.Timeout:
        raise AnotherRuns(f"another agentops-sync serves {path} already") from None
    try:
        yield
    finally:
        lock.release()
