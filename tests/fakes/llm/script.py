"""What is to be answered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

# Which dated model answers for the name of a moving one.
DATED = {"gpt-4o": "gpt-4o-2024-08-06", "claude-sonnet-4-5": "claude-sonnet-4-5-20250929"}


@dataclass(frozen=True)
class Usage:
    """Tokens, as the API counts them: `input` is all that went in (Anthropic's servers tell it in parts)."""

    input: int
    output: int
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int = 0


@dataclass(frozen=True)
class Answer:
    """What the model says.

    Attributes:
        text: its text; None: nothing but calls of tools.
        calls: of tools: (id, name, the text of the arguments).
        usage: by default counted from the lengths.
    """

    text: str | None = "It is sunny."
    calls: tuple[tuple[str, str, str], ...] = ()
    usage: Usage | None = None


@dataclass(frozen=True)
class Request:
    """A request as it came."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]


@dataclass(frozen=True)
class Failure:
    """A request that is refused."""

    status: int
    headers: Mapping[str, str]


@dataclass
class Script:
    """What the next requests are answered; when it is over, `otherwise` answers.

    Attributes:
        requests: those that have come.
        cut_after: chunks after which the next stream is cut off, connection and all.
        gate: where every stream waits after its first chunk, if it is set.
    """

    otherwise: Callable[[Request], Answer] = lambda request: Answer()  # noqa: ARG005 - one that looks at it may be set
    steps: list[Answer | Failure] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    cut_after: int | None = None
    gate: threading.Event | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _answered: int = 0

    def next(self, request: Request) -> tuple[Answer | Failure, int]:
        """What a request is answered, and the number of the answer."""
        with self._lock:
            self.requests.append(request)
            self._answered += 1
            step = self.steps.pop(0) if self.steps else None
            number = self._answered
        return (self.otherwise(request) if step is None else step), number

    def take_cut(self) -> int | None:
        """After how many chunks this stream is cut off."""
        with self._lock:
            cut, self.cut_after = self.cut_after, None
        return cut


def usage_of(answer: Answer, request: Request) -> Usage:
    """The usage that is told."""
    if answer.usage is not None:
        return answer.usage
    return Usage(len(str(request.body)) // 4, len(answer.text or "") // 4 + 5 * len(answer.calls))
