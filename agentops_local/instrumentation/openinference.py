"""Spans by the conventions of OpenInference (`openinference.span.kind`, `llm.*`)."""

from __future__ import annotations

from typing import Any

from agentops_local.instrumentation import chat
from agentops_local.instrumentation.reading import Attributes, Reading, nested, parsed, present

_KINDS = {"LLM": "llms", "EMBEDDING": "llms", "TOOL": "tools"}
_ROLES = {"model": "assistant"}  # as Gemini calls it
_COUNT = "llm.token_count."


def kind(attributes: Attributes) -> str | None:
    """Which kind of event the span is; None if it is none of these conventions."""
    found = attributes.get("openinference.span.kind")
    return None if found is None else _KINDS.get(str(found).upper(), "actions")


def read(attributes: Attributes, name: str) -> Reading:
    """The span as what it says."""
    get = attributes.get
    what = kind(attributes) or "actions"
    reading = Reading(what, thread_id=get("session.id"))
    given, came = parsed(get("input.value")), parsed(get("output.value"))
    if what == "tools":
        reading.name = get("tool.name") or name
        given = parsed(get("tool.parameters")) if given is None else given
        reading.params, reading.returns = given, came
        return reading
    if what == "actions":
        is_agent = str(get("openinference.span.kind")).upper() == "AGENT"
        reading.name, reading.agent = name, (get("agent.name") or name) if is_agent else None
        reading.params, reading.returns = given, came
        return reading
    reading.provider = _text(get("llm.provider")) or _text(get("llm.system"))
    model = get("llm.model_name") or get("embedding.model_name") or _model_of(came) or _model_of(given)
    reading.model = None if model is None else str(model).removeprefix(f"{reading.provider}/")  # as litellm names them
    reading.prompt_tokens, reading.completion_tokens = get(_COUNT + "prompt"), get(_COUNT + "completion")
    reading.cache_read_tokens = get(_COUNT + "prompt_details.cache_read")
    reading.cache_write_tokens = get(_COUNT + "prompt_details.cache_write")
    reading.reasoning_tokens = get(_COUNT + "completion_details.reasoning")
    # Not `llm.cost.total`: it is computed here as well, by a table of the library's; the provider has not said it.
    reading.prompt = _messages(attributes, "llm.input_messages") or _said(given, "messages", "input")
    reading.completion = chat.answer(_messages(attributes, "llm.output_messages")) or _told(came)
    is_embedding = str(get("openinference.span.kind")).upper() == "EMBEDDING"
    if is_embedding:
        texts = [item.get("embedding", {}).get("text") for item in nested(attributes, "embedding.embeddings")]
        reading.prompt = [text for text in texts if text is not None] or reading.prompt
        reading.completion = None  # vectors: nobody reads them, and they are large
    tools = [parsed(tool.get("tool", {}).get("json_schema")) for tool in nested(attributes, "llm.tools")]
    settings = parsed(get("llm.invocation_parameters"))
    reading.params = present({
        "operation": "embeddings" if is_embedding else None,
        **_given(settings), **({"tools": tools} if tools else {}),
    })  # fmt: skip
    reading.returns = present({"finish_reason": get("llm.finish_reason")}) or None
    return reading


def _given(settings: object) -> dict[str, Any]:
    """The settings that were set: some instrumentors tell an empty text for others, and the messages beside them."""
    found = settings if isinstance(settings, dict) else {}
    return {name: value for name, value in found.items() if value != "" and name != "messages"}


def _text(value: object) -> str | None:
    return None if value is None else str(value).lower()


def _model_of(body: object) -> str | None:
    found = body.get("model") if isinstance(body, dict) else None
    return found if isinstance(found, str) else None


def _said(body: object, *names: str) -> Any:
    """The part of a request that is its prompt; the request itself where it is text."""
    if isinstance(body, dict):
        return next((body[name] for name in names if body.get(name) is not None), None)
    return body


def _told(body: object) -> Any:
    """What a response says, where no message is told apart: text alone, for a whole response is no completion."""
    return body if isinstance(body, str) else None


def _messages(attributes: Attributes, prefix: str) -> list[dict[str, Any]]:
    return [_message(item.get("message", {})) for item in nested(attributes, prefix)]


def _message(given: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {
        "role": _ROLES.get(str(given.get("role")), given.get("role")),
        "content": given.get("content"),
    }
    parts = given.get("contents")
    if isinstance(parts, list):
        made["content"] = [_part(part.get("message_content", {})) for part in parts if isinstance(part, dict)]
        if len(parts) == 1 and made["content"] and made["content"][0].get("type") == "text":
            made["content"] = made["content"][0]["text"]
    calls = [call.get("tool_call", {}) for call in given.get("tool_calls") or () if isinstance(call, dict)]
    if calls:
        made["tool_calls"] = [
            chat.tool_call(call.get("id"), *(call.get("function", {}).get(part) for part in ("name", "arguments")))
            for call in calls
        ]
    for name in ("name", "tool_call_id"):
        if given.get(name) is not None:
            made[name] = given[name]
    return made


def _part(given: dict[str, Any]) -> dict[str, Any]:
    if given.get("type") == "image" or "image" in given:
        url = given.get("image", {}).get("image", {}).get("url")
        return {"type": "image_url", "image_url": {"url": url}}
    return {"type": given.get("type") or "text", "text": given.get("text")}
