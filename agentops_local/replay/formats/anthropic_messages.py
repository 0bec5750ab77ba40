"""Anthropic's messages."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from agentops_local.replay.answer import Answer, Failure, Said, pieces
from agentops_local.replay.formats.asked import SETTINGS, Asked, Reply, chosen, events, tool, whole

_KINDS = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
    413: "request_too_large", 429: "rate_limit_error", 529: "overloaded_error",
}  # fmt: skip


def read(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a request asks; None if it is none."""
    if not isinstance(body.get("messages"), list) or "max_tokens" not in body:
        return None
    apart = body.get("system")
    tools = [entry for entry in body.get("tools") or () if isinstance(entry, Mapping)]
    return {
        "prompt": [{"role": "system", "content": apart}, *body["messages"]] if apart else body["messages"],
        "model": body.get("model"),
        "tools": [tool(one.get("name"), one.get("description"), one.get("input_schema")) for one in tools],
        "settings": chosen(body, {**SETTINGS, "stop_sequences": "stop"}),
        "is_stream": body.get("stream") is True,
    }


def reply(answer: Answer, asked: Asked) -> Reply:
    """The answer in this format."""
    said = answer.first
    content = _content(said)
    taken = answer.count("prompt_tokens") - answer.count("cache_read_tokens") - answer.count("cache_write_tokens")
    usage = {  # here the parts stand apart
        "input_tokens": max(taken, 0),
        "cache_read_input_tokens": answer.count("cache_read_tokens"),
        "cache_creation_input_tokens": answer.count("cache_write_tokens"),
        "output_tokens": answer.count("completion_tokens"),
    }
    message = {
        "id": answer.id or f"msg_{answer.event}", "type": "message", "role": "assistant", "content": content,
        "model": answer.model or asked.model, "stop_reason": _reason(said), "stop_sequence": None, "usage": usage,
    }  # fmt: skip
    return events(_events(message, answer), named=True) if asked.is_stream else whole(message)


def failed(failure: Failure) -> dict[str, Any]:
    """The body of a refusal."""
    kind = _KINDS.get(failure.status or 0, "api_error")
    return {"type": "error", "error": {"type": kind, "message": failure.message}}


def _content(said: Said) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = []
    if said.thoughts is not None:
        content.append({"type": "thinking", "thinking": said.thoughts, "signature": ""})
    text = said.text if said.text is not None else said.refusal
    if text is not None:
        content.append({"type": "text", "text": text})
    content += [{"type": "tool_use", "id": call.id, "name": call.name, "input": call.value} for call in said.calls]
    return content


def _reason(said: Said) -> str:
    if said.calls:
        return "tool_use"
    if said.is_cut_short:
        return "max_tokens"
    return said.reason if said.reason in ("stop_sequence", "refusal", "pause_turn") else "end_turn"


def _events(message: dict[str, Any], answer: Answer) -> Iterator[dict[str, Any]]:
    begun = {**message, "content": [], "stop_reason": None, "usage": {**message["usage"], "output_tokens": 1}}
    yield {"type": "message_start", "message": begun}
    for index, block in enumerate(message["content"]):
        empty, deltas = _block(block)
        yield {"type": "content_block_start", "index": index, "content_block": empty}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        if answer.failure is not None:
            return
        yield {"type": "content_block_stop", "index": index}
    if answer.failure is None:
        ended = {"stop_reason": message["stop_reason"], "stop_sequence": None}
        usage = {"output_tokens": message["usage"]["output_tokens"]}
        yield {"type": "message_delta", "delta": ended, "usage": usage}
        yield {"type": "message_stop"}


def _block(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A block as it begins, and what is added to it."""
    if block["type"] == "text":
        return {**block, "text": ""}, [{"type": "text_delta", "text": piece} for piece in pieces(block["text"])]
    if block["type"] == "thinking":
        parts = pieces(block["thinking"])
        return {**block, "thinking": ""}, [{"type": "thinking_delta", "thinking": piece} for piece in parts]
    return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": json.dumps(block["input"])}]
