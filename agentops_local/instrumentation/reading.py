"""What a span says: the same thing, whichever family of instrumentors has made it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Attributes = Mapping[str, Any]


@dataclass
class Reading:
    """A span of an LLM call, a tool, an agent or a step of a framework.

    Attributes:
        kind: 'llms', 'tools' or 'actions', as in events.
        name: of the tool or the step.
        agent: the name of the agent whose span it is.
        prompt, completion: chat messages and the assistant's message, or text.
        prompt_tokens: all that went in, of which cache_read_tokens and cache_write_tokens are parts.
        completion_tokens: all that came out, of which reasoning_tokens are a part.
        cost: US dollars, where the provider says so itself.
        thread_id: the conversation.
        params, returns: what else went in, and came out.
    """

    kind: str
    name: str | None = None
    agent: str | None = None
    provider: str | None = None
    model: str | None = None
    prompt: Any = None
    completion: Any = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost: Any = None
    thread_id: str | None = None
    params: Any = None
    returns: Any = None


def parsed(value: object) -> Any:
    """A value that is JSON text, as what it says; any other as it is."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "["):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def nested(attributes: Attributes, prefix: str) -> list[dict[str, Any]]:
    """Numbered attributes as a list: `P.0.role`, `P.0.tool_calls.1.id` become [{'role': ..., 'tool_calls': [...]}].

    Gaps in the numbers close up: a span that lost attributes to a limit still tells the others, in order.
    """
    tree: dict[str, Any] = {}
    start = prefix + "."
    for name, value in attributes.items():
        if not name.startswith(start):
            continue
        place = tree
        *path, last = name[len(start) :].split(".")
        for step in path:
            below = place.setdefault(step, {})
            place = below if isinstance(below, dict) else {}
        place[last] = value
    found = _lists(tree)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _lists(tree: object) -> Any:
    if not isinstance(tree, dict):
        return tree
    if tree and all(key.isdecimal() for key in tree):
        return [_lists(tree[key]) for key in sorted(tree, key=int)]
    return {key: _lists(value) for key, value in tree.items()}


def present(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are there."""
    return {name: value for name, value in values.items() if value is not None}
