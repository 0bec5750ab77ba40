"""Ollama's own chat."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from agentops_local.replay.answer import Answer, Failure, Said, pieces
from agentops_local.replay.formats.asked import SETTINGS, Asked, Reply, chosen, lines, whole
from agentops_local.replay.formats.openai_chat import read as _read

_CREATED = "2023-11-14T22:13:20Z"  # when it was made is not recorded


def read(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a request asks; None if it is none."""
    found = _read(body)
    if found is not None:
        found["settings"] = chosen(body.get("options") or {}, {**SETTINGS, "num_predict": "max_tokens"})
        found["is_stream"] = body.get("stream") is not False  # a stream, unless it says otherwise
    return found


def reply(answer: Answer, asked: Asked) -> Reply:
    """The answer in this format."""
    said = answer.first
    head = {"model": answer.model or asked.model, "created_at": _CREATED}
    if asked.is_stream:
        return lines(_pieces(head, answer))
    return whole({**head, "message": _message(said, said.text or ""), **_end(answer)})


def failed(failure: Failure) -> dict[str, Any]:
    """The body of a refusal."""
    return {"error": failure.message}


def _message(said: Said, text: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if said.thoughts is not None:
        message["thinking"] = said.thoughts
    if said.calls:
        message["tool_calls"] = [{"function": {"name": call.name, "arguments": call.value}} for call in said.calls]
    return message


def _pieces(head: dict[str, Any], answer: Answer) -> Iterator[dict[str, Any]]:
    for piece in pieces(answer.first.text or ""):
        yield {**head, "message": {"role": "assistant", "content": piece}, "done": False}
    if answer.failure is None:
        yield {**head, "message": _message(answer.first, ""), **_end(answer)}


def _end(answer: Answer) -> dict[str, Any]:
    end: dict[str, Any] = {"done": True, "done_reason": "length" if answer.first.is_cut_short else "stop"}
    if answer.is_counted:
        end["prompt_eval_count"] = answer.count("prompt_tokens")
        end["eval_count"] = answer.count("completion_tokens")
    return end
