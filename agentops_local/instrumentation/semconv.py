"""Spans by OpenTelemetry's conventions for generative AI (`gen_ai.*`, semantic conventions 1.37 and later)."""

from __future__ import annotations

from typing import Any

from agentops_local.instrumentation import chat
from agentops_local.instrumentation.reading import Attributes, Reading, parsed, present

_KINDS = {
    "chat": "llms", "text_completion": "llms", "generate_content": "llms", "embeddings": "llms",
    "execute_tool": "tools",
    "create_agent": "actions", "invoke_agent": "actions", "invoke_workflow": "actions", "retrieval": "actions",
}  # fmt: skip
_REQUEST, _RESPONSE, _USAGE = "gen_ai.request.", "gen_ai.response.", "gen_ai.usage."
# Said by columns of their own, or by the prompt.
_ELSEWHERE = frozenset({_REQUEST + "model", _RESPONSE + "model"})


def kind(attributes: Attributes) -> str | None:
    """Which kind of event the span is; None if it is none of these conventions."""
    operation = attributes.get("gen_ai.operation.name")
    return None if operation is None else _KINDS.get(str(operation), "actions")


def read(attributes: Attributes, name: str) -> Reading:
    """The span as what it says."""
    get = attributes.get
    what = kind(attributes) or "actions"
    operation = str(get("gen_ai.operation.name"))
    reading = Reading(what, agent=get("gen_ai.agent.name") if operation == "invoke_agent" else None)
    reading.thread_id = get("gen_ai.conversation.id")
    if what == "tools":
        reading.name = get("gen_ai.tool.name") or name
        reading.params = parsed(get("gen_ai.tool.call.arguments"))
        reading.returns = parsed(get("gen_ai.tool.call.result"))
        return reading
    _models(reading, attributes)
    _tokens(reading, attributes)
    reading.prompt, reading.completion = _prompt(attributes), chat.answer(parsed(get("gen_ai.output.messages")) or [])
    request = {key[len(_REQUEST) :]: value for key, value in attributes.items()
               if key.startswith(_REQUEST) and key not in _ELSEWHERE}  # fmt: skip
    response = {key[len(_RESPONSE) :]: value for key, value in attributes.items()
                if key.startswith(_RESPONSE) and key not in _ELSEWHERE}  # fmt: skip
    if what == "actions":
        reading.name = name
        reading.params = present({"input": reading.prompt, **request}) or None
        reading.returns = reading.completion
        return reading
    tools = parsed(get("gen_ai.tool.definitions"))
    asked = get(_REQUEST + "model")
    reading.params = present({
        "operation": operation if operation != "chat" else None,
        "model": asked if asked != reading.model else None, **request, "tools": tools,
    })  # fmt: skip
    reading.returns = present(response)
    return reading


def _models(reading: Reading, attributes: Attributes) -> None:
    reading.provider = attributes.get("gen_ai.provider.name") or attributes.get("gen_ai.system")
    reading.model = attributes.get(_RESPONSE + "model") or attributes.get(_REQUEST + "model")


def _tokens(reading: Reading, attributes: Attributes) -> None:
    def usage(*names: str) -> Any:
        for name in names:
            value = attributes.get(_USAGE + name)
            if value is not None:
                return value
        return None

    reading.prompt_tokens = usage("input_tokens", "prompt_tokens")
    reading.completion_tokens = usage("output_tokens", "completion_tokens")
    reading.cache_read_tokens = usage("cache_read.input_tokens", "cache_read_input_tokens")
    reading.cache_write_tokens = usage(
        "cache_write.input_tokens", "cache_creation.input_tokens", "cache_creation_input_tokens"
    )
    reading.reasoning_tokens = usage("reasoning.output_tokens", "reasoning_tokens")
    reading.cost = usage("cost")


def _prompt(attributes: Attributes) -> Any:
    given = parsed(attributes.get("gen_ai.input.messages"))
    system = parsed(attributes.get("gen_ai.system_instructions"))
    if given is None and system is None:
        return None
    found = chat.messages(given) if given is not None else []
    return [*(chat.instructions(system) if system else []), *found]
