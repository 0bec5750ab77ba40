"""Answers on their way: whole, or in pieces."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

EVENTS, LINES = "text/event-stream", "application/x-ndjson"


@dataclass(frozen=True)
class Whole:
    """A body of JSON."""

    body: Any


@dataclass(frozen=True)
class Stream:
    """A body in chunks."""

    chunks: list[bytes]
    media_type: str = EVENTS


def data(*bodies: Any) -> list[bytes]:
    """Events without a name."""
    return [b"data: " + json.dumps(body).encode() + b"\n\n" for body in bodies]


def named(bodies: Iterable[dict[str, Any]]) -> list[bytes]:
    """Events that are named by their type."""
    return [b"event: " + body["type"].encode() + b"\n" + data(body)[0] for body in bodies]


def halves(text: str) -> list[str]:
    """A text in two pieces."""
    middle = (len(text) + 1) // 2
    return [text[:middle], text[middle:]]
