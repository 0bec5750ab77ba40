"""A program of many threads that record: `main(count)`. Some die of an exception, some never end and are cut off by the
exit of the process, in the course of which events are recorded as well."""

from __future__ import annotations

import atexit
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import agentops_local as agentops
from tests.reliability.programs.telling import act, say, think

THREADS = 50


@agentops.record_action("turn")
def turn(name: str, number: int) -> None:
    """What a thread does, again and again."""
    act("note", name=name, number=number)
    think(name, number % 4)


def work(name: str, count: int) -> None:
    """A thread's life; every fifth ends it by an exception."""
    for number in range(count):
        turn(name, number)
    if name.endswith(("0", "5")):
        raise ValueError(name)


def for_ever(begun: threading.Event) -> None:
    """A thread that nobody waits for."""
    while True:
        act("for ever")
        begun.set()


def main(count: int) -> None:
    """The program."""
    atexit.register(lambda: act("after the session"))  # runs last: it was there before the session
    agentops.init()
    threading.excepthook = lambda died: say("died", died.exc_value)
    threads = [threading.Thread(target=work, args=(f"thread{number}", count)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    with ThreadPoolExecutor(8) as pool:
        wanted = [pool.submit(copy_context().run, turn, "pool", number) for number in range(count * 8)]
        assert [future.result() for future in wanted] == [None] * len(wanted)
    for thread in threads:
        thread.join()
    for _ in range(3):
        begun = threading.Event()
        threading.Thread(target=for_ever, args=(begun,), daemon=True).start()
        begun.wait()
    threading.Timer(0.05, lambda: act("timer")).start()  # the exit waits for it
    atexit.register(lambda: act("at exit"))
    act("main is over")
