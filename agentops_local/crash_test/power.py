"""What can be known of a power cut without one: whether each commit of `durability="power"` reaches the disk.

Nothing here can see whether a drive keeps what it was told to flush. Who wants to know that must pull its plug.
"""

from __future__ import annotations

import os
import sqlite3
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from agentops_local import clock
from agentops_local.analytics.finding import Finding, Level
from agentops_local.crash_test.disk import Disk, disks_below
from agentops_local.crash_test.writer import event
from agentops_local.recorder.recorder import Recorder
from agentops_local.recorder.state import SessionState
from agentops_local.store.connection import connect
from agentops_local.store.filesystem import filesystem_type, find_mount, wal_is_safe

COMMITS = 400
_LONGEST = 5.0  # seconds for all of them
_MEMORY = frozenset(("tmpfs", "ramfs", "devtmpfs"))
_HIDDEN = frozenset(("overlay", "fuse-overlayfs", "fuse.fuse-overlayfs", "aufs"))
_CARELESS = ("nobarrier", "barrier=0", "volatile")  # mount options that leave out flushes
_FLUSHED = 0.5  # of the commits; a flush may serve two, if the kernel joins them
# Seconds in which no disk of the kind empties its cache: a platter turns in 8 ms.
_TOO_FAST = {True: 1e-3, False: 10e-6}


@dataclass(frozen=True)
class Facts:
    """What was measured, and what the system says.

    Attributes:
        filesystem, options: of the folder.
        swallowed: a library that is loaded into this process and makes fsync do nothing; "" if none is.
        disks: those below.
        commits: how many were made of each kind.
        process, power: seconds that the median commit took.
        flushed: during the commits of `power`, how often each disk was told to flush; None: nobody counts.
        fullfsync: whether SQLite empties the cache of the drive on macOS.
    """

    platform: str
    filesystem: str | None
    options: Sequence[str]
    swallowed: str
    commits: int
    process: float
    power: float
    disks: Sequence[Disk] = ()
    flushed: Sequence[int | None] = field(default_factory=tuple)
    fullfsync: bool = False

    @property
    def fsync(self) -> float:
        """Seconds by which the one commit takes longer than the other."""
        return max(0.0, self.power - self.process)


def measure(folder: Path, commits: int = COMMITS) -> Facts:
    """Makes commits of both kinds in a folder, and looks at the disk meanwhile."""
    mount = find_mount(folder) if sys.platform == "linux" else None
    disks = disks_below(mount) if mount is not None else []
    process = _commit(folder / "process.db", False, commits)
    before = [disk.flushes() for disk in disks]
    power = _commit(folder / "power.db", True, commits)
    after = [disk.flushes() for disk in disks]
    with closing(connect(folder / "power.db")) as connection:
        fullfsync = bool(connection.execute("PRAGMA fullfsync").fetchone()[0])
    return Facts(
        sys.platform,
        filesystem_type(folder),
        mount.options if mount is not None else (),
        _swallowed(),
        len(power),
        statistics.median(process),
        statistics.median(power),
        disks,
        [None if one is None or other is None else other - one for one, other in zip(before, after, strict=True)],
        fullfsync,
    )


def _commit(database: Path, power: bool, commits: int) -> list[float]:
    """How long each of some events takes to be committed, the first ones aside: with them the file is made."""
    recorder = Recorder(database, power)
    state = SessionState(str(clock.new_id()))
    took: list[float] = []
    try:
        recorder.start(state)
        deadline = time.monotonic() + _LONGEST
        for number in range(commits):
            began = time.perf_counter()
            if not recorder.record(state, event("power", number), None, None):
                raise sqlite3.OperationalError("an event could not be stored")
            took.append(time.perf_counter() - began)
            if time.monotonic() > deadline:
                break
    finally:
        recorder.close()
    return took


def _swallowed() -> str:
    loaded = os.environ.get("LD_PRELOAD", "")
    try:
        loaded += Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        pass
    return "libeatmydata" if "eatmydata" in loaded else ""


