"""The arguments of a tool call, letter by letter as the model wrote them.

Instrumentors parse them, and what is encoded again has other spaces, or numbers spelled otherwise. A recorder says what
was said; so the text is taken from the answer itself, in the format of OpenAI's chat, whole or as a stream.
"""

from __future__ import annotations

import json
from typing import Any

from agentops_local.instrumentation.reading import parsed

_DATA = b"data:"


def spell(completion: Any, body: bytes) -> None:
    """Gives the tool calls of a completion the spelling of the answer, where they say the same."""
    said = completion if isinstance(completion, list) else [completion]
    if not any(isinstance(message, dict) and message.get("tool_calls") for message in said):
        return
    for message, texts in zip(said, _arguments(body), strict=False):  # False: a stream that was cut has told less
        calls = message.get("tool_calls") if isinstance(message, dict) else None
        for call, text in zip(calls or (), texts, strict=False):
            if parsed(text) == parsed(call["function"]["arguments"]):
                call["function"]["arguments"] = text


def _arguments(body: bytes) -> list[list[str]]:
    """The texts of the arguments, by choice and by call."""
    try:
        if body.lstrip()[:1] == b"{":
            return [
                [call["function"]["arguments"] for call in choice["message"].get("tool_calls") or ()]
                for choice in json.loads(body)["choices"]
            ]
        return _streamed(body)
    except (ValueError, LookupError, TypeError, AttributeError):  # not in this format after all
        return []


def _streamed(body: bytes) -> list[list[str]]:
    found: dict[int, dict[int, str]] = {}
    for line in body.splitlines():
        data = line[len(_DATA) :].strip() if line.startswith(_DATA) else b""
        if b"tool_calls" not in data:
            continue
        for choice in json.loads(data)["choices"]:
            calls = found.setdefault(choice.get("index", 0), {})
            for piece in choice["delta"].get("tool_calls") or ():
                place = piece.get("index", 0)
                text = (piece.get("function") or {}).get("arguments") or ""
                calls[place] = calls.get(place, "") + text
    return [[calls[place] for place in sorted(calls)] for _, calls in sorted(found.items())]
