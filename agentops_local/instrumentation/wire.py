"""An answer as it came, in the format of OpenAI's chat or of its Responses: whole, or as a stream.

It is looked at for what instrumentors do not tell. They parse the arguments of tool calls, and what is encoded again
has other spaces, or numbers spelled otherwise; a recorder says what was said. And one of them is done with a stream
before anybody has read it.
"""

from __future__ import annotations

import json
from typing import Any

from agentops_local.instrumentation.reading import Reading, parsed

_DATA = b"data:"


def spell(completion: Any, body: bytes) -> None:
    """Gives the tool calls of a completion the spelling of the answer, where they say the same."""
    said = completion if isinstance(completion, list) else [completion]
    if not any(isinstance(message, dict) and message.get("tool_calls") for message in said):
        return
    choices = whole(body).get("choices", [])
    for message, choice in zip(said, choices, strict=False):  # False: a stream that was cut has told less
        calls = message.get("tool_calls") if isinstance(message, dict) else None
        for call, spelled in zip(calls or (), choice["message"].get("tool_calls") or (), strict=False):
            text = spelled["function"]["arguments"]
            if parsed(text) == parsed(call["function"]["arguments"]):
                call["function"]["arguments"] = text
                call["id"] = call["id"] or spelled.get("id")


def complete(reading: Reading, body: bytes) -> None:
    """Says of a call what its answer says, as far as that has come."""
    answer = whole(body)
    reading.model = answer.get("model") or reading.model
    choices = answer.get("choices", [])
    messages = [choice["message"] for choice in choices]
    reading.completion = (messages[0] if len(messages) == 1 else messages) or None
    reasons = [choice["finish_reason"] for choice in choices]
    reading.returns = {**(reading.returns or {}), "id": answer.get("id"), "finish_reasons": reasons}
    usage = answer.get("usage") or {}
    reading.prompt_tokens, reading.completion_tokens = usage.get("prompt_tokens"), usage.get("completion_tokens")
    reading.cache_read_tokens = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
    reading.reasoning_tokens = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens")


def whole(body: bytes) -> dict[str, Any]:
    """The answer; of a stream, what its pieces amount to. Empty for another format."""
    try:
        if body.lstrip()[:1] == b"{":
            return _told(json.loads(body))
        return _joined(body)
    except (ValueError, LookupError, TypeError, AttributeError):
        return {}


def _told(answer: dict[str, Any]) -> dict[str, Any]:
    """A whole answer; one of the Responses API as one choice, as far as its calls of tools go."""
    if "output" in answer:
        calls = [
            {"id": item.get("call_id"), "function": {"name": item.get("name"), "arguments": item["arguments"]}}
            for item in answer["output"] if item.get("type") == "function_call"
        ]  # fmt: skip
        return {**answer, "choices": [{"message": {"tool_calls": calls}}]}
    return answer if all("message" in choice for choice in answer["choices"]) else {}


def _joined(body: bytes) -> dict[str, Any]:
    answer: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for line in body.splitlines():
        data = line[len(_DATA) :].strip() if line.startswith(_DATA) else b""
        if not data.startswith(b"{"):
            continue
        try:
            chunk = json.loads(data)
        except ValueError:  # the last line of a stream that was cut
            break
        if chunk.get("type") == "response.completed":
            return _told(chunk["response"])
        usage = chunk.get("usage") or (chunk.get("x_groq") or {}).get("usage")
        answer.update({"id": chunk.get("id"), "model": chunk.get("model")} | ({"usage": usage} if usage else {}))
        for choice in chunk.get("choices") or ():
            _add(choices.setdefault(choice.get("index", 0), {"message": {}, "finish_reason": None}), choice)
    answer["choices"] = [_closed(choice) for _, choice in sorted(choices.items())]
    return answer


def _add(whole: dict[str, Any], piece: dict[str, Any]) -> None:
    message, delta = whole["message"], piece.get("delta") or {}
    whole["finish_reason"] = piece.get("finish_reason") or whole["finish_reason"]
    message["role"] = delta.get("role") or message.get("role") or "assistant"
    message["content"] = message.get("content")
    if delta.get("content"):
        message["content"] = (message["content"] or "") + delta["content"]
    for part in delta.get("tool_calls") or ():
        calls = message.setdefault("tool_calls", {})
        call = calls.setdefault(part.get("index", 0), {"id": None, "type": "function",
                                                       "function": {"name": None, "arguments": ""}})  # fmt: skip
        call["id"] = part.get("id") or call["id"]
        function = part.get("function") or {}
        call["function"]["name"] = function.get("name") or call["function"]["name"]
        call["function"]["arguments"] += function.get("arguments") or ""


def _closed(choice: dict[str, Any]) -> dict[str, Any]:
    calls = choice["message"].get("tool_calls")
    if calls:
        choice["message"]["tool_calls"] = [calls[place] for place in sorted(calls)]
    return choice
