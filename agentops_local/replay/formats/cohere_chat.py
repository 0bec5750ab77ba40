"""Cohere's chat, in its second version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from agentops_local.replay.answer import Answer, Failure, Said, pieces
from agentops_local.replay.formats.asked import SETTINGS, Asked, Reply, chosen, events, whole
from agentops_local.replay.formats.openai_chat import read as _read


def read(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a request asks; None if it is none."""
    found = _read(body)
    if found is not None:
        found["settings"] = chosen(body, {**SETTINGS, "p": "top_p", "stop_sequences": "stop"})
    return found


def reply(answer: Answer, asked: Asked) -> Reply:
    """The answer in this format."""
    said = answer.first
    usage = _usage(answer)
    identity = answer.id or answer.event
    if asked.is_stream:
        return events(_events(answer, identity, usage), named=True)
    message: dict[str, Any] = {"role": "assistant", "content": [] if said.text is None else [_text(said.text)]}
    if said.calls:
        message["tool_calls"] = [_call(call) for call in said.calls]
        message["tool_plan"] = said.thoughts
    return whole({"id": identity, "finish_reason": _reason(said), "message": message, "usage": usage})


def failed(failure: Failure) -> dict[str, Any]:
    """The body of a refusal."""
    return {"message": failure.message}


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _call(call: Any) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _reason(said: Said) -> str:
    if said.calls:
        return "TOOL_CALL"
    return "MAX_TOKENS" if said.is_cut_short else "COMPLETE"


def _events(answer: Answer, identity: str, usage: dict[str, Any]) -> Iterator[dict[str, Any]]:
    said = answer.first
    empty = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    yield {"type": "message-start", "id": identity, "delta": {"message": empty}}
    if said.text is not None:
        yield {"type": "content-start", "index": 0, "delta": {"message": {"content": _text("")}}}
        for piece in pieces(said.text):
            yield {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": piece}}}}
        if answer.failure is not None:
            return
        yield {"type": "content-end", "index": 0}
    for place, call in enumerate(said.calls):
        begun = {**_call(call), "function": {"name": call.name, "arguments": ""}}
        more = {"function": {"arguments": call.arguments}}
        yield {"type": "tool-call-start", "index": place, "delta": {"message": {"tool_calls": begun}}}
        yield {"type": "tool-call-delta", "index": place, "delta": {"message": {"tool_calls": more}}}
        yield {"type": "tool-call-end", "index": place}
    if answer.failure is None:
        yield {"type": "message-end", "id": identity, "delta": {"finish_reason": _reason(said), "usage": usage}}


def _usage(answer: Answer) -> dict[str, Any]:
    if not answer.is_counted:
        return {}
    counts = {"input_tokens": answer.count("prompt_tokens"), "output_tokens": answer.count("completion_tokens")}
    return {"billed_units": counts, "tokens": counts}
