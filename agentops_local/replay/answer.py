"""What was recorded of a call, as far as an answer can be made of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

_PIECE = re.compile(r"\s*\S+\s*")
_DATA = frozenset({"role", "content", "tool_calls", "refusal", "reasoning_content"})


@dataclass(frozen=True)
class ToolCall:
    """A call of a tool that the model asks for; its arguments are JSON text."""

    id: str
    name: str
    arguments: str

    @property
    def value(self) -> Any:
        """The arguments as what they say; an empty object if that cannot be read."""
        try:
            return json.loads(self.arguments or "{}")
        except ValueError:
            return {}


@dataclass(frozen=True)
class Said:
    """One message of the model."""

    text: str | None = None
    calls: tuple[ToolCall, ...] = ()
    thoughts: str | None = None
    refusal: str | None = None
    reason: str | None = None

    @property
    def is_cut_short(self) -> bool:
        """Whether it had no room to go on."""
        return str(self.reason).lower() in ("length", "max_tokens", "max_output_tokens")


@dataclass(frozen=True)
class Failure:
    """How a call failed.

    Attributes:
        status: of HTTP; None: no answer came, or not all of it.
        message: in the words of who refused. body: all that it said, where that is known.
        is_timeout: it was waited for in vain.
    """

    error: str
    message: str
    status: int | None = None
    body: Any = None
    is_timeout: bool = False


@dataclass(frozen=True)
class Answer:
    """The answer to a call.

    Attributes:
        event: the id of the event. model, id: as the provider told them.
        said: its messages; several where several were asked for.
        tokens: by kind, as in events; None where they are not known.
        failure: set where the call failed; `said` is then what came before.
        problem: why it cannot be answered, if it cannot.
    """

    event: str
    model: str | None
    id: str | None
    said: tuple[Said, ...]
    tokens: Mapping[str, int | None] = field(default_factory=dict)
    failure: Failure | None = None
    problem: str | None = None

    @property
    def first(self) -> Said:
        """The first message, or an empty one."""
        return self.said[0] if self.said else Said()

    def count(self, kind: str) -> int:
        """Tokens of a kind, where the format must have a number."""
        return self.tokens.get(kind) or 0

    @property
    def is_counted(self) -> bool:
        """Whether its tokens are known."""
        return self.tokens.get("prompt_tokens") is not None

    def to_json(self) -> str:
        """The same as text."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Answer:
        """What `to_json` has written."""
        told = json.loads(text)
        said = tuple(Said(**{**one, "calls": tuple(ToolCall(**call) for call in one["calls"])}) for one in told["said"])
        failure = None if told["failure"] is None else Failure(**told["failure"])
        return Answer(**{**told, "said": said, "failure": failure})


class Unanswerable(ValueError):
    """Of what was recorded no answer can be made; the message says why."""


def said_of(completion: object, reason: object = None, number: int = 0) -> Said:
    """A completion as a message.

    Args:
        completion: text, or a message in the shape of OpenAI's chat.
        reason: why it ended, where that is known.
        number: of the call: for ids that were not recorded.

    Raises:
        Unanswerable: if it holds what cannot be given back.
    """
    told = None if reason is None else str(reason)
    if completion is None or isinstance(completion, str):
        return Said(completion, reason=told)
    if not isinstance(completion, Mapping):
        raise Unanswerable("its completion is no message")
    calls = [_call(call, f"call_{number}_{place}") for place, call in enumerate(completion.get("tool_calls") or (), 1)]
    texts, thoughts = [], []
    content = completion.get("content")
    for part in content if isinstance(content, list) else [content]:
        if part is None or isinstance(part, str):
            texts += [] if part is None else [part]
            continue
        if not isinstance(part, Mapping):
            raise Unanswerable("its completion holds what is no text")
        kind = part.get("type")
        if kind == "tool_use":
            calls.append(ToolCall(str(part.get("id")), str(part.get("name")), json.dumps(part.get("input") or {})))
        elif kind in ("thinking", "reasoning"):
            thoughts.append(str(part.get("thinking") or part.get("text") or ""))
        elif isinstance(part.get("text"), str):
            texts.append(part["text"])
        else:
            raise Unanswerable(f"its completion holds a part that cannot be given back ({kind})")
    if isinstance(completion.get("reasoning_content"), str):
        thoughts.append(completion["reasoning_content"])
    refusal = completion.get("refusal")
    return Said(
        "".join(texts) if texts else None, tuple(calls), "\n".join(thoughts) or None,
        refusal if isinstance(refusal, str) else None, told,
    )  # fmt: skip


def written(text: str, number: int) -> Said:
    """What stands in a file: an assistant's message as JSON (with `role` or `tool_calls`), or text."""
    try:
        value = json.loads(text)
    except ValueError:
        return Said(text)
    if isinstance(value, dict) and set(value) <= _DATA and {"role", "tool_calls"} & set(value):
        return said_of(value, number=number)
    return Said(text)


def pieces(text: str) -> list[str]:
    """A text as a stream brings it: word by word. How it came in the recording is not recorded."""
    return _PIECE.findall(text) or ([text] if text else [])


def _call(call: Any, otherwise: str) -> ToolCall:
    function = call.get("function") or call if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise Unanswerable("a call of a tool in its completion has no name")
    arguments = function.get("arguments")
    if not isinstance(arguments, str):
        arguments = json.dumps({} if arguments is None else arguments, ensure_ascii=False)
    return ToolCall(str(call.get("id") or otherwise), function["name"], arguments)
