"""The messages of prompts, read from the tree of prefixes: what stands in them, and which of them make a prompt.

Two prompts that share a node share all that leads to it, so they are compared by numbers as far as they are equal; the
text of a message is read where somebody wants to see it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any

from agentops_local.analytics.whole import value

PIECE = 500  # messages a read

# The way to the root goes to ever lower numbers only: a damaged row that named itself would send us round for ever.
_PATH = """
WITH RECURSIVE path (id, parent) AS (
    SELECT id, parent FROM messages WHERE id = ?
    UNION ALL SELECT m.id, m.parent FROM path JOIN messages m ON m.id = path.parent WHERE path.parent < path.id)
SELECT id FROM path ORDER BY id
"""
_TEXTS = "SELECT id, text FROM message_texts WHERE id IN (SELECT value FROM json_each(?))"
# Equal contents are stored as equal values, whichever form they have.
_CONTENTS = "SELECT id, content FROM messages WHERE id IN (SELECT value FROM json_each(?))"


def path(connection: sqlite3.Connection, node: int | None) -> list[int]:
    """The nodes of a prompt, from its first message to its last."""
    return [] if node is None else [row["id"] for row in connection.execute(_PATH, (node,)).fetchall()]


def pieces(nodes: Iterable[int], size: int = PIECE) -> Iterator[list[int]]:
    """Nodes, some at a time."""
    ordered = list(nodes)
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]


def listed(numbers: Iterable[int]) -> str:
    """Numbers as a statement takes them for json_each."""
    return json.dumps(list(numbers))


def texts(connection: sqlite3.Connection, nodes: Iterable[int]) -> dict[int, str]:
    """The messages of nodes, as JSON; for a few of them."""
    found = {}
    for piece in pieces(nodes):
        for row in connection.execute(_TEXTS, (json.dumps(piece),)).fetchall():
            found[row["id"]] = row["text"] or ""
    return found


def contents(connection: sqlite3.Connection, nodes: Iterable[int]) -> dict[int, str | bytes]:
    """The messages of nodes as they are stored, which is enough to tell whether they are equal."""
    found = {}
    for piece in pieces(nodes):
        for row in connection.execute(_CONTENTS, (json.dumps(piece),)).fetchall():
            found[row["id"]] = row["content"]
    return found


def role(text: str) -> str | None:
    """Who speaks in a message; None if it does not say."""
    message = value(text)
    found = message.get("role") if isinstance(message, dict) else None
    return found if isinstance(found, str) else None


def words(text: str) -> str:
    """A message as people read it: its text, then the tools that it calls."""
    return spoken(value(text))


def spoken(message: Any) -> str:
    """The same, of a message that is no JSON any more."""
    if not isinstance(message, dict):
        return message if isinstance(message, str) else _plain(message)
    parts = [_content(message.get("content")), _content(message.get("parts"))]
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        parts += [_call(call) for call in calls]
    elif message.get("function_call"):
        parts.append(_call({"function": message["function_call"]}))
    return "\n".join(filter(None, parts)) or _plain(message)


def _content(content: Any) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        return _plain(content)
    return "\n".join(filter(None, map(_part, content)))


def _part(part: Any) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict):
        return _plain(part)
    kind = part.get("type")
    if isinstance(part.get("text"), str):
        return str(part["text"])
    if kind == "tool_use":
        return f"{part.get('name')}({_plain(part.get('input'))})"
    if kind == "tool_result" or (kind == "text" and "content" in part):
        return _content(part.get("content"))
    return f"[{kind}]" if isinstance(kind, str) and ("image" in kind or "audio" in kind) else _plain(part)


def _call(call: Any) -> str:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        return _plain(call)
    given = function.get("arguments")
    return f"{function.get('name')}({given if isinstance(given, str) else _plain(given)})"


def _plain(thing: Any) -> str:
    return json.dumps(thing, ensure_ascii=False)
