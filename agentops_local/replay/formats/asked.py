"""A request as an LLM call, and an answer as what goes back over the wire."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

EVENTS, LINES, JSON = "text/event-stream", "application/x-ndjson", "application/json"


@dataclass(frozen=True)
class Asked:
    """A request of a format that can be answered.

    Attributes:
        format: its name. host, path: of its address. headers: by their names in lower case.
        prompt: its messages, in whatever shape. model, tools: as it names them.
        settings: what else it asks for, by OpenAI's names.
        is_stream: whether the answer is to come in pieces.
    """

    format: str
    host: str
    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    prompt: Any
    model: str | None
    tools: list[dict[str, Any]]
    settings: Mapping[str, Any]
    is_stream: bool


@dataclass(frozen=True)
class Reply:
    """What goes back.

    Attributes:
        chunks: the body; one chunk where it is no stream.
        is_cut: it breaks off after the last chunk. is_timeout: because it was waited for too long.
    """

    status: int
    media_type: str
    chunks: tuple[bytes, ...]
    is_cut: bool = False
    is_timeout: bool = False


def whole(body: object, status: int = 200) -> Reply:
    """An answer in one piece."""
    return Reply(status, JSON, (json.dumps(body).encode(),))


def events(bodies: Iterable[Mapping[str, Any]], *, named: bool, end: bytes = b"") -> Reply:
    """An answer as events.

    Args:
        named: whether each tells its `type` as its name.
        end: what comes after the last.
    """
    chunks = []
    for body in bodies:
        name = f"event: {body['type']}\n".encode() if named else b""
        chunks.append(name + b"data: " + json.dumps(body).encode() + b"\n\n")
    return Reply(200, EVENTS, (*chunks, end) if end else tuple(chunks))


def lines(bodies: Iterable[Mapping[str, Any]]) -> Reply:
    """An answer as lines of JSON."""
    return Reply(200, LINES, tuple(json.dumps(body).encode() + b"\n" for body in bodies))


def tool(name: object, description: object = None, parameters: object = None) -> dict[str, Any]:
    """A tool that the model is offered."""
    return {"name": name, "description": description, "parameters": parameters}


def chosen(body: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """The settings of a request that were set.

    Args:
        names: the name of each in this format, and the one that everybody knows.
    """
    return {known: body[own] for own, known in names.items() if body.get(own) is not None}


SETTINGS = {name: name for name in ("temperature", "top_p", "max_tokens", "seed", "stop")}
