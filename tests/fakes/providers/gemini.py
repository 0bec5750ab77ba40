"""Gemini's generation of content."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.fakes.providers.replies import Api, Json, Reply, data, needed, pieces, texts
from tests.fakes.providers.script import Received, Refused

_ERRORS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def _refusal(status: int, message: str) -> Json:
    return {"error": {"code": status, "message": message, "status": _ERRORS.get(status, "UNKNOWN")}}


def _said(request: Received) -> list[str]:
    needed(request, "contents")
    if _streams(request) and "alt=sse" not in request.query:
        raise Refused(400, "alt: this server streams events only")
    return [*texts(request.body.get("systemInstruction")), *texts(request.body["contents"])] or [""]


def _streams(request: Received) -> bool:
    return request.path.endswith(":streamGenerateContent")


def _usage(reply: Reply, *, done: bool = True) -> Json:
    usage = reply.usage
    told: Json = {
        "promptTokenCount": usage.input,
        "totalTokenCount": reply.total if done else usage.input,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": usage.input}],
    }
    if done:
        told["candidatesTokenCount"] = usage.output - usage.reasoning  # the thoughts stand beside it
    # What there is none of is not told.
    if usage.cache_read:
        told["cachedContentTokenCount"] = usage.cache_read
        told["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": usage.cache_read}]
    if usage.reasoning and done:
        told["thoughtsTokenCount"] = usage.reasoning
    return told


def _response(reply: Reply, parts: list[Json], usage: Json, *, done: bool) -> Json:
    candidate: Json = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if done:
        candidate["finishReason"] = "STOP"
    return {
        "candidates": [candidate],
        "usageMetadata": usage,
        "modelVersion": reply.model,
        "responseId": reply.key[:22],
    }


def _calls(reply: Reply) -> list[Json]:
    return [{"functionCall": {"name": call.name, "args": call.parsed}} for call in reply.calls]


def _whole(reply: Reply) -> Json:
    parts: list[Json] = [] if reply.reasoning is None else [{"text": reply.reasoning, "thought": True}]
    parts += [] if reply.text is None else [{"text": reply.text}]
    return _response(reply, [*parts, *_calls(reply)], _usage(reply), done=True)


def _chunks(reply: Reply) -> Iterator[bytes]:
    parts: list[Json] = [{"text": piece, "thought": True} for piece in pieces(reply.reasoning)]
    parts += [{"text": piece} for piece in pieces(reply.text)]
    parts += _calls(reply)
    for part in parts:
        yield data(_response(reply, [part], _usage(reply, done=False), done=False))
    yield data(_response(reply, [{"text": ""}], _usage(reply), done=True))


GENERATE = Api(
    "gemini",
    re.compile(r"/v1(beta|alpha)?/models/(?P<model>[^/:]+):(generateContent|streamGenerateContent)"),
    _said,
    _streams,
    _whole,
    _chunks,
    _refusal,
)
