"""A program that records until it is killed, and says of each event that it is acknowledged.

`python -m agentops_local.crash_test.writer DATABASE SESSION NAME`

What it records can be computed from its name and a number, so whoever reads it back sees whether it is whole.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from agentops_local.event import Event, LLMEvent, ToolEvent
from agentops_local.recorder.recorder import Recorder
from agentops_local.recorder.state import SessionState

OPENING = b"opening"  # the first thing it says; then come ids of events
_TURNS = 6  # of a conversation, then the next one begins


def text(name: str, number: int) -> str:
    """A text of some length, another for each number."""
    return f"{name} {number} " + f"{number * 7919 % 1000:03d} " * (number * 31 % 400)


def conversation(name: str, number: int) -> list[dict[str, str]]:
    """The messages of a prompt: each turn of a conversation repeats those before it."""
    first = number - number % _TURNS
    return [{"role": "user", "content": text(name, turn)} for turn in range(first, number + 1)]


def event(name: str, number: int) -> Event:
    """What is recorded as the n-th."""
    params = {"name": name, "number": number}
    if number % 2:
        return ToolEvent(name="write", params=params, returns=text(name, number))
    return LLMEvent(prompt=conversation(name, number), completion=text(name, number), model="none", params=params)


def main(database: str, session: str, name: str) -> None:
    """Records until it is killed, or nobody listens any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program that has started this one
    os.write(1, OPENING + b"\n")
    recorder = Recorder(Path(database))
    state = SessionState(session)
    number = 0
    while True:
        number += 1
        recorded = event(name, number)
        if recorder.record(state, recorded, None, None):
            # By the system itself, at once: an acknowledgement in a buffer would die with the process.
            os.write(1, f"{recorded.id}\n".encode("ascii"))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except BrokenPipeError:
        pass
