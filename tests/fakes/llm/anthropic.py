"""Anthropic's API: messages."""

from __future__ import annotations

import json
from typing import Any

from tests.fakes.llm.replies import Stream, Whole, halves, named
from tests.fakes.llm.script import DATED, Answer, Request, usage_of


def error(status: int) -> dict[str, Any]:
    """The body of a refusal."""
    return {"type": "error", "error": {"type": "api_error", "message": f"refused with {status}"}}


def messages(request: Request, answer: Answer, number: int) -> Whole | Stream:
    """POST /v1/messages"""
    body = request.body
    usage = usage_of(answer, request)
    told = {
        "input_tokens": usage.input - usage.cache_read - usage.cache_write,  # here the parts stand apart
        "cache_read_input_tokens": usage.cache_read,
        "cache_creation_input_tokens": usage.cache_write,
    }
    content: list[dict[str, Any]] = [] if answer.text is None else [{"type": "text", "text": answer.text}]
    content += [{"type": "tool_use", "id": call[0], "name": call[1], "input": json.loads(call[2])}
                for call in answer.calls]  # fmt: skip
    whole = {
        "id": f"msg_{number}", "type": "message", "role": "assistant", "content": content, "stop_sequence": None,
        "model": DATED.get(body["model"], body["model"]), "stop_reason": "tool_use" if answer.calls else "end_turn",
        "usage": {**told, "output_tokens": usage.output},
    }  # fmt: skip
    if not body.get("stream"):
        return Whole(whole)
    begun = {**whole, "content": [], "stop_reason": None, "usage": {**told, "output_tokens": 1}}
    events: list[dict[str, Any]] = [{"type": "message_start", "message": begun}]
    for index, block in enumerate(content):
        is_text = block["type"] == "text"
        empty = {"type": "text", "text": ""} if is_text else {**block, "input": {}}
        events.append({"type": "content_block_start", "index": index, "content_block": empty})
        for part in halves(block["text"] if is_text else json.dumps(block["input"])):
            delta = {"type": "text_delta", "text": part} if is_text else {"type": "input_json_delta",
                                                                         "partial_json": part}  # fmt: skip
            events.append({"type": "content_block_delta", "index": index, "delta": delta})
        events.append({"type": "content_block_stop", "index": index})
    ended = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    events.append({"type": "message_delta", "delta": ended, "usage": {"output_tokens": usage.output}})
    events.append({"type": "message_stop"})
    return Stream(named(events))
