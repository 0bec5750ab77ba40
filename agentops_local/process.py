"""Who a process is, so that a later reader can tell whether it still lives.

A pid alone says little: it is used again after a while, after a reboot at once, and in every container anew.
So a process is kept as three things: its pid, a token of its start, and the boot (with the pid namespace) the
two belong to. Nothing here raises: what cannot be found out is an empty text, and its verdict is UNKNOWN.
"""

from __future__ import annotations

import os
import sys
from enum import Enum
from typing import NamedTuple

# Names that many machines bear: that two are equal does not make them one machine.
_COMMON_NAMES = frozenset({"", "localhost", "localhost4", "localhost6", "unknown", "(none)"})
# Seconds. On Windows the boot time is computed from the wall clock and wavers by one second.
_BOOT_TOLERANCE = 2.0
# Seconds. One start time read twice differs by rounding only.
_START_TOLERANCE = 0.01


class ProcessIdentity(NamedTuple):
    """One process, in its boot and pid namespace.

    Attributes:
        pid: as the process itself sees it.
        started: "ticks:N" on Linux (clock ticks since the boot), "time:S.mmm" elsewhere (Unix seconds), "" if
            unknown.
        boot: "BOOT_ID:NAMESPACE" on Linux, "time:S" elsewhere (Unix seconds), "" if unknown.
    """

    pid: int
    started: str
    boot: str


