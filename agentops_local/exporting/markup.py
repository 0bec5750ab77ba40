"""Recorded text as HTML: text, never markup.

Everything that was recorded goes through `escaped`; nothing else here takes text. Of pictures only those go into the
page that lie in the message itself, in a form that holds no program; an address is shown and never fetched.
"""

from __future__ import annotations

import html
import re
from typing import Any

import orjson

from agentops_local.exporting.texts import loaded

_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_PICTURE = re.compile(r"data:image/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/=]+")
_LONG = 400  # characters from which a text is folded
_ROLES = ("system", "user", "assistant", "tool")


def escaped(value: object) -> str:
    """A text as HTML shows it."""
    return html.escape(_CONTROLS.sub("\ufffd", str(value)))


def block(title: str, text: str | None) -> str:
    """A payload, JSON, under a title; long ones folded. Nothing for NULL."""
    if text is None:
        return ""
    value = loaded(text)
    shown = value if isinstance(value, str) else _indented(value, text)
    opened = "" if len(shown) > _LONG else " open"
    return f"<details{opened}><summary>{escaped(title)}</summary><pre>{escaped(shown)}</pre></details>\n"


def message(text: str, anchor: str) -> str:
    """A chat message, JSON, that other places can point to."""
    value = loaded(text)
    if not isinstance(value, dict):
        return _box("user", "", [_content(value)], anchor)
    role = str(value.get("role") or "message")
    name = value.get("name") or value.get("tool_call_id")
    parts = [_folded(role, _content(value.get("content")))] if value.get("content") is not None else []
    if isinstance(value.get("reasoning_content"), str):
        parts.insert(0, block("reasoning", orjson.dumps(value["reasoning_content"]).decode()))
    calls = value.get("tool_calls")
    parts += [_call(call) for call in calls] if isinstance(calls, list) else []
    known = {"role", "name", "tool_call_id", "content", "reasoning_content", "tool_calls"}
    rest = {key: part for key, part in value.items() if key not in known and part is not None}
    if rest:
        parts.append(block("more", orjson.dumps(rest).decode()))
    return _box(role, "" if name is None else str(name), parts, anchor)


def _box(role: str, name: str, parts: list[str], anchor: str) -> str:
    kind = role if role in _ROLES else "user"
    head = f'<span class="role">{escaped(role)}{" " + escaped(name) if name else ""}</span>'
    return f'<div class="message {kind}" id="{escaped(anchor)}">{head}\n{"".join(parts)}</div>\n'


def _folded(role: str, markup: str) -> str:
    """What is long and mostly not what one looks for: instructions, results of tools."""
    if role in ("system", "developer", "tool") and len(markup) > _LONG:
        return f"<details><summary>{len(markup):,} characters</summary>{markup}</details>"
    return markup


def _content(content: object) -> str:
    if isinstance(content, str):
        return f'<div class="text">{escaped(content)}</div>'
    if isinstance(content, list):
        return "".join(_part(part) for part in content)
    return f"<pre>{escaped(_indented(content))}</pre>"


def _part(part: Any) -> str:
    if isinstance(part, dict):
        if isinstance(part.get("text"), str):
            return _content(part["text"])
        image = part.get("image_url")
        url = image.get("url") if isinstance(image, dict) else image
        if isinstance(url, str) and _PICTURE.fullmatch(url):
            return f'<img alt="a picture in the message" src="{url}">'
    elif isinstance(part, str):
        return _content(part)
    return f"<pre>{escaped(_indented(part))}</pre>"


def _call(call: Any) -> str:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        return block("tool call", orjson.dumps(call).decode())
    arguments = function.get("arguments")
    text = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
    return block(f"calls {function.get('name')}", text)


def _indented(value: object, otherwise: str = "") -> str:
    try:
        return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    except (TypeError, ValueError):  # nested too deep
        return otherwise or str(value)
