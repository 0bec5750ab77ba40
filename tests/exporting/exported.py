"""What an export holds, read as another program would."""

from __future__ import annotations

import io
import json
from typing import Any

from agentops_local.exporting import export
from tests.analytics.recording import Book


def raw(book: Book, sessions: Any = None, format: str = "v2", **how: Any) -> bytes:
    """The bytes of an export."""
    out = io.BytesIO()
    export(book.path, sessions, format, out, **how)
    return out.getvalue()


def v2(book: Book, sessions: Any = "last", **how: Any) -> Any:
    """The JSON of v2."""
    return json.loads(raw(book, sessions, "v2", **how))


def lines(book: Book, sessions: Any = None, **how: Any) -> list[dict[str, Any]]:
    """The rows of JSON Lines."""
    return [json.loads(line) for line in raw(book, sessions, "jsonl", **how).decode().splitlines()]


def events(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of them that are events."""
    return [line for line in found if line["type"] == "event"]
