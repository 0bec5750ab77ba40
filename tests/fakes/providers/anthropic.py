"""Anthropic's messages."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.fakes.providers.replies import (
    Api,
    Call,
    Json,
    Reply,
    asks_to_stream,
    event,
    in_messages,
    needed,
    pieces,
    texts,
)
from tests.fakes.providers.script import Received

_ERRORS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def _refusal(status: int, message: str) -> Json:
    kind = _ERRORS.get(status) or ("invalid_request_error" if status < 500 else "api_error")
    return {"type": "error", "error": {"type": kind, "message": message}}


def _said(request: Received) -> list[str]:
    needed(request, "max_tokens")
    return [*texts(request.body.get("system")), *in_messages(request)]


def _usage(reply: Reply, *, done: bool) -> Json:
    usage = reply.usage
    told: Json = {  # the parts of the input stand apart here: together they are the whole
        "input_tokens": usage.input - usage.cache_read - usage.cache_write,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cache_read,
        "output_tokens": usage.output if done else 1,  # one token: it has only just begun to write
    }
    if usage.reasoning and done:
        told["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    return told


def _blocks(reply: Reply) -> list[Json]:
    blocks: list[Json] = []
    if reply.reasoning is not None:
        blocks.append({"type": "thinking", "thinking": reply.reasoning, "signature": f"sig{reply.key}"})
    if reply.text is not None:
        blocks.append({"type": "text", "text": reply.text})
    return blocks + [_tool_use(call) for call in reply.calls]


def _tool_use(call: Call) -> Json:
    return {"type": "tool_use", "id": f"toolu_{call.key[:24]}", "name": call.name, "input": call.parsed}


def _message(reply: Reply) -> Json:
    created = {"ephemeral_5m_input_tokens": reply.usage.cache_write, "ephemeral_1h_input_tokens": 0}
    return {
        "id": f"msg_{reply.key[:24]}",
        "type": "message",
        "role": "assistant",
        "model": reply.model,
        "content": _blocks(reply),
        "stop_reason": "tool_use" if reply.calls else "end_turn",
        "stop_sequence": None,
        "usage": {**_usage(reply, done=True), "cache_creation": created, "service_tier": "standard"},
    }


# in events ----------------------------------------------------------------------------------------------------------


def _deltas(block: Json, arguments: str) -> Iterator[Json]:
    if block["type"] == "text":
        yield from ({"type": "text_delta", "text": piece} for piece in pieces(block["text"]))
    elif block["type"] == "thinking":
        yield from ({"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"]))
        yield {"type": "signature_delta", "signature": block["signature"]}
    else:
        yield from ({"type": "input_json_delta", "partial_json": piece} for piece in ["", *pieces(arguments)])


_EMPTY: dict[str, Json] = {
    "text": {"text": ""},
    "thinking": {"thinking": "", "signature": ""},
    "tool_use": {"input": {}},
}


def _events(reply: Reply) -> Iterator[Json]:
    message = _message(reply)
    begun = {**_usage(reply, done=False), "service_tier": "standard"}
    yield {"type": "message_start", "message": {**message, "content": [], "stop_reason": None, "usage": begun}}
    blocks = message["content"]
    texts_of_calls = [""] * (len(blocks) - len(reply.calls)) + [call.arguments for call in reply.calls]
    for index, (block, arguments) in enumerate(zip(blocks, texts_of_calls, strict=True)):
        yield {"type": "content_block_start", "index": index, "content_block": block | _EMPTY[block["type"]]}
        if index == 0:
            yield {"type": "ping"}
        for delta in _deltas(block, arguments):
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    ended = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield {"type": "message_delta", "delta": ended, "usage": _usage(reply, done=True)}
    yield {"type": "message_stop"}


def _chunks(reply: Reply) -> Iterator[bytes]:
    return map(event, _events(reply))


MESSAGES = Api("anthropic", re.compile("/v1/messages"), _said, asks_to_stream, _message, _chunks, _refusal)
