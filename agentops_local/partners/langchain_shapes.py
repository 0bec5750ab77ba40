"""LangChain's values in the shapes that our events have: chat messages as OpenAI writes them, plain data otherwise.

Everything here is a pure function of what LangChain hands over. Integrations differ in what they fill in, so each
answer is looked for in all the places where one of them puts it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from langchain_core.documents import Document
from langchain_core.messages import AIMessage, BaseMessage, convert_to_openai_messages
from langchain_core.outputs import LLMResult
from langchain_core.prompt_values import ChatPromptValue, StringPromptValue

from agentops_local.event import Event, LLMEvent

_ROLES = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant"}
_SAID_BESIDE = ("reasoning_content", "refusal", "audio")  # of an assistant, in additional_kwargs
_MODEL_KEYS = ("model_name", "model", "model_id", "deployment_name")
_TOKENS_IN = ("input_tokens", "prompt_tokens")
_TOKENS_OUT = ("output_tokens", "completion_tokens")
_SECRET = re.compile(r"(api_?key|secret|password|authorization|_token|headers)$", re.IGNORECASE)
# The chunks of a stream are merged by adding up their texts, and some integrations name the model in every chunk.
_REPEATED = re.compile(r"(.{4,}?)\1+")
_DEPTH = 3  # containers around a message in what chains pass on: {"node": {"messages": [...]}}


def message(value: BaseMessage) -> dict[str, Any]:
    """A chat message as OpenAI writes it; never fails."""
    shaped: dict[str, Any]
    try:
        shaped = convert_to_openai_messages(value)
    except (ValueError, TypeError, KeyError, AttributeError):  # content blocks that it does not know
        shaped = {"role": _ROLES.get(value.type, value.type), "content": value.content}
    if isinstance(value, AIMessage):
        for call in value.invalid_tool_calls:  # what the model said, though its arguments are no JSON
            asked = {"name": call["name"], "arguments": call["args"]}
            calls = shaped.setdefault("tool_calls", [])
            calls.append({"type": "function", "id": call["id"], "function": asked})
        for key in _SAID_BESIDE:
            if value.additional_kwargs.get(key):
                shaped.setdefault(key, value.additional_kwargs[key])
    if getattr(value, "status", None) == "error":  # a tool's message
        shaped["status"] = "error"
    return shaped


def plain(value: Any, depth: int = _DEPTH) -> Any:
    """What a chain, a tool or a retriever takes or gives, with the messages and documents in it as plain data.

    A list that begins with text or a number is taken to hold neither: it may be long.
    """
    if isinstance(value, BaseMessage):
        return message(value)
    if isinstance(value, Document):
        return {"page_content": value.page_content, "metadata": value.metadata}
    if isinstance(value, StringPromptValue):
        return value.text
    if isinstance(value, ChatPromptValue):
        return [message(each) for each in value.messages]
    if depth and type(value) is dict:
        return {key: plain(item, depth - 1) for key, item in value.items()}
    if depth and type(value) in (list, tuple) and value and not isinstance(value[0], (str, int, float)):
        return [plain(item, depth - 1) for item in value]
    return value


def chat(conversations: Sequence[Sequence[BaseMessage]]) -> list[Any]:
    """The prompt of a chat model. LangChain starts one run a conversation; by hand, one may pass several."""
    shaped = [[message(each) for each in conversation] for conversation in conversations]
    return shaped[0] if len(shaped) == 1 else shaped


def name(serialized: Mapping[str, Any] | None, given: object, otherwise: str) -> str:
    """What a run is called: by its run, by its object, by its class."""
    if given:
        return str(given)
    serialized = serialized or {}
    path = serialized.get("id") or ()
    return str(serialized.get("name") or (path[-1] if path else otherwise))


def settings(invocation: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The invocation parameters that are set; credentials, which some integrations list among them, are hidden."""
    if not invocation:
        return None
    given = {key: value for key, value in invocation.items() if value is not None}
    return {key: "***" if _SECRET.search(str(key)) else value for key, value in given.items()}


def model(*places: Mapping[str, Any] | None) -> str | None:
    """The name of the model, from the first place that has one."""
    for place in places:
        for key in _MODEL_KEYS:
            found = (place or {}).get(key)
            if found and isinstance(found, str):
                repeated = _REPEATED.fullmatch(found)
                return repeated[1] if repeated else found
    return None


def has_answer(response: LLMResult) -> bool:
    """Whether the model said anything: after an error, a response may hold nothing but the error's headers."""
    generation = _first(response)
    said = getattr(generation, "message", None)
    heard = generation is not None and generation.text
    return bool(heard or (said is not None and (said.content or getattr(said, "tool_calls", None))))


def answer(event: Event, response: LLMResult) -> None:
    """Puts a response into an LLM call: completion, tokens, cost, model; into returns, what came with it."""
    generation = _first(response)
    if generation is None or not isinstance(event, LLMEvent):
        return
    output = response.llm_output or {}
    said = getattr(generation, "message", None)
    usage = dict(getattr(said, "usage_metadata", None) or {})
    metadata = dict(getattr(said, "response_metadata", None) or {}) or {
        **(generation.generation_info or {}),
        **output,
    }
    event.completion = _said(generation)
    event.model = model(metadata, output) or event.model
    counted = [usage, *_usages(output), *_usages(metadata)]
    event.prompt_tokens = _count(counted, _TOKENS_IN)
    event.completion_tokens = _count(counted, _TOKENS_OUT)
    event.cost = usage.get("total_cost")  # zero for an answer from LangChain's cache
    others = [_said(other) for other in response.generations[0][1:]]
    about = {"metadata": metadata, "usage": usage, "others": others}
    event.returns = {key: value for key, value in about.items() if value} or None


def _first(response: LLMResult) -> Any:
    return response.generations[0][0] if response.generations and response.generations[0] else None


def _said(generation: Any) -> Any:
    said = getattr(generation, "message", None)
    return message(said) if isinstance(said, BaseMessage) else generation.text


def _usages(place: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for key in ("token_usage", "usage"):
        found = place.get(key)
        if isinstance(found, Mapping):
            yield found


def _count(places: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> int | None:
    """The first number of tokens; None, not zero, if nobody counted."""
    for place in places:
        for key in keys:
            if isinstance(place.get(key), int):
                return int(place[key])
    return None
