"""Spans by the older names of OpenLLMetry (`traceloop.*`, `gen_ai.prompt.N.*`, `llm.*`)."""

from __future__ import annotations

from typing import Any

from agentops_local.instrumentation import chat, semconv
from agentops_local.instrumentation.reading import Attributes, Reading, nested, parsed, present

_FRAMES = {"workflow": "actions", "task": "actions", "agent": "actions", "tool": "tools"}
_CALLS = frozenset({"chat", "completion", "embedding", "rerank"})


def kind(attributes: Attributes) -> str | None:
    """Which kind of event the span is; None if it is none of these conventions."""
    frame = attributes.get("traceloop.span.kind")
    if frame is not None:
        return _FRAMES.get(str(frame), "actions")
    return "llms" if str(attributes.get("llm.request.type")) in _CALLS else None


def read(attributes: Attributes, name: str) -> Reading:
    """The span as what it says."""
    get = attributes.get
    what = kind(attributes) or "actions"
    if what != "llms":
        entity = get("traceloop.entity.name") or name
        given, came = parsed(get("traceloop.entity.input")), parsed(get("traceloop.entity.output"))
        agent = entity if get("traceloop.span.kind") == "agent" else None
        return Reading(what, name=entity, agent=agent, params=given, returns=came)
    reading = semconv.read({"gen_ai.operation.name": "chat", **attributes}, name)
    reading.prompt = reading.prompt or [_message(item) for item in nested(attributes, "gen_ai.prompt")] or None
    if reading.completion is None:
        reading.completion = chat.answer([_message(item) for item in nested(attributes, "gen_ai.completion")])
    reading.params = present({**(reading.params or {}), "tools": nested(attributes, "llm.request.functions") or None})
    return reading


def _message(given: dict[str, Any]) -> dict[str, Any]:
    made = {"role": given.get("role") or "assistant", "content": parsed(given.get("content"))}
    calls = given.get("tool_calls")
    if isinstance(calls, list):
        made["tool_calls"] = [chat.tool_call(call.get("id"), call.get("name"), call.get("arguments")) for call in calls]
    if given.get("tool_call_id") is not None:
        made["tool_call_id"] = given["tool_call_id"]
    return made