# What follows from it -----------------------------------------------------------------------------------------------


def judge(facts: Facts) -> Iterator[Finding]:
    """The verdicts."""
    power, process = facts.power * 1e6, facts.process * 1e6
    data: dict[str, object] = {
        "commits": facts.commits, "power_us": round(power), "process_us": round(process),
        "filesystem": facts.filesystem, "fullfsync": facts.fullfsync, "flushes": list(facts.flushed),
        "disks": [{"name": one.name, "volatile_cache": one.volatile, "virtual": one.virtual} for one in facts.disks],
    }  # fmt: skip
    level, text = _power_cut(facts)
    yield Finding(level, "power cut", f"A power cut: {text}", data)
    took = f'the median commit takes {power:,.0f} µs with durability="power", {process:,.0f} µs with "process"'
    volatile = [disk for disk in facts.disks if disk.volatile]
    if level is Level.FINE and volatile and facts.fsync < _TOO_FAST[all(disk.rotating for disk in volatile)]:
        text = (
            f"{took}: less than any disk with a volatile cache needs to empty it, so something on the way answers early"
        )
        yield Finding(Level.NOTE, "commits", text)
    else:
        yield Finding(Level.FINE, "commits", took)


def _power_cut(facts: Facts) -> tuple[Level, str]:
    careless = [option for option in facts.options if option in _CARELESS]
    kind = facts.filesystem or "an unknown filesystem"
    if facts.swallowed:
        return Level.PROBLEM, f"{facts.swallowed} is loaded and makes every fsync do nothing; what is recorded is lost"
    if kind in _MEMORY:
        return Level.PROBLEM, f"{kind} is memory, and nothing in it survives"
    if careless:
        return Level.PROBLEM, f"{kind} is mounted with {', '.join(careless)}, so commits are not flushed to the disk"
    if facts.platform == "darwin":
        return _on_macos(facts)
    if not wal_is_safe(facts.filesystem):
        return Level.NOTE, f"{kind} is kept by another machine, and what that keeps cannot be seen from here"
    if not facts.disks:
        hidden = "the disk below overlay" if kind in _HIDDEN else f"which disk holds this {kind}"
        return (
            Level.NOTE,
            f"{hidden} cannot be seen from here; every commit was synced, and the rest is up to that disk",
        )
    return _on_disks(facts)


def _on_macos(facts: Facts) -> tuple[Level, str]:
    if not facts.fullfsync:
        return Level.PROBLEM, "SQLite does not empty the cache of the drive (PRAGMA fullfsync is off)"
    text = "every commit empties the cache of the drive (F_FULLFSYNC), which nobody counts on macOS"
    return Level.NOTE, f"{text}; whether the drive keeps it only pulling its plug can show"


def _on_disks(facts: Facts) -> tuple[Level, str]:
    names = ", ".join(disk.name for disk in facts.disks)
    end = "whether the drive keeps what it was told to flush only pulling its plug can show"
    if any(disk.virtual for disk in facts.disks):
        end = f"{names} is a virtual disk, and passes on what its host does with a flush"
    volatile = [
        (disk, count) for disk, count in zip(facts.disks, facts.flushed, strict=True) if disk.volatile is not False
    ]
    if not volatile:
        return Level.FINE, f"{names} says that it has no volatile cache, so a commit is kept once it is written; {end}"
    counts = [count for _, count in volatile if count is not None]
    if len(counts) < len(volatile):
        return Level.NOTE, f"every commit was synced, but this kernel does not count the flushes of {names}; {end}"
    told = f"{min(counts):,} flushes for {facts.commits:,} commits"
    if min(counts) < _FLUSHED * facts.commits:
        where = ", ".join(disk.name for disk, count in volatile if count == min(counts))
        return Level.PROBLEM, f"commits are not flushed to {where} ({told}), though it has a volatile cache"
    return Level.FINE, f"every commit was flushed to {names} ({told}); {end}"
