"""What is to be answered, and what is to go wrong.

One queue for answers and refusals, in the order in which they were said, so that "twice 429, then this" is three lines
of a test. What happens to streams has a queue of its own: plain answers pass it by.
"""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Usage:
    """Tokens. Each provider's own way of telling them is made of these.

    Attributes:
        input: all that went in, cached or not (Anthropic's API tells the parts apart).
        output: all that came out, reasoning included (Gemini's API tells the thoughts apart).
    """

    input: int
    output: int
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int = 0


@dataclass(frozen=True)
class Answer:
    """What the model says.

    Attributes:
        text: None: nothing where tools are called, else what the model makes of the last message.
        tool_calls: names, and arguments as text.
        usage: None: counted from the lengths.
    """

    text: str | None = None
    tool_calls: tuple[tuple[str, str], ...] = ()
    reasoning: str | None = None
    usage: Usage | None = None


@dataclass(frozen=True)
class Received:
    """A request as it came."""

    provider: str
    method: str
    path: str  # as at the provider's own address
    query: str
    headers: Mapping[str, str]  # names in lower case
    body: dict[str, Any]


class Refused(Exception):
    """The provider does not do what it was asked for."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}


@dataclass(frozen=True)
class Failure:
    """The refusal of a request that is in order."""

    status: int
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Cut:
    """The end of a connection in the middle of a stream."""

    after_chunks: int


class Hold:
    """A stream that waits.

    Attributes:
        waiting: set while the stream waits.
        left: set when the connection has ended meanwhile: the client has gone, or the server was closed.
    """

    def __init__(self, after_chunks: int) -> None:
        self.after_chunks = after_chunks
        self.waiting = threading.Event()
        self.left = threading.Event()
        # A pipe rather than an event: one can wait for it and for the client at once. A byte is a chunk that may go.
        self._allowed, self._allow = socket.socketpair()

    def step(self, chunks: int = 1) -> None:
        """Let some chunks go."""
        self._allow.sendall(b"!" * chunks)

    def release(self) -> None:
        """Let all the rest go."""
        self._allow.close()

    def wait(self, connection: socket.socket) -> bool:
        """Wait until the next chunk may go; whether its client is still there."""
        self.waiting.set()
        readable, _, _ = select.select([self._allowed, connection], [], [])
        if connection in readable and _has_left(connection):
            self.left.set()
            return False
        self.waiting.clear()
        self._allowed.recv(1)
        return True

    def close(self) -> None:
        """Nothing waits any more."""
        self._allow.close()
        self._allowed.close()


def _has_left(connection: socket.socket) -> bool:
    try:
        return not connection.recv(1, socket.MSG_PEEK)
    except OSError:
        return True


@dataclass
class Script:
    """What the next requests get, and what came.

    Attributes:
        answers: to requests that nothing is queued for.
        faults: exceptions of the script itself, which no client would tell of.
    """

    answers: Callable[[Received], Answer] = lambda request: Answer()  # noqa: ARG005 - others do look at it
    requests: list[Received] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    _steps: list[Answer | Failure] = field(default_factory=list)
    _breaks: list[Cut | Hold] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, *steps: Answer | Failure) -> None:
        """For the requests after those that are provided for."""
        with self._lock:
            self._steps += steps

    def interrupt(self, how: Cut | Hold) -> None:
        """For the stream after those that are provided for."""
        with self._lock:
            self._breaks.append(how)
            if isinstance(how, Hold):
                self.holds.append(how)

    def note(self, request: Received) -> None:
        """A request has come."""
        with self._lock:
            self.requests.append(request)

    def next(self, request: Received) -> Answer | Failure:
        """What a request gets."""
        with self._lock:
            if self._steps:
                return self._steps.pop(0)
        return self.answers(request)

    def next_break(self) -> Cut | Hold | None:
        """What happens to a stream that begins."""
        with self._lock:
            return self._breaks.pop(0) if self._breaks else None
