"""Programs that begin again and again what costs a descriptor, and tell what they hold before and after:
`main(what, count)`."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import psutil

import agentops_local as agentops
from tests.reliability.programs.soak import resources
from tests.reliability.programs.telling import act, say

WARM = 10  # before the first look: what is opened or imported once is there by then


def sessions(count: int) -> None:
    """Sessions, one after the other; of every third nobody says how it ends."""
    for number in range(count):
        session = agentops.start_session()
        assert session is not None
        act("one", session)
        if number % 3:
            session.end_session("Success")
    agentops.end_all_sessions()


def threads(count: int) -> None:
    """Threads, ten at a time."""
    session = agentops.start_session()
    for _ in range(count // 10):
        ten = [threading.Thread(target=act, args=("one", session)) for _ in range(10)]
        for thread in ten:
            thread.start()
        for thread in ten:
            thread.join()
    agentops.end_all_sessions()


def forks(count: int) -> None:
    """Children, one after the other; each tells what it holds once it has recorded."""
    session = agentops.start_session()
    act("one", session)
    for _ in range(count):
        pid = os.fork()
        if pid == 0:
            act("one", session)
            _tell()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        act("one", session)
    agentops.end_all_sessions()


def generations(count: int) -> None:
    """A child of a child of a child, each of which records before and after."""
    session = agentops.start_session()
    first = os.getpid()
    for _ in range(count):
        act("one", session)
        pid = os.fork()
        if pid:
            assert os.waitpid(pid, 0)[1] == 0
            break
    act("one", session)
    if os.getpid() != first:
        _tell()
        os._exit(0)
    agentops.end_all_sessions()


def _tell() -> None:
    """What a child holds."""
    me = psutil.Process()
    databases = [file for file in me.open_files() if file.path.endswith("agentops.db")]
    say("child", me.num_fds(), me.num_threads(), len(databases))


WAYS: dict[str, Callable[[int], None]] = {
    "sessions": sessions, "threads": threads, "forks": forks, "generations": generations,
}  # fmt: skip


def main(what: str, count: int) -> None:
    """The program."""
    agentops.init(auto_start_session=False)
    WAYS[what](WARM)
    say("before", *resources(0))
    WAYS[what](count)
    say("after", *resources(0))