class Liveness(Enum):
    """The verdict on a process. UNKNOWN: from here it cannot be told."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"


_cached: ProcessIdentity | None = None


def current() -> ProcessIdentity:
    """This process. Found out once, and again after a fork."""
    global _cached  # noqa: PLW0603 - a cache of one value; a race between threads only costs its recomputation
    known = _cached
    # A forked child inherits the cache: under its parent's identity it would be taken for dead with it.
    if known is None or known.pid != os.getpid():
        known = _cached = _identify()
    return known


def hostname() -> str:
    """The name of this machine or container; "" if it has none."""
    try:
        if sys.platform == "win32":
            import socket

            return socket.gethostname()
        else:  # noqa: RET505 - mypy follows the platform only through if and else
            return os.uname().nodename  # what socket.gethostname() says, without loading the socket module
    except OSError:
        return ""


def liveness(identity: ProcessIdentity, host: str | None = None) -> Liveness:
    """Whether a process still lives, as far as this process can tell.

    A false DEAD would end a session that still records, a false ALIVE would hide a crash: what is not proven
    is UNKNOWN.

    =================================== =========================== ==========================================
    boot of the process                 its host                    verdict
    =================================== =========================== ==========================================
    unknown, or of another kind         any (WSL bears the name     UNKNOWN
    of system than ours                 of its Windows host)
    Linux, our boot id and namespace    any (a boot id is unique)   look at the pid
    Linux, our boot id, another         any (the containers of a    UNKNOWN: another container, maybe alive
    namespace                           pod share it)
    Linux, another boot id              ours, and no common name    DEAD: rebooted, or the container moved
    Linux, another boot id              another, common, not known  UNKNOWN: another machine, maybe alive
    elsewhere, any boot time            ours, and no common name    look at the pid
    elsewhere, our boot time (± 2 s)    common, not known           look at the pid
    elsewhere, another boot time        common, not known           UNKNOWN
    elsewhere, any boot time            another                     UNKNOWN
    =================================== =========================== ==========================================

    Looking at the pid: nobody has it, a zombie has it, or its holder started at another time (the pid is used
    again): DEAD; the same start: ALIVE; a holder whose start is hidden from us: UNKNOWN. A process that
    replaced its program (exec) keeps pid and start, and so counts as ALIVE.

    Args:
        identity: the process, as `current` gave it there.
        host: the machine it ran on, as `hostname` gave it there; None if that was not recorded.
    """
    here = current()
    if identity == here:
        return Liveness.ALIVE
    if identity.pid <= 0 or not (identity.started and identity.boot and here.boot):
        return Liveness.UNKNOWN
    same_host = _same_host(host)
    try:
        if identity.boot.startswith("time:") or here.boot.startswith("time:"):
            return _judge_by_time(identity, here, same_host)
        return _judge_by_boot_id(identity, here, same_host)
    except Exception:  # noqa: BLE001 - a damaged row, or psutil failing in a way of its own, proves nothing
        return Liveness.UNKNOWN


def _same_host(host: str | None) -> bool | None:
    """Whether `host` is ours; None if the names prove nothing."""
    theirs, ours = _first_label(host or ""), _first_label(hostname())
    if theirs in _COMMON_NAMES or ours in _COMMON_NAMES:
        return None
    return theirs == ours


def _first_label(host: str) -> str:
    # A laptop is `mac.local` in one network and `mac.lan` in the next: only the first label is its own.
    return host.partition(".")[0].lower()


def _judge_by_boot_id(identity: ProcessIdentity, here: ProcessIdentity, same_host: bool | None) -> Liveness:
    if identity.boot == here.boot:
        return _look_in_proc(identity)
    if identity.boot.partition(":")[0] == here.boot.partition(":")[0]:
        return Liveness.UNKNOWN
    return Liveness.DEAD if same_host else Liveness.UNKNOWN


def _judge_by_time(identity: ProcessIdentity, here: ProcessIdentity, same_host: bool | None) -> Liveness:
    if same_host is False:
        return Liveness.UNKNOWN
    # A Linux boot id on either side is no time: ValueError, UNKNOWN.
    drift = _seconds(here.boot) - _seconds(identity.boot)
    if same_host is None and abs(drift) > _BOOT_TOLERANCE:
        return Liveness.UNKNOWN
    return _look_with_psutil(identity, drift)


def _identify() -> ProcessIdentity:
    try:
        return _identify_by_proc() if sys.platform == "linux" else _identify_by_psutil()
    except Exception:  # noqa: BLE001 - without /proc or psutil a process has no identity, and records all the same
        return ProcessIdentity(os.getpid(), "", "")


# -------------------------------------------------------------------------------------------------- Linux


def _identify_by_proc() -> ProcessIdentity:
    # /proc/self, not /proc/PID: in a pid namespace that kept the outer /proc, PID is somebody else there.
    _, _, ticks = _stat("self")
    boot_id = _read("/proc/sys/kernel/random/boot_id").decode("ascii").strip()
    # Such as pid:[4026531836].
    namespace = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - pathlib would be loaded for this line
    return ProcessIdentity(os.getpid(), f"ticks:{ticks}", f"{boot_id}:{namespace[5:-1]}")


def _look_in_proc(identity: ProcessIdentity) -> Liveness:
    if _stat("self")[0] != str(os.getpid()):
        return _look_by_signal(identity.pid)  # this /proc numbers the processes of another namespace
    try:
        _, state, ticks = _stat(str(identity.pid))
    except (FileNotFoundError, ProcessLookupError):
        # Mounted with hidepid=, /proc lacks the processes of other users, though they live.
        return _look_by_signal(identity.pid)
    if state in "ZXx" or identity.started != f"ticks:{ticks}":
        return Liveness.DEAD
    return Liveness.ALIVE


def _look_by_signal(pid: int) -> Liveness:
    if sys.platform != "win32":  # there, os.kill(pid, 0) is no question but a Ctrl-C
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return Liveness.DEAD
        except PermissionError:
            pass
    return Liveness.UNKNOWN  # somebody has the pid; whether it is the one we mean, we cannot see


def _stat(pid: str) -> tuple[str, str, str]:
    """Pid, state and start of a process: fields 1, 3 and 22 of /proc/PID/stat."""
    stat = _read(f"/proc/{pid}/stat").decode("ascii", "replace")
    # Field 2 is the program's name in parentheses, and a name may hold blanks and parentheses of its own.
    fields = stat[stat.rindex(")") + 2 :].split()
    return stat[: stat.index(" ")], fields[0], fields[19]


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - pathlib would be loaded for this line
        return file.read()


# ------------------------------------------------------------------------------- macOS, Windows, the rest


def _identify_by_psutil() -> ProcessIdentity:
    import psutil

    pid = os.getpid()
    started = psutil.Process(pid).create_time()
    return ProcessIdentity(pid, f"time:{started:.3f}", f"time:{psutil.boot_time():.0f}")


def _look_with_psutil(identity: ProcessIdentity, drift: float) -> Liveness:
    """Looks at the pid; `drift` is how many seconds our boot time is later than the recorded one."""
    import psutil

    try:
        process = psutil.Process(identity.pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return Liveness.DEAD
        later = process.create_time() - _seconds(identity.started)
    except psutil.NoSuchProcess:
        return Liveness.DEAD
    except psutil.AccessDenied:
        return Liveness.UNKNOWN
    if abs(later) <= _START_TOLERANCE:
        return Liveness.ALIVE
    # On macOS psutil shifts start times by the clock steps since its import. If boot and start moved alike,
    # the clock was set under a reader that runs for long, or after a reboot a service got its old pid again.
    if abs(drift) > _START_TOLERANCE and abs(later - drift) <= _BOOT_TOLERANCE:
        return Liveness.UNKNOWN
    return Liveness.DEAD


def _seconds(token: str) -> float:
    kind, _, number = token.partition(":")
    if kind != "time":
        raise ValueError(f"not a time: {token!r}")
    return float(number)
