"""An answer made ready for the wire, and what the providers' formats have in common."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from tests.fakes.providers.script import Answer, Received, Refused, Usage

Json = dict[str, Any]

EVENTS, LINES = "text/event-stream", "application/x-ndjson"

# The model that answers to a name which moves. What is not here answers under the name it was called by.
DATED = {
    "claude-haiku-4-5": "claude-haiku-4-5-20251001",
    "claude-opus-4-1": "claude-opus-4-1-20250805",
    "claude-sonnet-4-5": "claude-sonnet-4-5-20250929",
    "gpt-4.1": "gpt-4.1-2025-04-14",
    "gpt-4.1-mini": "gpt-4.1-mini-2025-04-14",
    "gpt-4o": "gpt-4o-2024-08-06",
    "gpt-4o-mini": "gpt-4o-mini-2024-07-18",
    "gpt-5": "gpt-5-2025-08-07",
    "gpt-5-mini": "gpt-5-mini-2025-08-07",
    "o3-mini": "o3-mini-2025-01-31",
    "o4-mini": "o4-mini-2025-04-16",
}


class Call(NamedTuple):
    """The call of a tool."""

    key: str  # what its id is made of
    name: str
    arguments: str

    @property
    def parsed(self) -> Any:
        """The arguments, for the providers that send no text."""
        return json.loads(self.arguments)


@dataclass(frozen=True)
class Reply:
    """An answer with all that a provider adds to it.

    Attributes:
        key: what its ids are made of: 32 hexadecimal digits, never the same twice.
        model: the one that answers.
        text: None only where tools are called instead.
    """

    request: Received
    key: str
    created: int
    model: str
    text: str | None
    calls: tuple[Call, ...]
    reasoning: str | None
    usage: Usage

    @property
    def total(self) -> int:
        """All tokens."""
        return self.usage.input + self.usage.output


class Api(NamedTuple):
    """One address of a provider.

    Attributes:
        path: of the address; `model` is a group of it where the path says it.
        said: the texts of a request, the last message last; refuses what the provider would.
        streams: whether a request wants its answer in chunks.
        refusal: the body of an error, from its status and message.
    """

    provider: str
    path: re.Pattern[str]
    said: Callable[[Received], list[str]]
    streams: Callable[[Received], bool]
    whole: Callable[[Reply], Any]
    chunks: Callable[[Reply], Iterable[bytes]]
    refusal: Callable[[int, str], Any]
    media_type: str = EVENTS

    def reply(self, request: Received, answer: Answer) -> Reply:
        """An answer made ready."""
        said = self.said(request)
        path = self.path.fullmatch(request.path)
        named = path.groupdict().get("model") if path else None
        model = str(named or request.body.get("model"))
        text = answer.text
        if text is None and not answer.tool_calls:
            text = f"You said: {said[-1]}"
        calls = tuple(Call(uuid.uuid4().hex, name, arguments) for name, arguments in answer.tool_calls)
        usage = answer.usage or _counted([*said, *_tools(request)], text, calls, answer.reasoning)
        dated = DATED.get(model, model)
        return Reply(request, uuid.uuid4().hex, int(time.time()), dated, text, calls, answer.reasoning, usage)


def asks_to_stream(request: Received) -> bool:
    """The way most APIs are asked."""
    return request.body.get("stream") is True


def never_streams(_: Received) -> bool:
    """An API without streams."""
    return False


# what was said ------------------------------------------------------------------------------------------------------


def needed(request: Received, *names: str) -> None:
    """Refuse a request that lacks a field, or leaves it empty."""
    for name in names:
        if not request.body.get(name):
            raise Refused(400, f"{name}: needed, and missing or empty")


def texts(content: Any) -> list[str]:
    """Every text in the content of a message, whether it is one or a list of parts."""
    if isinstance(content, str):
        return [content]
    if isinstance(content, dict):
        return texts(next((content[name] for name in ("text", "content", "output", "parts") if name in content), None))
    return [text for part in content for text in texts(part)] if isinstance(content, list) else []


def in_messages(request: Received) -> list[str]:
    """The texts of `messages`."""
    needed(request, "model", "messages")
    return texts(request.body["messages"]) or [""]


def tokens(text: str) -> int:
    """How many tokens a text has: one for four characters begun."""
    return -(-len(text) // 4)


def _tools(request: Received) -> list[str]:
    tools = request.body.get("tools")
    return [json.dumps(tools)] if tools else []


def _counted(said: list[str], text: str | None, calls: tuple[Call, ...], reasoning: str | None) -> Usage:
    thought = tokens(reasoning or "")
    written = tokens(text or "") + sum(tokens(call.name) + tokens(call.arguments) for call in calls)
    return Usage(sum(map(tokens, said)), written + thought, reasoning=thought)


# in chunks ----------------------------------------------------------------------------------------------------------


def pieces(text: str | None) -> list[str]:
    """A text in three pieces, or fewer; none for no text."""
    text = text or ""
    size = max(1, -(-len(text) // 3))
    return [text[start : start + size] for start in range(0, len(text), size)]


def data(body: Any) -> bytes:
    """An event without a name."""
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def event(body: Json) -> bytes:
    """An event that is named by its type."""
    return b"event: " + str(body["type"]).encode() + b"\n" + data(body)


def line(body: Json) -> bytes:
    """A line of JSON."""
    return json.dumps(body).encode() + b"\n"
