"""Messages in the shape of OpenAI's chat, which everybody reads: from the parts of OpenTelemetry's conventions."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

Message = dict[str, Any]


def messages(given: object) -> list[Any]:
    """A conversation. A message that holds the results of several tools becomes one for each, as in OpenAI's chat."""
    found: list[Any] = []
    for message in given if isinstance(given, list) else [given]:
        if isinstance(message, Mapping) and isinstance(message.get("parts"), list):
            found += _split(message)
        else:
            found.append(message)
    return found


def instructions(given: object) -> list[Message]:
    """A system prompt that stands apart from the conversation."""
    parts = given if isinstance(given, list) else [{"type": "text", "content": given}]
    return [{"role": "system", "content": _content([_part(part) for part in parts])}]


def answer(given: object) -> Any:
    """What the model said: its message; a list where it gave several; None where it said nothing."""
    found = messages(given)
    if not found:
        return None
    return found[0] if len(found) == 1 else found


def _split(message: Mapping[str, Any]) -> list[Message]:
    results: list[Any] = []
    others: list[Any] = []
    for part in message["parts"]:
        is_result = isinstance(part, Mapping) and part.get("type") == "tool_call_response"
        (results if is_result else others).append(part)
    split: list[Message] = [
        {"role": "tool", "tool_call_id": part.get("id"), "content": part.get("response", part.get("result"))}
        for part in results
    ]
    if others or not results:
        split.append(_message(message, others))
    return split


def _message(message: Mapping[str, Any], parts: list[Any]) -> Message:
    made: Message = {"role": message.get("role"), "content": None}
    if message.get("name"):
        made["name"] = message["name"]
    content, calls, thoughts = [], [], []
    for part in parts:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind == "tool_call":
            calls.append(tool_call(part.get("id"), part.get("name"), part.get("arguments")))
        elif kind in ("reasoning", "thinking"):
            thoughts.append(str(part.get("content") or ""))
        else:
            content.append(_part(part))
    made["content"] = _content(content)
    if calls:
        made["tool_calls"] = calls
    if thoughts:
        made["reasoning_content"] = "\n".join(thoughts)
    return made


def tool_call(number: object, name: object, arguments: object) -> Message:
    """A call of a tool that the model asks for; its arguments are text, as the model wrote them where that is known."""
    if not isinstance(arguments, str):
        arguments = json.dumps({} if arguments is None else arguments, ensure_ascii=False, separators=(",", ":"))
    return {"id": number, "type": "function", "function": {"name": name, "arguments": arguments}}


def _content(parts: list[Any]) -> Any:
    if not parts:
        return None
    if len(parts) == 1 and isinstance(parts[0], Mapping) and parts[0].get("type") == "text":
        return parts[0]["text"]
    return parts


def _part(part: object) -> Any:
    if not isinstance(part, Mapping):
        return {"type": "text", "text": part}
    make = _PARTS.get(str(part.get("type")))
    return part if make is None else make(part)


def _text(part: Mapping[str, Any]) -> Message:
    return {"type": "text", "text": part.get("content")}


def _blob(part: Mapping[str, Any]) -> Any:
    url = f"data:{part.get('mime_type') or 'application/octet-stream'};base64,{part.get('content')}"
    return _image(url) if part.get("modality") == "image" else {"type": "file", "file": {"file_data": url}}


def _uri(part: Mapping[str, Any]) -> Any:
    uri = part.get("uri")
    return _image(uri) if part.get("modality") == "image" else {"type": "file", "file": {"file_url": uri}}


def _image(url: object) -> Message:
    return {"type": "image_url", "image_url": {"url": url}}


_PARTS: dict[str, Callable[[Mapping[str, Any]], Any]] = {"text": _text, "blob": _blob, "uri": _uri}
