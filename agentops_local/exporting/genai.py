"""Messages in the shape of OpenTelemetry's conventions for generative AI: a role, and parts that say what they are.

The way back from `instrumentation.chat`, which turns such messages into those of OpenAI's chat.
"""

from __future__ import annotations

from typing import Any

import orjson

from agentops_local.exporting.texts import loaded

Part = dict[str, Any]


def message(text: str) -> str:
    """A message as it is recorded, JSON, as a message of the conventions, JSON; a bare text is what the user said."""
    value = loaded(text)
    made = shaped(value) if isinstance(value, dict) else {"role": "user", "parts": _parts(value)}
    return orjson.dumps(made).decode()


def shaped(value: Part) -> Part:
    """A message of OpenAI's chat in the shape of the conventions; one that has it already as it is."""
    if isinstance(value.get("parts"), list):
        return value
    role = value.get("role")
    if role == "tool":
        response = value.get("content")
        return {"role": "tool", "parts": [
            {"type": "tool_call_response", "id": value.get("tool_call_id"), "response": response}
        ]}  # fmt: skip
    parts: list[Part] = []
    if isinstance(value.get("reasoning_content"), str):
        parts.append({"type": "reasoning", "content": value["reasoning_content"]})
    parts += _parts(value.get("content"))
    calls = value.get("tool_calls")
    for call in calls if isinstance(calls, list) else []:
        parts.append(_call(call))
    made: Part = {"role": role if isinstance(role, str) else "user", "parts": parts}
    if isinstance(value.get("name"), str):
        made["name"] = value["name"]
    return made


def _parts(content: object) -> list[Part]:
    if content is None:
        return []
    if isinstance(content, list):
        return [_part(part) for part in content]
    return [_part(content)]


def _part(part: object) -> Part:
    if isinstance(part, str):
        return {"type": "text", "content": part}
    if not isinstance(part, dict) or not isinstance(part.get("type"), str):
        return {"type": "text", "content": orjson.dumps(part).decode()}
    if part["type"] == "text" and isinstance(part.get("text"), str):
        return {"type": "text", "content": part["text"]}
    image = part.get("image_url")
    if part["type"] == "image_url" and isinstance(image, dict) and isinstance(image.get("url"), str):
        return _image(image["url"])
    return part


def _image(url: str) -> Part:
    head, comma, data = url.partition(",")
    if comma and head.startswith("data:") and head.endswith(";base64"):
        return {"type": "blob", "modality": "image", "mime_type": head[5:-7], "content": data}
    return {"type": "uri", "modality": "image", "uri": url}


def _call(call: object) -> Part:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(call, dict) or not isinstance(function, dict):
        return {"type": "tool_call", "name": "", "arguments": call}
    arguments = function.get("arguments")
    return {
        "type": "tool_call", "id": call.get("id"), "name": str(function.get("name")),
        "arguments": loaded(arguments) if isinstance(arguments, str) else arguments,
    }  # fmt: skip
