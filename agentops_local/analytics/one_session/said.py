"""What was said in a message, in parts that can be shown: texts, pictures, calls of tools, their results.

It knows the shapes of the common providers; whatever else stands in a message is told as the JSON it is.
"""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass, field
from typing import Any

from agentops_local.analytics.one_session.difference import difference
from agentops_local.analytics.whole import value

MOST = 20_000  # characters of a text

_UNFIT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_PICTURE = re.compile(r"data:image/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/=\s]+")
_TOKEN = re.compile(r"\s+|[^\s]+")
_KNOWN = frozenset({"role", "name", "content", "parts", "tool_calls", "function_call", "tool_call_id", "refusal"})


@dataclass
class ToolCall:
    """A call of a tool, as the model asked for it.

    Attributes:
        id: by which its result names it.
        result: what the tool gave, if that was told to the model.
        event: the number of the event in which the call was recorded, with the seconds it took.
    """

    id: str | None
    name: str
    arguments: str
    result: str | None = None
    event: tuple[int, float | None] | None = None


@dataclass
class Said:
    """A message.

    Attributes:
        texts, pictures: what it says, and pictures that lie in it (data URLs).
        calls: the tools it calls.
        results: what tools gave, by the ids of their calls.
        more: whatever else stands in it, as JSON.
        chars: of its texts, uncut.
    """

    role: str
    name: str | None = None
    texts: list[str] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    results: list[tuple[str, str]] = field(default_factory=list)
    more: str | None = None
    chars: int = 0

    @property
    def text(self) -> str:
        """All that it says."""
        return "\n".join(self.texts)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left to show but who speaks."""
        return not (self.texts or self.pictures or self.calls or self.results or self.more)

    def to_json(self) -> dict[str, object]:
        """All of it."""
        return {
            "role": self.role, "name": self.name, "texts": self.texts, "pictures": self.pictures,
            "calls": [vars(call) for call in self.calls],
            "results": [{"id": key, "text": text} for key, text in self.results], "more": self.more,
            "chars": self.chars,
        }  # fmt: skip


def said(text: str, role: str = "user") -> Said:
    """A message, JSON.

    Args:
        role: who speaks, where the message does not say.
    """
    message = value(text)
    if not isinstance(message, dict):
        found = Said(role)
        _take(found, message)
        return found
    found = Said(fit(str(message.get("role") or role)), None if message.get("name") is None else fit(message["name"]))
    result = message.get("tool_call_id")
    if result is not None:
        whole = Said(found.role)
        _take(whole, message.get("content"))
        found.results.append((str(result), whole.text))
        found.pictures, found.chars = whole.pictures, whole.chars
    else:
        for key in ("content", "parts", "refusal"):
            _take(found, message.get(key))
    for call in _calls(message):
        found.calls.append(call)
    rest = {key: part for key, part in message.items() if key not in _KNOWN and part not in (None, [], {})}
    found.more = _plain(rest) if rest else None
    return found


def fit(text: object) -> str:
    """A text without what no page can hold: control characters, halves of surrogate pairs; cut."""
    plain = _UNFIT.sub("\ufffd", str(text))
    return plain if len(plain) <= MOST else f"{plain[: MOST - 1]}…"


def changes(one: str, other: str) -> list[tuple[str, str]]:
    """What was changed from one text to another: pieces that are the `same`, `gone` or `new`."""
    if len(one) > MOST or len(other) > MOST:
        parted = difference(one, other)
        return [("gone", fit(parted.one)), ("new", fit(parted.other))]
    before, after = _TOKEN.findall(one), _TOKEN.findall(other)
    found: list[tuple[str, str]] = []
    for tag, i, j, k, m in difflib.SequenceMatcher(None, before, after, autojunk=len(before) > 2000).get_opcodes():
        if tag == "equal":
            found.append(("same", "".join(before[i:j])))
            continue
        found += [(how, "".join(part)) for how, part in (("gone", before[i:j]), ("new", after[k:m])) if part]
    return found


def _take(found: Said, content: Any) -> None:
    if content is None or content == "":
        return
    for part in content if isinstance(content, list) else [content]:
        _take_part(found, part)


def _take_part(found: Said, part: Any) -> None:
    if not isinstance(part, dict):
        _add(found, part if isinstance(part, str) else _plain(part))
    elif isinstance(part.get("text"), str):
        _add(found, part["text"])
    elif part.get("type") == "tool_use":
        found.calls.append(ToolCall(_id(part), fit(part.get("name")), _plain(part.get("input"))))
    elif part.get("type") == "tool_result":
        whole = Said("tool")
        _take(whole, part.get("content"))
        found.results.append((str(part.get("tool_use_id")), whole.text))
    elif (picture := _picture(part)) is not None:
        found.pictures.append(picture)
    else:
        _add(found, _plain(part))


def _add(found: Said, text: str) -> None:
    found.chars += len(text)
    found.texts.append(fit(text))


def _picture(part: dict[str, Any]) -> str | None:
    address = part.get("image_url")
    if isinstance(address, dict):
        address = address.get("url")
    source = part.get("source")
    if isinstance(source, dict) and source.get("type") == "base64":
        address = f"data:{source.get('media_type')};base64,{source.get('data')}"
    return address if isinstance(address, str) and _PICTURE.fullmatch(address) else None


def _calls(message: dict[str, Any]) -> list[ToolCall]:
    given = message.get("tool_calls")
    asked = given if isinstance(given, list) else []
    if not asked and isinstance(message.get("function_call"), dict):
        asked = [{"function": message["function_call"]}]
    return [_call(one) for one in asked]


def _call(one: Any) -> ToolCall:
    function = one.get("function") if isinstance(one, dict) else None
    if not isinstance(function, dict):
        return ToolCall(None, "?", _plain(one))
    arguments = function.get("arguments")
    text = arguments if isinstance(arguments, str) else _plain(arguments)
    return ToolCall(_id(one), fit(function.get("name") or "?"), _indented(text))


def _id(one: dict[str, Any]) -> str | None:
    return None if one.get("id") is None else str(one["id"])


def _indented(text: str) -> str:
    inner = value(text)
    return _plain(inner) if isinstance(inner, (dict, list)) else fit(text)


def _plain(thing: Any) -> str:
    return fit(json.dumps(thing, ensure_ascii=False, indent=1 if isinstance(thing, (dict, list)) and thing else None))
