"""OpenAI's chat completions and embeddings."""

from __future__ import annotations

import base64
import hashlib
import re
import struct
from collections.abc import Iterator
from typing import Any

from tests.fakes.providers.replies import (
    Api,
    Call,
    Json,
    Reply,
    asks_to_stream,
    data,
    in_messages,
    needed,
    never_streams,
    pieces,
)
from tests.fakes.providers.script import Received, Refused, Usage

_DIMENSIONS = 8
_ERRORS = {401: "invalid_request_error", 404: "invalid_request_error", 429: "rate_limit_exceeded"}
DONE = b"data: [DONE]\n\n"


def refusal(status: int, message: str) -> Json:
    """The body of an error."""
    kind = _ERRORS.get(status) or ("invalid_request_error" if status < 500 else "server_error")
    code = "rate_limit_exceeded" if status == 429 else None
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


# chat ---------------------------------------------------------------------------------------------------------------


def asked(request: Received) -> list[str]:
    """What was said; one choice only is made here."""
    if request.body.get("n") not in (None, 1):
        raise Refused(400, "n: this server makes one choice")
    return in_messages(request)


def usage_told(usage: Usage) -> Json:
    """The usage of a chat."""
    told = {"cached_tokens": usage.cache_read, "audio_tokens": 0}
    if usage.cache_write:  # only models that charge for it tell of it
        told["cache_write_tokens"] = usage.cache_write
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": told,
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def tool_call(call: Call) -> Json:
    """The whole call of a tool."""
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": f"call_{call.key[:24]}", "type": "function", "function": function}


def finish(reply: Reply) -> str:
    """Why the answer ends."""
    return "tool_calls" if reply.calls else "stop"


def head(reply: Reply, kind: str) -> Json:
    """What every body of a chat begins with."""
    return {"id": f"chatcmpl-{reply.key[:29]}", "object": kind, "created": reply.created, "model": reply.model}


def choice(message: Json, reason: str | None, *, streamed: bool) -> list[Json]:
    """The one choice there is."""
    return [{"index": 0, "delta" if streamed else "message": message, "logprobs": None, "finish_reason": reason}]


def _whole(reply: Reply) -> Json:
    message: Json = {"role": "assistant", "content": reply.text, "refusal": None, "annotations": []}
    if reply.calls:
        message["tool_calls"] = [tool_call(call) for call in reply.calls]
    return {
        **head(reply, "chat.completion"),
        "choices": choice(message, finish(reply), streamed=False),
        "usage": usage_told(reply.usage),
        "service_tier": "default",
        "system_fingerprint": "fp_loopback",
    }


def _deltas(reply: Reply) -> Iterator[Json]:
    yield {"role": "assistant", "content": None if reply.text is None else "", "refusal": None}
    for piece in pieces(reply.text):
        yield {"content": piece}
    for index, call in enumerate(reply.calls):
        begun = tool_call(call._replace(arguments=""))
        yield {"tool_calls": [{"index": index, **begun}]}
        for piece in pieces(call.arguments):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _chunks(reply: Reply) -> Iterator[bytes]:
    first = head(reply, "chat.completion.chunk") | {"service_tier": "default", "system_fingerprint": "fp_loopback"}
    # Who asks for the usage gets a field for it in every chunk, and the figures in one more, which has no choice.
    counted = bool((reply.request.body.get("stream_options") or {}).get("include_usage"))
    none: Json = {"usage": None} if counted else {}
    for delta in _deltas(reply):
        yield data({**first, "choices": choice(delta, None, streamed=True), **none})
    yield data({**first, "choices": choice({}, finish(reply), streamed=True), **none})
    if counted:
        yield data({**first, "choices": [], "usage": usage_told(reply.usage)})
    yield DONE


# embeddings ---------------------------------------------------------------------------------------------------------


def _inputs(request: Received) -> list[str]:
    needed(request, "model", "input")
    given = request.body["input"]
    if isinstance(given, list) and all(isinstance(token, int) for token in given):
        given = [given]  # one input, as tokens
    return [one if isinstance(one, str) else str(one) for one in ([given] if isinstance(given, str) else given)]


def vector(text: str, dimensions: int) -> list[float]:
    """Numbers that depend on the text alone; exact as four bytes each, so both encodings tell the same."""
    digest = hashlib.shake_256(text.encode("utf-8", "surrogatepass")).digest(dimensions)
    return [(byte - 128) / 128 for byte in digest]


def _embeddings(reply: Reply) -> Json:
    body = reply.request.body
    dimensions = int(body.get("dimensions") or _DIMENSIONS)

    def told(text: str) -> Any:
        numbers = vector(text, dimensions)
        if body.get("encoding_format") != "base64":
            return numbers
        return base64.b64encode(struct.pack(f"<{dimensions}f", *numbers)).decode()

    inputs = _inputs(reply.request)
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": n, "embedding": told(text)} for n, text in enumerate(inputs)],
        "model": reply.model,
        "usage": {"prompt_tokens": reply.usage.input, "total_tokens": reply.usage.input},
    }


def _none(_: Reply) -> Iterator[bytes]:
    return iter(())


CHAT = Api("openai", re.compile("/v1/chat/completions"), asked, asks_to_stream, _whole, _chunks, refusal)
EMBEDDINGS = Api("openai", re.compile("/v1/embeddings"), _inputs, never_streams, _embeddings, _none, refusal)
