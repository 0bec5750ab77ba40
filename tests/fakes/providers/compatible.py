"""Groq's, Mistral's and AI21's chat: OpenAI's, but for what each tells in its own way."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.fakes.providers import openai
from tests.fakes.providers.openai import DONE, asked, choice, finish, head, usage_told
from tests.fakes.providers.replies import Api, Json, Reply, asks_to_stream, data, pieces

_CHUNK = "chat.completion.chunk"


def _message(content: object, calls: list[Json], **more: object) -> Json:
    message: Json = {"role": "assistant", "content": content, **more}
    return message | ({"tool_calls": calls} if calls else {})


def _calls(reply: Reply) -> list[Json]:
    return [openai.tool_call(call) for call in reply.calls]


def _indexed(calls: list[Json]) -> list[Json]:
    return [{**call, "index": index} for index, call in enumerate(calls)]


# Groq: the usage comes unasked, in a field of its own; calls of tools come whole -------------------------------------


def _groq_usage(reply: Reply) -> Json:
    usage = reply.usage
    told: Json = {
        "queue_time": 0.01,
        "prompt_tokens": usage.input,
        "prompt_time": 0.01,
        "completion_tokens": usage.output,
        "completion_time": 0.02,
        "total_tokens": reply.total,
        "total_time": 0.03,
    }
    if usage.cache_read:
        told["prompt_tokens_details"] = {"cached_tokens": usage.cache_read}
    if usage.reasoning:
        told["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning}
    return told


def _groq(reply: Reply) -> Json:
    reasoning = {} if reply.reasoning is None else {"reasoning": reply.reasoning}
    message = _message(reply.text, _calls(reply), **reasoning)
    return {
        **head(reply, "chat.completion"),
        "choices": choice(message, finish(reply), streamed=False),
        "usage": _groq_usage(reply),
        "system_fingerprint": "fp_loopback",
        "x_groq": {"id": f"req_{reply.key[:26]}"},
    }


def _groq_chunks(reply: Reply) -> Iterator[bytes]:
    first, mark = head(reply, _CHUNK) | {"system_fingerprint": "fp_loopback"}, {"id": f"req_{reply.key[:26]}"}

    def chunk(delta: Json, reason: str | None = None) -> Json:
        return {**first, "choices": choice(delta, reason, streamed=True)}

    yield data({**chunk({"role": "assistant", "content": None if reply.text is None else ""}), "x_groq": mark})
    for piece in pieces(reply.reasoning):
        yield data(chunk({"reasoning": piece}))
    for piece in pieces(reply.text):
        yield data(chunk({"content": piece}))
    if reply.calls:
        yield data(chunk({"tool_calls": _indexed(_calls(reply))}))
    yield data({**chunk({}, finish(reply)), "x_groq": {**mark, "usage": _groq_usage(reply)}})
    if (reply.request.body.get("stream_options") or {}).get("include_usage"):
        yield data({**first, "choices": [], "usage": _groq_usage(reply)})
    yield DONE


# Mistral: thoughts are parts of the content; the usage comes unasked, with the end of the choice ----------------------


def _mistral_refusal(status: int, message: str) -> Json:
    kind = {401: "invalid_request_unauthorized", 429: "rate_limited"}.get(status, "invalid_request_error")
    kind = kind if status < 500 else "internal_server_error"
    return {"object": "error", "message": message, "type": kind, "param": None, "code": str(status * 10)}


def _mistral_head(reply: Reply, kind: str) -> Json:
    return {**head(reply, kind), "id": reply.key, "model": reply.request.body["model"]}  # an alias stays one


def _mistral_calls(reply: Reply) -> list[Json]:
    return _indexed([{**call, "id": call["id"][-9:]} for call in _calls(reply)])


def _mistral_usage(reply: Reply) -> Json:
    told = usage_told(reply.usage)
    return {
        **{name: told[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")},
        "prompt_tokens_details": {"cached_tokens": reply.usage.cache_read},
    }


def _thinking(text: str) -> list[Json]:
    return [{"type": "thinking", "thinking": [{"type": "text", "text": text}]}]


def _mistral(reply: Reply) -> Json:
    content: object = reply.text or ""
    if reply.reasoning is not None:
        content = [*_thinking(reply.reasoning), {"type": "text", "text": reply.text or ""}]
    message = _message(content, _mistral_calls(reply))
    return {
        **_mistral_head(reply, "chat.completion"),
        "choices": choice(message, finish(reply), streamed=False),
        "usage": _mistral_usage(reply),
    }


def _mistral_chunks(reply: Reply) -> Iterator[bytes]:
    first = _mistral_head(reply, _CHUNK)
    deltas: list[Json] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": _thinking(piece)} for piece in pieces(reply.reasoning)]
    deltas += [{"content": piece} for piece in pieces(reply.text)]
    for delta in deltas:
        yield data({**first, "choices": choice(delta, None, streamed=True)})
    calls = {"tool_calls": _mistral_calls(reply)} if reply.calls else {}
    ended = choice({"content": "", **calls}, finish(reply), streamed=True)
    yield data({**first, "choices": ended, "usage": _mistral_usage(reply)})
    yield DONE


# AI21: the usage comes unasked, with the end of the choice ------------------------------------------------------------


def _ai21_refusal(_: int, message: str) -> Json:
    return {"detail": message}


def _ai21_usage(reply: Reply) -> Json:
    usage = reply.usage
    return {"prompt_tokens": usage.input, "completion_tokens": usage.output, "total_tokens": reply.total}


def _ai21(reply: Reply) -> Json:
    message = _message(reply.text, _calls(reply))
    return {
        **head(reply, "chat.completion"),
        "choices": choice(message, finish(reply), streamed=False),
        "usage": _ai21_usage(reply),
    }


def _ai21_chunks(reply: Reply) -> Iterator[bytes]:
    first = head(reply, _CHUNK)
    yield data({**first, "choices": choice({"role": "assistant"}, None, streamed=True)})
    for piece in pieces(reply.text):
        yield data({**first, "choices": choice({"content": piece}, None, streamed=True)})
    calls = {"tool_calls": _indexed(_calls(reply))} if reply.calls else {}
    ended = choice({"content": "", **calls}, finish(reply), streamed=True)
    yield data({**first, "choices": ended, "usage": _ai21_usage(reply)})
    yield DONE


GROQ = Api(
    "groq",
    re.compile("/openai/v1/chat/completions"),
    asked,
    asks_to_stream,
    _groq,
    _groq_chunks,
    openai.refusal,
)
MISTRAL = Api(
    "mistral",
    re.compile("/v1/chat/completions"),
    asked,
    asks_to_stream,
    _mistral,
    _mistral_chunks,
    _mistral_refusal,
)
AI21 = Api(
    "ai21",
    re.compile("/studio/v1/chat/completions"),
    asked,
    asks_to_stream,
    _ai21,
    _ai21_chunks,
    _ai21_refusal,
)
