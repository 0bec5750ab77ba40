"""An event in a line, and an event whole, as people read them; for `show` and `tail`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from agentops_local.analytics.timeline import Line
from agentops_local.cli.common import styled
from agentops_local.cli.sessions import token_pair
from agentops_local.cli.text import clean, clock_time, cut, one_line, width
from agentops_local.figures import money, seconds

# The parts of a whole event that are long; the rest stands in its line.
_LONG = ("prompt", "completion", "params", "returns", "details", "logs", "screenshot", "extra")


def took(line: Line) -> str:
    """How long it took."""
    return seconds((line.end_us - line.init_us) / 1e6) if line.end_us is not None and line.kind != "errors" else ""


def paid(line: Line) -> str:
    """What it cost."""
    return money(line.cost) if line.kind == "llms" else ""


def provenance(event: dict[str, Any]) -> str:
    """Where what a call cost is from: 'priced: genai-prices 0.2.3 openai/gpt-4o, 2026-11-29'."""
    if event["kind"] != "llms":
        return ""
    how = event["cost_source"] or "unpriced"
    where = one_line(event["price_source"] or "")
    return f"{how}: {where}, {(event['price_looked_up'] or '')[:10]}" if where else how


def said(line: Line) -> str:
    """What went in and came out, in brief."""
    return " → ".join(one_line(text) for text in (line.given, line.got) if text)


def titled(line: Line) -> str:
    """Its kind and its name."""
    return one_line(f"{line.kind} {line.name or ''}")


def streamed(line: Line, utc: bool, length: int, room: int) -> str:
    """A line of `tail`: when, which session, what."""
    head = f"{clock_time(line.init_us, utc)} {line.session_id[:length]} "
    title = titled(line)
    rest = "  ".join(filter(None, (took(line), token_pair(line.prompt_tokens, line.completion_tokens), paid(line))))
    body = cut("  ".join(filter(None, (title, rest, said(line)))), max(20, room - width(head)))
    return styled(head, dim=True) + styled(body, fg="red" if line.kind == "errors" else None)


def told_whole(event: dict[str, Any], indent: str) -> Iterator[str]:
    """The long parts of an event, each under its name; before them, where its cost is from."""
    if origin := provenance(event):
        yield styled(f"{indent}{origin}", dim=True)
    for name in _LONG:
        part = event.get(name)
        if part is None:
            continue
        if name == "prompt" and isinstance(part, list):
            for message in part:
                yield from _block(indent, _role(message), _content(message))
        elif name == "completion":
            yield from _block(indent, "completion", _content(part))
        else:
            yield from _block(indent, name, part)


def _role(message: Any) -> str:
    return f"prompt: {message['role']}" if isinstance(message, dict) and "role" in message else "prompt"


def _content(message: Any) -> Any:
    """The content of a chat message that has nothing else to say."""
    if isinstance(message, dict) and set(message) <= {"role", "content"} and message.get("content") is not None:
        return message["content"]
    return message


def _block(indent: str, name: str, part: Any) -> Iterator[str]:
    text = part if isinstance(part, str) else json.dumps(part, ensure_ascii=False, indent=2)
    yield styled(f"{indent}{one_line(name)}:", dim=True)
    for line in clean(text).split("\n"):
        yield f"{indent}  {line}"
