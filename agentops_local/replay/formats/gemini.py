"""Gemini's generateContent and streamGenerateContent, also Vertex AI's."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from agentops_local.replay.answer import Answer, Failure, Said, pieces
from agentops_local.replay.formats.asked import SETTINGS, Asked, Reply, chosen, events, tool, whole

_STATES = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}  # fmt: skip
_NAMES = {**SETTINGS, "topP": "top_p", "maxOutputTokens": "max_tokens", "stopSequences": "stop"}


def read(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a request asks; None if it is none."""
    contents, apart = body.get("contents"), body.get("systemInstruction") or body.get("system_instruction")
    if contents is None:
        return None
    said = contents if isinstance(contents, list) else [contents]
    if isinstance(apart, Mapping):
        said = [{"role": "system", "parts": apart.get("parts")}, *said]
    tools = [
        tool(one.get("name"), one.get("description"), one.get("parameters") or one.get("parametersJsonSchema"))
        for entry in body.get("tools") or ()
        for one in entry.get("functionDeclarations") or ()
    ]
    return {
        "prompt": said,
        "model": None,  # it stands in the path
        "tools": tools,
        "settings": chosen(body.get("generationConfig") or {}, _NAMES),
        "is_stream": False,  # the same
    }


def reply(answer: Answer, asked: Asked) -> Reply:
    """The answer in this format."""
    head = {"modelVersion": answer.model or asked.model, "responseId": answer.id or answer.event}
    said = answer.first
    if not asked.is_stream:
        return whole({**head, **_candidate(_parts(said), _reason(said)), **_usage(answer)})
    chunks = list(_chunks(head, answer, said))
    if "alt=sse" in asked.path:
        return events(chunks, named=False)
    return whole(chunks)  # without it a stream is one long array


def failed(failure: Failure) -> dict[str, Any]:
    """The body of a refusal."""
    state = _STATES.get(failure.status or 0, "UNKNOWN")
    return {"error": {"code": failure.status, "message": failure.message, "status": state}}


def _chunks(head: dict[str, Any], answer: Answer, said: Said) -> Iterator[dict[str, Any]]:
    if said.thoughts is not None:
        yield {**head, **_candidate([{"text": said.thoughts, "thought": True}])}
    for piece in pieces(said.text or said.refusal or ""):
        yield {**head, **_candidate([{"text": piece}])}
    if answer.failure is None:
        calls = _calls(said)
        yield {**head, **_candidate(calls or [{"text": ""}], _reason(said)), **_usage(answer)}


def _candidate(parts: list[dict[str, Any]], reason: str | None = None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"index": 0, "content": {"role": "model", "parts": parts}}
    if reason is not None:
        candidate["finishReason"] = reason
    return {"candidates": [candidate]}


def _parts(said: Said) -> list[dict[str, Any]]:
    thoughts = [] if said.thoughts is None else [{"text": said.thoughts, "thought": True}]
    text = said.text if said.text is not None else said.refusal
    return [*thoughts, *([] if text is None else [{"text": text}]), *_calls(said)]


def _calls(said: Said) -> list[dict[str, Any]]:
    return [{"functionCall": {"name": call.name, "args": json.loads(json.dumps(call.value))}} for call in said.calls]


def _reason(said: Said) -> str:
    if said.is_cut_short:
        return "MAX_TOKENS"
    told = str(said.reason).upper()
    return told if told in ("SAFETY", "RECITATION", "PROHIBITED_CONTENT", "MALFORMED_FUNCTION_CALL") else "STOP"


def _usage(answer: Answer) -> dict[str, Any]:
    if not answer.is_counted:
        return {}
    taken, given = answer.count("prompt_tokens"), answer.count("completion_tokens")
    counts = {
        "promptTokenCount": taken, "candidatesTokenCount": given - answer.count("reasoning_tokens"),
        "thoughtsTokenCount": answer.tokens.get("reasoning_tokens"),
        "cachedContentTokenCount": answer.tokens.get("cache_read_tokens"), "totalTokenCount": taken + given,
    }  # fmt: skip
    return {"usageMetadata": {name: value for name, value in counts.items() if value is not None}}
