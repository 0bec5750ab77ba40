"""The call as the program made it: taken down outermost, before any instrumentor or the library itself sees it.

What the program gives is the prompt in its own words, which an instrumentor retells, and is known without being encoded
again when the next call repeats it. It may also be an iterator that can be read once: the library and an instrumentor
would each find it empty after the other, so it is made a list here.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from agentops_local.context import bound
from agentops_local.instrumentation.reading import Reading
from agentops_local.instrumentation.spelling import spell


@dataclass
class Call:
    """One call of the program.

    Attributes:
        shape: where its prompt is.
        arguments: as the program gave them, by name.
        attempts: what the library sent for it, in order: HTTP status or the name of an error, and seconds.
        body: the answer as it came, in pieces, where it is read letter by letter.
        is_claimed: whether a span tells of it.
    """

    shape: Shape
    arguments: Mapping[str, Any]
    attempts: list[dict[str, Any]] = field(default_factory=list)
    body: list[bytes] = field(default_factory=list)
    is_claimed: bool = False

    def complete(self, reading: Reading) -> None:
        """Adds to what a span says what is known better here."""
        prompt = self.shape.prompt(self.arguments)
        if prompt is not None:
            reading.prompt = prompt
        if self.body:
            spell(reading.completion, b"".join(self.body))
        if len(self.attempts) > 1:
            reading.returns = {**(reading.returns or {}), "attempts": self.attempts}


@dataclass(frozen=True)
class Shape:
    """Where a function of a library has its prompt.

    Attributes:
        names: the parameters that may be iterators and hold the prompt, the first that is given counts.
        system: the parameter that holds a system prompt, if there is one apart.
        is_spelled: whether the answer has the format of OpenAI's chat, in which arguments of tools are text.
    """

    names: tuple[str, ...]
    system: str | None = None
    is_spelled: bool = False

    def taken(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """What of the arguments is the prompt, as it is now: the program may go on with its list of messages before a
        stream has ended."""
        found = {name: arguments[name] for name in (*self.names, self.system) if name is not None and name in arguments}
        return {name: list(value) if isinstance(value, list) else value for name, value in found.items()}

    def prompt(self, arguments: Mapping[str, Any]) -> Any:
        """The prompt; None if it was not given by name."""
        given = next((arguments[name] for name in self.names if arguments.get(name) is not None), None)
        apart = arguments.get(self.system) if self.system is not None else None
        if given is None or not isinstance(apart, (str, list)):
            return given
        said = [{"role": "user", "content": given}] if isinstance(given, str) else list(given)
        return [{"role": "system", "content": apart}, *said]


_OPENAI_CHAT, _CHAT = Shape(("messages",), is_spelled=True), Shape(("messages",))
_RESPONSE, _EMBEDDING = Shape(("input",), "instructions"), Shape(("input",))
_ANTHROPIC = Shape(("messages",), "system")

# Functions whose prompt is plain data in the shape of a chat, or nearly so. Others are recorded as their spans tell.
GUARDED: dict[str, tuple[tuple[str, str, Shape], ...]] = {
    "openai": (
        *(("openai.resources.chat.completions", f"{kind}Completions.{name}", _OPENAI_CHAT)
          for kind in ("", "Async") for name in ("create", "parse")),
        *(("openai.resources.responses", f"{kind}Responses.{name}", _RESPONSE)
          for kind in ("", "Async") for name in ("create", "parse")),
        *(("openai.resources.embeddings", f"{kind}Embeddings.create", _EMBEDDING) for kind in ("", "Async")),
    ),
    "anthropic": tuple(
        ("anthropic.resources.messages", f"{kind}Messages.{name}", _ANTHROPIC)
        for kind in ("", "Async") for name in ("create", "stream", "parse")
    ),
    "groq": tuple(
        ("groq.resources.chat.completions", f"{kind}Completions.create", _OPENAI_CHAT) for kind in ("", "Async")
    ),
    "mistralai": tuple(
        ("mistralai.client.chat", f"Chat.{name}", _CHAT)
        for name in ("complete", "stream", "complete_async", "stream_async")
    ),
    "cohere": tuple(("cohere.v2.client", f"{kind}V2Client.{name}", _CHAT)
                    for kind in ("", "Async") for name in ("chat", "chat_stream")),
    "ollama": tuple(("ollama._client", f"{kind}Client.chat", _CHAT) for kind in ("", "Async")),
    "litellm": (("litellm", "completion", _CHAT), ("litellm", "acompletion", _CHAT)),
}  # fmt: skip

_current: ContextVar[Call | None] = ContextVar("agentops_local_llm_call", default=None)


def current() -> Call | None:
    """The call in the course of which the code runs."""
    return _current.get()


def claim(kind: str | None) -> Call | None:
    """The call that a span of this kind tells of: the first that is not known to be of another kind."""
    call = _current.get()
    if call is None or call.is_claimed or kind not in (None, "llms"):
        return None
    call.is_claimed = True
    return call


class Guards:
    """The guards of one library.

    Args:
        library: its distribution.
    """

    def __init__(self, library: str) -> None:
        self._library = library
        self._placed: list[tuple[Any, str, Any, Any]] = []

    def place(self) -> None:
        """Puts them around what the library has of its functions."""
        for module, path, shape in GUARDED.get(self._library, ()):
            try:
                owner: Any = import_module(module)
            except ImportError:  # another version of the library has it elsewhere, or not at all
                continue
            *steps, name = path.split(".")
            for step in steps:
                owner = getattr(owner, step, None)
            found = inspect.getattr_static(owner, name, None)
            if callable(found):
                guarded = guard(found, shape, inspect.isclass(owner))
                setattr(owner, name, guarded)
                self._placed.append((owner, name, found, guarded))

    def remove(self) -> None:
        """Takes them away. One that something else has been put around since lets everything pass."""
        for owner, name, found, guarded in reversed(self._placed):
            guarded.__agentops_off__ = True
            if inspect.getattr_static(owner, name, None) is guarded:
                setattr(owner, name, found)
        self._placed.clear()


def guard(function: Any, shape: Shape, is_method: bool) -> Callable[..., Any]:
    """A function that notes how it is called. What it returns, and what it raises, is the function's own.

    Args:
        function: as it stands in its class or module; what an instrumentor has made of it is no plain function, and
            wants to be bound as one gets it from an instance.
        shape: where its prompt is.
        is_method: whether it stands in a class.
    """

    def call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if is_method:
            return function.__get__(args[0], type(args[0]))(*args[1:], **kwargs)
        return function(*args, **kwargs)

    def begin(kwargs: dict[str, Any]) -> Call:
        for name in shape.names:
            if name in kwargs:
                kwargs[name] = listed(kwargs[name])
        outer = _current.get()
        # What an outer function of a library does by an inner one is one call: they count its attempts together.
        return Call(shape, shape.taken(kwargs), [] if outer is None else outer.attempts)

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if guarded.__agentops_off__:  # type: ignore[attr-defined]
            return call(args, kwargs)
        with bound(_current, begin(kwargs)):
            return call(args, kwargs)

    @functools.wraps(function)
    async def guarded_async(*args: Any, **kwargs: Any) -> Any:
        if guarded_async.__agentops_off__:  # type: ignore[attr-defined]
            return await call(args, kwargs)
        with bound(_current, begin(kwargs)):
            return await call(args, kwargs)

    is_async = inspect.iscoroutinefunction(inspect.unwrap(function))
    made: Callable[..., Any] = guarded_async if is_async else guarded
    made.__agentops_off__ = False  # type: ignore[attr-defined]
    return made


def listed(given: Any) -> Any:
    """A one-shot iterator as a list; everything else as it is."""
    if isinstance(given, (str, bytes, Mapping, Sequence)) or not isinstance(given, Iterable):
        return given
    return list(given) if isinstance(given, Iterator) or not hasattr(given, "__len__") else given
