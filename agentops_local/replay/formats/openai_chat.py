"""OpenAI's chat completions, and those of all who offer the same: Azure, Groq, Mistral, OpenRouter, vLLM, ..."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from agentops_local.replay.answer import Answer, Failure, Said, pieces
from agentops_local.replay.formats.asked import SETTINGS, Asked, Reply, chosen, events, tool, whole

_CREATED = 1_700_000_000  # when the provider made it is not recorded


def read(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a request asks; None if it is none."""
    if not isinstance(body.get("messages"), list):
        return None
    tools = [entry.get("function") or entry for entry in body.get("tools") or () if isinstance(entry, Mapping)]
    return {
        "prompt": body["messages"],
        "model": body.get("model"),
        "tools": [tool(one.get("name"), one.get("description"), one.get("parameters")) for one in tools],
        "settings": chosen(body, {**SETTINGS, "max_completion_tokens": "max_tokens", "random_seed": "seed"}),
        "is_stream": body.get("stream") is True,
    }


def reply(answer: Answer, asked: Asked) -> Reply:
    """The answer in this format."""
    head = {"id": answer.id or f"chatcmpl-{answer.event}", "created": _CREATED, "model": answer.model or asked.model}
    said = answer.said or (Said(),)
    if asked.is_stream:
        return events(_chunks(head, said, answer, asked), named=False, end=b"data: [DONE]\n\n")
    choices = [
        {"index": place, "message": _message(one), "finish_reason": _reason(one), "logprobs": None}
        for place, one in enumerate(said)
    ]
    return whole({**head, "object": "chat.completion", "choices": choices, "usage": _usage(answer)})


def failed(failure: Failure) -> dict[str, Any]:
    """The body of a refusal."""
    told = {"message": failure.message, "type": None, "param": None, "code": None}
    return {"error": told, "message": failure.message}


def _message(said: Said) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": said.text, "refusal": said.refusal}
    if said.thoughts is not None:
        message["reasoning_content"] = said.thoughts
    if said.calls:
        message["tool_calls"] = [_call(call) for call in said.calls]
    return message


def _call(call: Any) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _reason(said: Said) -> str:
    if said.calls:
        return "tool_calls"
    if said.is_cut_short:
        return "length"
    return "content_filter" if said.reason == "content_filter" else "stop"


def _chunks(head: dict[str, Any], said: tuple[Said, ...], answer: Answer, asked: Asked) -> Iterator[dict[str, Any]]:
    head = {**head, "object": "chat.completion.chunk"}
    who = (asked.host + asked.headers.get("user-agent", "")).lower()
    usage = _usage(answer)
    for place, one in enumerate(said):
        for delta in _deltas(one):
            yield {**head, "choices": [{"index": place, "delta": delta, "finish_reason": None}]}
        last = {**head, "choices": [{"index": place, "delta": {}, "finish_reason": _reason(one)}]}
        if usage is not None and ("mistral" in who or "groq" in who):
            last["usage"] = usage
        if usage is not None and "groq" in who:
            last["x_groq"] = {"id": f"req_{answer.event}", "usage": usage}
        if answer.failure is None:
            yield last
    options = asked.body.get("stream_options")
    if usage is not None and isinstance(options, Mapping) and options.get("include_usage"):
        yield {**head, "choices": [], "usage": usage}


def _deltas(said: Said) -> Iterator[dict[str, Any]]:
    yield {"role": "assistant", "content": None if said.text is None else ""}
    if said.thoughts is not None:
        yield from ({"reasoning_content": piece} for piece in pieces(said.thoughts))
    yield from ({"content": piece} for piece in pieces(said.text or ""))
    if said.refusal is not None:
        yield {"refusal": said.refusal}
    for place, call in enumerate(said.calls):  # in one piece: Mistral's library takes no other
        yield {"tool_calls": [{"index": place, **_call(call)}]}


def _usage(answer: Answer) -> dict[str, Any] | None:
    if not answer.is_counted:
        return None
    taken, given = answer.count("prompt_tokens"), answer.count("completion_tokens")
    return {
        "prompt_tokens": taken, "completion_tokens": given, "total_tokens": taken + given,
        "prompt_tokens_details": {"cached_tokens": answer.count("cache_read_tokens")},
        "completion_tokens_details": {"reasoning_tokens": answer.count("reasoning_tokens")},
    }  # fmt: skip
