"""Gemini's API, Cohere's second one, Ollama's."""

from __future__ import annotations

import json
from typing import Any

from tests.fakes.llm.replies import LINES, Stream, Whole, data, halves, named
from tests.fakes.llm.script import Answer, Request, Usage, usage_of


def gemini(request: Request, answer: Answer, number: int) -> Whole | Stream:
    """POST /v1beta/models/MODEL:generateContent, and :streamGenerateContent"""
    usage = usage_of(answer, request)
    model = request.path.rpartition("/")[2].partition(":")[0]
    counts = {
        "promptTokenCount": usage.input, "candidatesTokenCount": usage.output - usage.reasoning,
        "thoughtsTokenCount": usage.reasoning, "cachedContentTokenCount": usage.cache_read,
        "totalTokenCount": usage.input + usage.output,
    }  # fmt: skip
    head: dict[str, Any] = {"modelVersion": model, "responseId": f"resp-{number}"}
    calls: list[dict[str, Any]] = [
        {"functionCall": {"name": call[1], "args": json.loads(call[2])}} for call in answer.calls
    ]

    def part(parts: list[dict[str, Any]], finish: str | None) -> dict[str, Any]:
        candidate: dict[str, Any] = {"index": 0, "content": {"role": "model", "parts": parts}}
        if finish is not None:
            candidate["finishReason"] = finish
        return {**head, "candidates": [candidate]}

    texts = [{"text": answer.text}] if answer.text is not None else []
    if "streamGenerateContent" not in request.path:
        return Whole({**part([*texts, *calls], "STOP"), "usageMetadata": counts})
    chunks = [part([{"text": piece}], None) for piece in halves(answer.text or "") if piece]
    chunks.append({**part(calls or [{"text": ""}], "STOP"), "usageMetadata": counts})
    return Stream(data(*chunks))


def cohere(request: Request, answer: Answer, number: int) -> Whole | Stream:
    """POST /v2/chat"""
    usage = usage_of(answer, request)
    told = _cohere_usage(usage)
    identity = f"00000000-0000-0000-0000-{number:012}"
    content = [{"type": "text", "text": answer.text}] if answer.text is not None else []
    calls = [{"id": call[0], "type": "function", "function": {"name": call[1], "arguments": call[2]}}
             for call in answer.calls]  # fmt: skip
    finish = "TOOL_CALL" if calls else "COMPLETE"
    if not request.body.get("stream"):
        message: dict[str, Any] = {"role": "assistant", "content": content} | ({"tool_calls": calls} if calls else {})
        return Whole({"id": identity, "finish_reason": finish, "message": message, "usage": told})
    start = {"message": {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}}
    events: list[dict[str, Any]] = [{"type": "message-start", "id": identity, "delta": start}]
    events.append({"type": "content-start", "index": 0,
                   "delta": {"message": {"content": {"type": "text", "text": ""}}}})  # fmt: skip
    events += [{"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": piece}}}}
               for piece in halves(answer.text or "")]  # fmt: skip
    events.append({"type": "content-end", "index": 0})
    events.append({"type": "message-end", "id": identity, "delta": {"finish_reason": finish, "usage": told}})
    return Stream(named(events))


def ollama(request: Request, answer: Answer, number: int) -> Whole | Stream:
    """POST /api/chat"""
    usage = usage_of(answer, request)
    head = {"model": request.body["model"], "created_at": "2026-01-01T00:00:00Z"}
    calls = [{"function": {"name": call[1], "arguments": json.loads(call[2])}} for call in answer.calls]
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or ""} | (
        {"tool_calls": calls} if calls else {}
    )
    end = {
        "done": True, "done_reason": "stop", "total_duration": 5, "load_duration": 1, "prompt_eval_duration": 1,
        "eval_duration": 1, "prompt_eval_count": usage.input, "eval_count": usage.output,
    }  # fmt: skip
    if not request.body.get("stream"):
        return Whole({**head, "message": message, **end})
    pieces = [{**head, "message": {"role": "assistant", "content": piece}, "done": False}
              for piece in halves(answer.text or "")]  # fmt: skip
    pieces.append({**head, "message": {**message, "content": ""}, **end})
    return Stream([json.dumps(piece).encode() + b"\n" for piece in pieces], LINES)


def error(status: int) -> dict[str, Any]:
    """The body of a refusal."""
    return {"message": f"refused with {status}", "error": {"code": status, "message": f"refused with {status}"}}


def _cohere_usage(usage: Usage) -> dict[str, Any]:
    return {"billed_units": {"input_tokens": usage.input, "output_tokens": usage.output},
            "tokens": {"input_tokens": usage.input, "output_tokens": usage.output}}  # fmt: skip
