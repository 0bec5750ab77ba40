"""OpenAI's API: chat completions, responses, embeddings; Groq's and Mistral's chat have the same format."""

from __future__ import annotations

from typing import Any

from tests.fakes.llm.replies import Stream, Whole, data, halves, named
from tests.fakes.llm.script import DATED, Answer, Request, Usage, usage_of


def error(status: int) -> dict[str, Any]:
    """The body of a refusal."""
    return {"error": {"message": f"refused with {status}", "type": "server_error", "param": None, "code": None}}


def chat(request: Request, answer: Answer, number: int) -> Whole | Stream:
    """POST /chat/completions"""
    body = request.body
    head = {"id": f"chatcmpl-{number}", "created": 1_700_000_000, "model": DATED.get(body["model"], body["model"])}
    usage, finish = _usage(usage_of(answer, request)), "tool_calls" if answer.calls else "stop"
    if not body.get("stream"):
        message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": None}
        if answer.calls:
            message["tool_calls"] = [_call(call) for call in answer.calls]
        choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
        return Whole({**head, "object": "chat.completion", "choices": [choice], "usage": usage})
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": None if answer.text is None else ""}]
    deltas += [{"content": part} for part in halves(answer.text or "") if part]
    for index, call in enumerate(answer.calls):
        made = _call(call)
        first, second = halves(call[2])
        deltas.append({"tool_calls": [{"index": index, **made, "function": {"name": call[1], "arguments": first}}]})
        deltas.append({"tool_calls": [{"index": index, "function": {"arguments": second}}]})
    head["object"] = "chat.completion.chunk"
    chunks = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    asked = (body.get("stream_options") or {}).get("include_usage")
    # Groq and Mistral tell it unasked.
    if asked or any(name in str(request.headers).lower() for name in ("groq", "mistral")):
        chunks.append({**head, "choices": [], "usage": usage, "x_groq": {"id": f"req_{number}", "usage": usage}})
    return Stream([*data(*chunks), b"data: [DONE]\n\n"])


def responses(request: Request, answer: Answer, number: int) -> Whole | Stream:
    """POST /responses"""
    body = request.body
    usage = usage_of(answer, request)
    output: list[dict[str, Any]] = []
    if answer.text is not None:
        text = {"type": "output_text", "text": answer.text, "annotations": []}
        output.append({"type": "message", "id": f"msg_{number}", "role": "assistant", "status": "completed",
                       "content": [text]})  # fmt: skip
    output += [
        {"type": "function_call", "id": f"fc_{number}_{call[0]}", "call_id": call[0], "name": call[1],
         "arguments": call[2], "status": "completed"}
        for call in answer.calls
    ]  # fmt: skip
    whole: dict[str, Any] = {
        "id": f"resp_{number}", "object": "response", "created_at": 1_700_000_000, "status": "completed",
        "model": DATED.get(body["model"], body["model"]), "output": output, "parallel_tool_calls": True,
        "tool_choice": "auto", "tools": [],
        "usage": {
            "input_tokens": usage.input, "output_tokens": usage.output, "total_tokens": usage.input + usage.output,
            "input_tokens_details": {"cached_tokens": usage.cache_read},
            "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        },
    }  # fmt: skip
    if not body.get("stream"):
        return Whole(whole)
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    events: list[dict[str, Any]] = [{"type": "response.created", "response": begun}]
    for index, item in enumerate(output):
        events.append({"type": "response.output_item.added", "output_index": index, "item": item})
        if item["type"] == "message":
            place = {"item_id": item["id"], "output_index": index, "content_index": 0}
            events += [{"type": "response.output_text.delta", **place, "delta": part, "logprobs": []}
                       for part in halves(answer.text or "")]  # fmt: skip
        events.append({"type": "response.output_item.done", "output_index": index, "item": item})
    events.append({"type": "response.completed", "response": whole})
    return Stream(named({**event, "sequence_number": index} for index, event in enumerate(events)))


def embeddings(request: Request, answer: Answer, number: int) -> Whole:
    """POST /embeddings"""
    given = request.body["input"]
    texts = given if isinstance(given, list) else [given]
    usage = usage_of(answer, request)
    vectors = [{"object": "embedding", "index": index, "embedding": [0.5, 0.25]} for index in range(len(texts))]
    return Whole({"object": "list", "model": request.body["model"], "data": vectors,
                  "usage": {"prompt_tokens": usage.input, "total_tokens": usage.input}})  # fmt: skip


def _call(call: tuple[str, str, str]) -> dict[str, Any]:
    return {"id": call[0], "type": "function", "function": {"name": call[1], "arguments": call[2]}}


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input, "completion_tokens": usage.output, "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }  # fmt: skip
