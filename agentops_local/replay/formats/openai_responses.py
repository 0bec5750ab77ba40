"""OpenAI's Responses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from agentops_local.replay.answer import Answer, Failure, pieces
from agentops_local.replay.formats.asked import SETTINGS, Asked, Reply, chosen, events, tool, whole
from agentops_local.replay.formats.openai_chat import failed as _failed

_CREATED = 1_700_000_000


def read(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a request asks; None if it is none."""
    given, apart = body.get("input"), body.get("instructions")
    if not isinstance(given, (str, list)) or not isinstance(body.get("model"), str):
        return None
    said = [given] if isinstance(given, str) else given
    tools = [entry for entry in body.get("tools") or () if isinstance(entry, Mapping)]
    return {
        "prompt": [{"role": "system", "content": apart}, *said] if apart else said,
        "model": body["model"],
        "tools": [tool(one.get("name") or one.get("type"), one.get("description"), one.get("parameters"))
                  for one in tools],
        "settings": chosen(body, {**SETTINGS, "max_output_tokens": "max_tokens"}),
        "is_stream": body.get("stream") is True,
    }  # fmt: skip


def reply(answer: Answer, asked: Asked) -> Reply:
    """The answer in this format."""
    said = answer.first
    output: list[dict[str, Any]] = []
    if said.thoughts is not None:
        summary = [{"type": "summary_text", "text": said.thoughts}]
        output.append({"type": "reasoning", "id": f"rs_{answer.event}", "summary": summary})
    parts: list[dict[str, Any]] = []
    if said.text is not None:
        parts.append({"type": "output_text", "text": said.text, "annotations": [], "logprobs": []})
    if said.refusal is not None:
        parts.append({"type": "refusal", "refusal": said.refusal})
    if parts:
        output.append({"type": "message", "id": f"msg_{answer.event}", "role": "assistant", "status": "completed",
                       "content": parts})  # fmt: skip
    output += [
        {"type": "function_call", "id": f"fc_{place}_{answer.event}", "call_id": call.id, "name": call.name,
         "arguments": call.arguments, "status": "completed"}
        for place, call in enumerate(said.calls)
    ]  # fmt: skip
    response = {
        "id": answer.id or f"resp_{answer.event}", "object": "response", "created_at": _CREATED,
        "status": "incomplete" if said.is_cut_short else "completed", "error": None, "output": output,
        "incomplete_details": {"reason": "max_output_tokens"} if said.is_cut_short else None,
        "model": answer.model or asked.model, "instructions": asked.body.get("instructions"), "metadata": {},
        "parallel_tool_calls": True, "temperature": asked.body.get("temperature"),
        "tool_choice": asked.body.get("tool_choice") or "auto", "tools": asked.body.get("tools") or [],
        "top_p": asked.body.get("top_p"), "usage": _usage(answer),
    }  # fmt: skip
    if not asked.is_stream:
        return whole(response)
    told = [{**event, "sequence_number": place} for place, event in enumerate(_events(response, answer))]
    return events(told, named=True)


def failed(failure: Failure) -> dict[str, Any]:
    """The body of a refusal."""
    return _failed(failure)


def _events(response: dict[str, Any], answer: Answer) -> Iterator[dict[str, Any]]:
    begun = {**response, "status": "in_progress", "output": [], "usage": None}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for place, item in enumerate(response["output"]):
        where = {"output_index": place, "item_id": item["id"]}
        if item["type"] == "message":
            empty = {**item, "status": "in_progress", "content": []}
            yield {"type": "response.output_item.added", "output_index": place, "item": empty}
            for number, part in enumerate(item["content"]):
                yield from _part({**where, "content_index": number}, part)
        elif item["type"] == "function_call":
            empty = {**item, "status": "in_progress", "arguments": ""}
            yield {"type": "response.output_item.added", "output_index": place, "item": empty}
            yield {"type": "response.function_call_arguments.delta", **where, "delta": item["arguments"]}
            yield {"type": "response.function_call_arguments.done", **where, "name": item["name"],
                   "arguments": item["arguments"]}  # fmt: skip
        else:
            yield {"type": "response.output_item.added", "output_index": place, "item": item}
        if answer.failure is not None:
            return
        yield {"type": "response.output_item.done", "output_index": place, "item": item}
    if answer.failure is None:
        yield {"type": f"response.{response['status']}", "response": response}


def _part(where: dict[str, Any], part: dict[str, Any]) -> Iterator[dict[str, Any]]:
    name, kind = ("text", "output_text") if "text" in part else ("refusal", "refusal")
    more: dict[str, Any] = {"logprobs": []} if name == "text" else {}
    yield {"type": "response.content_part.added", **where, "part": {**part, name: ""}}
    for piece in pieces(part[name]):
        yield {"type": f"response.{kind}.delta", **where, "delta": piece, **more}
    yield {"type": f"response.{kind}.done", **where, name: part[name], **more}
    yield {"type": "response.content_part.done", **where, "part": part}


def _usage(answer: Answer) -> dict[str, Any] | None:
    if not answer.is_counted:
        return None
    taken, given = answer.count("prompt_tokens"), answer.count("completion_tokens")
    return {
        "input_tokens": taken, "output_tokens": given, "total_tokens": taken + given,
        "input_tokens_details": {"cached_tokens": answer.count("cache_read_tokens")},
        "output_tokens_details": {"reasoning_tokens": answer.count("reasoning_tokens")},
    }  # fmt: skip
