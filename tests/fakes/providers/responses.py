"""OpenAI's responses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tests.fakes.providers.openai import refusal
from tests.fakes.providers.replies import Api, Call, Json, Reply, asks_to_stream, event, needed, pieces, texts
from tests.fakes.providers.script import Received


def _said(request: Received) -> list[str]:
    needed(request, "model", "input")
    return [*texts(request.body.get("instructions")), *texts(request.body["input"])] or [""]


def _thought(reply: Reply) -> Json:
    summary = [{"type": "summary_text", "text": reply.reasoning}]
    return {"id": f"rs_{reply.key}", "type": "reasoning", "summary": summary}


def _said_back(reply: Reply) -> Json:
    part: Json = {"type": "output_text", "text": reply.text, "annotations": [], "logprobs": []}
    identity = f"msg_{reply.key}"
    return {"id": identity, "type": "message", "status": "completed", "role": "assistant", "content": [part]}


def _called(call: Call) -> Json:
    return {
        "id": f"fc_{call.key}",
        "type": "function_call",
        "status": "completed",
        "call_id": f"call_{call.key[:24]}",
        "name": call.name,
        "arguments": call.arguments,
    }


def _items(reply: Reply) -> list[Json]:
    items = [] if reply.reasoning is None else [_thought(reply)]
    items += [] if reply.text is None else [_said_back(reply)]
    return items + [_called(call) for call in reply.calls]


def _response(reply: Reply, *, done: bool) -> Json:
    body, usage = reply.request.body, reply.usage
    told = {
        "input_tokens": usage.input,
        "input_tokens_details": {"cached_tokens": usage.cache_read, "cache_write_tokens": usage.cache_write},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": reply.total,
    }
    return {
        "id": f"resp_{reply.key}",
        "object": "response",
        "created_at": reply.created,
        "status": "completed" if done else "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "model": reply.model,
        "output": _items(reply) if done else [],
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "previous_response_id": body.get("previous_response_id"),
        "store": body.get("store", True),
        "temperature": body.get("temperature", 1.0),
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools") or [],
        "top_p": body.get("top_p", 1.0),
        "truncation": "disabled",
        "metadata": body.get("metadata") or {},
        "usage": told if done else None,
    }


def _whole(reply: Reply) -> Json:
    return _response(reply, done=True)


# in events ----------------------------------------------------------------------------------------------------------


def _written(kind: str, place: Json, text: str, more: Json, ended: str = "text") -> Iterator[Json]:
    for piece in pieces(text):
        yield {"type": f"response.{kind}.delta", **place, "delta": piece, **more}
    yield {"type": f"response.{kind}.done", **place, ended: text, **more}


def _message(item: Json, index: int) -> Iterator[Json]:
    place = {"item_id": item["id"], "output_index": index, "content_index": 0}
    part = item["content"][0]
    yield {"type": "response.content_part.added", **place, "part": {**part, "text": ""}}
    yield from _written("output_text", place, part["text"], {"logprobs": []})
    yield {"type": "response.content_part.done", **place, "part": part}


def _reasoning(item: Json, index: int) -> Iterator[Json]:
    place = {"item_id": item["id"], "output_index": index, "summary_index": 0}
    part = item["summary"][0]
    yield {"type": "response.reasoning_summary_part.added", **place, "part": {**part, "text": ""}}
    yield from _written("reasoning_summary_text", place, part["text"], {})
    yield {"type": "response.reasoning_summary_part.done", **place, "part": part}


def _function_call(item: Json, index: int) -> Iterator[Json]:
    place = {"item_id": item["id"], "output_index": index}
    for told in _written("function_call_arguments", place, item["arguments"], {}, "arguments"):
        yield told | ({"name": item["name"]} if "arguments" in told else {})


# What an item is before it is filled, and how it is filled.
_BEGUN: dict[str, Json] = {
    "message": {"status": "in_progress", "content": []},
    "reasoning": {"summary": []},
    "function_call": {"status": "in_progress", "arguments": ""},
}
_FILLED: dict[str, Any] = {"message": _message, "reasoning": _reasoning, "function_call": _function_call}


def _events(reply: Reply) -> Iterator[Json]:
    begun = _response(reply, done=False)
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, item in enumerate(_items(reply)):
        kind = item["type"]
        yield {"type": "response.output_item.added", "output_index": index, "item": item | _BEGUN[kind]}
        yield from _FILLED[kind](item, index)
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    yield {"type": "response.completed", "response": _response(reply, done=True)}


def _chunks(reply: Reply) -> Iterator[bytes]:
    for number, told in enumerate(_events(reply)):
        yield event({**told, "sequence_number": number})


RESPONSES = Api("openai", re.compile("/v1/responses"), _said, asks_to_stream, _whole, _chunks, refusal)
