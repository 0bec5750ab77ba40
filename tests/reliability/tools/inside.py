"""What the programs of the fault tests are written with. It runs in processes of their own, which the tests kill,
fork, stop and starve; what they say on standard output is what they may be held to."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from uuid import UUID

from agentops_local.event import ErrorEvent, Event, LLMEvent, ToolEvent
from agentops_local.recorder.recorder import Recorder
from agentops_local.recorder.state import SessionState
from agentops_local.store import connection as opening
from agentops_local.store import database, file

__all__ = ["Actor", "after_call", "conversation", "die", "hurry", "order", "say", "threading"]

_OURS = f"{os.sep}agentops_local{os.sep}"


def say(*words: object) -> None:
    """A line on standard output, whole even when many processes share the pipe."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def order() -> str:
    """Waits for a line from the test; empty when the test has closed the pipe."""
    text = b""
    while not text.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            break
        text += byte
    return text.decode().strip()


def die() -> None:
    """The end without a goodbye."""
    os.kill(os.getpid(), signal.SIGKILL)


def conversation(writer: str, number: int, turn: int) -> list[dict[str, str]]:
    """The prompt of a turn, computed from three numbers: who reads it back can compute it, too."""
    messages = [{"role": "system", "content": f"You are {writer}. " + "Mind the details. " * 20}]
    for step in range(turn):
        messages.append({"role": "user", "content": f"{writer} asks {number}.{step} " + "why? " * (step * 7 % 40)})
        messages.append({"role": "assistant", "content": f"{writer} answers {number}.{step}"})
    messages.append({"role": "user", "content": f"{writer} asks {number}.{turn}"})
    return messages


def hurry(patience: float = 0.02) -> None:
    """Makes a store that cannot be written give up soon, and try again with the very next event."""
    file._PATIENCE = file._MOMENT = patience
    opening.BUSY_TIMEOUT = patience
    database._RETRY_AFTER = 0.0


def after_call(number: int, action: Callable[[], object]) -> Callable[[], int]:
    """Does something after the n-th call, from now on, that our own code makes of a function in C, or at the beginning
    of the n-th of its own: there Python runs signal handlers, and so there they fork, record, or raise.

    Returns:
        What ends the counting, and tells how many such moments there were.
    """
    count = 0

    def profile(frame: FrameType, event: str, arg: object) -> None:
        nonlocal count
        if event in ("call", "c_return") and _OURS in frame.f_code.co_filename:
            count += 1
            if count == number:
                say("at", number, f"{frame.f_code.co_name}:{frame.f_lineno}")
                action()

    def end() -> int:
        sys.setprofile(None)
        return count

    sys.setprofile(profile)
    return end


class Actor:
    """The recorder and the session of a process. Of each event it says what `record` has returned:
    `ack PID EVENT` once it is stored, `kept PID EVENT` when it only will be."""

    def __init__(self, db: str, session: str, quiet: bool = False) -> None:
        self.recorder = Recorder(Path(db))
        self.database = self.recorder.database
        self.database._file.set_patience(True)  # as `hurry` has it
        self.state = SessionState(session)
        self.quiet = quiet

    def record(self, event: Event) -> bool:
        """Records an event and says what came of it."""
        stored = self.recorder.record(self.state, event, None, None)
        if not self.quiet:
            say("ack" if stored else "kept", os.getpid(), event.id)
        return stored

    def tool(self, value: object = None) -> UUID:
        """A small event."""
        event = ToolEvent(name="step", params={"pid": os.getpid(), "value": value})
        self.record(event)
        return event.id

    def error(self) -> UUID:
        """An error."""
        event = ErrorEvent(error_type="Broken", details="it broke")
        self.record(event)
        return event.id

    def llm(self, writer: str, number: int, turn: int) -> UUID:
        """An LLM call whose prompt can be computed from what stands in its params."""
        event = LLMEvent(
            prompt=list(conversation(writer, number, turn)),
            completion={"role": "assistant", "content": f"{writer} answers {number}.{turn}"},
            model="m",
            params={"writer": writer, "number": number, "turn": turn},
        )
        self.record(event)
        return event.id

    def many(self, count: int) -> None:
        """Small events."""
        for index in range(count):
            self.tool(index)

    def leave(self) -> None:
        """Closes the database and tells what is not in it."""
        self.recorder.close()
        say("left", os.getpid(), self.database.unstored)
        sys.stdout.flush()
