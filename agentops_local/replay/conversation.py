"""A conversation in a form in which those of all providers can be compared.

What a program sends and what was recorded of it differ in shape: one as OpenAI's chat, the other as Anthropic's blocks,
a tool's arguments as text here and as an object there. So both become a list of items: a text with its role, a call of
a tool, a result. Ids of calls are made by the model and mean nothing in themselves: calls are numbered, and a result
tells the number of its call. What the model thought is left out: it is its own, often encrypted, and comes back or not.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Item = dict[str, Any]

_ROLES = {"model": "assistant", "developer": "system", "function": "tool", "chatbot": "assistant"}
_MASK = "..."
_THOUGHTS = frozenset({"thinking", "redacted_thinking", "reasoning"})
_DECORATION = frozenset({"cache_control", "citations", "detail", "annotations", "logprobs", "index", "id", "status"})


class _Calls:
    """The calls of tools so far: their ids, and which still wait for a result."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._waiting: dict[int, str] = {}
        self._made = 0

    def made(self, call_id: object, name: object, arguments: object) -> Item:
        self._made += 1
        if isinstance(call_id, str) and call_id:
            self._numbers[call_id] = self._made
        self._waiting[self._made] = str(name)
        return {"call": self._made, "name": name, "arguments": parsed(arguments)}

    def answered(self, call_id: object, name: object, content: object) -> Item:
        number = self._numbers.get(call_id) if isinstance(call_id, str) else None
        if number is None:  # Gemini's and Ollama's have no ids: results come in the order of their calls
            named = [waiting for waiting, its_name in self._waiting.items() if name is None or its_name == name]
            number = next(iter(named or self._waiting), 0)
        self._waiting.pop(number, None)
        return {"result": number, "content": parsed(_joined(content))}


def items(messages: object) -> list[Item]:
    """A prompt of any provider as its items."""
    calls = _Calls()
    found: list[Item] = []
    listed = messages if isinstance(messages, list) else [messages]
    for message in listed:
        if isinstance(message, str):
            found += _text("user", message)
        elif isinstance(message, Mapping):
            found += _message(message, calls)
        elif message is not None:
            found.append({"user": parsed(message)})
    return found


def key(conversation: Iterable[Item]) -> str:
    """The same for conversations that are equal."""
    text = json.dumps(list(conversation), sort_keys=True, ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def masked(value: Any, patterns: Iterable[re.Pattern[str]]) -> Any:
    """A conversation, or a part of it, in which what fits one of the patterns is the same everywhere: a prompt that
    tells the date is another one each day."""
    if isinstance(value, str):
        for pattern in patterns:
            value = pattern.sub(_MASK, value)
        return value
    if isinstance(value, list):
        return [masked(part, patterns) for part in value]
    if isinstance(value, dict):
        return {name: masked(part, patterns) for name, part in value.items()}
    return value


def parsed(value: object) -> Any:
    """JSON text as what it says, for its spelling changes on the way; any other value as it is."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "["):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _message(message: Mapping[str, Any], calls: _Calls) -> Iterator[Item]:
    kind = message.get("type")
    if kind in _THOUGHTS:
        return
    if kind == "function_call":  # the Responses API: items of their own
        yield calls.made(message.get("call_id"), message.get("name"), message.get("arguments"))
        return
    if kind == "function_call_output":
        yield calls.answered(message.get("call_id"), None, message.get("output"))
        return
    if not {"role", "content", "parts", "tool_calls"} & message.keys():  # no message: a prompt of another shape
        yield {"user": dict(message)}
        return
    role = str(message.get("role") or "user").lower()
    role = _ROLES.get(role, role)
    if role == "tool":
        name = message.get("name") or message.get("tool_name")
        yield calls.answered(message.get("tool_call_id"), name, message.get("content"))
        return
    yield from _content(role, message.get("parts", message.get("content")), calls)
    for call in message.get("tool_calls") or ():
        function = call.get("function") or call
        yield calls.made(call.get("id"), function.get("name"), function.get("arguments"))
    refusal = message.get("refusal")
    if isinstance(refusal, str):
        yield from _text(role, refusal)


def _content(role: str, content: object, calls: _Calls) -> Iterator[Item]:
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, str):
            yield from _text(role, part)
        elif isinstance(part, Mapping):
            yield from _part(role, part, calls)
        elif part is not None:
            yield {role: part}


def _part(role: str, part: Mapping[str, Any], calls: _Calls) -> Iterator[Item]:
    kind = part.get("type")
    call = part.get("functionCall") or part.get("function_call")
    response = part.get("functionResponse") or part.get("function_response")
    if kind in _THOUGHTS or part.get("thought"):
        return
    if kind == "tool_use":
        yield calls.made(part.get("id"), part.get("name"), part.get("input"))
    elif kind == "tool_result":
        yield calls.answered(part.get("tool_use_id"), None, part.get("content"))
    elif isinstance(call, Mapping):
        yield calls.made(call.get("id"), call.get("name"), call.get("args"))
    elif isinstance(response, Mapping):
        yield calls.answered(response.get("id"), response.get("name"), response.get("response"))
    elif isinstance(part.get("text"), str):
        yield from _text(role, part["text"])
    else:
        yield {role: _other(part)}


def _other(part: Mapping[str, Any]) -> Any:
    """An image, a file and their like: as it is, but for what is no content; an image by its URL or data alone."""
    image = part.get("image_url")
    if image is not None:
        return {"image": image.get("url") if isinstance(image, Mapping) else image}
    source = part.get("source") if part.get("type") == "image" else part.get("inlineData") or part.get("inline_data")
    if isinstance(source, Mapping) and isinstance(source.get("data"), str):
        media = source.get("media_type") or source.get("mimeType") or source.get("mime_type")
        return {"image": f"data:{media};base64,{source['data']}"}
    return {name: value for name, value in part.items() if value is not None and name not in _DECORATION}


def _text(role: str, text: str) -> Iterator[Item]:
    if text:  # some say "" where others say nothing
        yield {role: text}


def _joined(content: object) -> object:
    """The result of a tool: texts in pieces as one."""
    if not isinstance(content, list) or not content:
        return "" if content is None else content
    texts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
    if all(isinstance(text, str) for text in texts):
        return "".join(str(text) for text in texts)
    return content
