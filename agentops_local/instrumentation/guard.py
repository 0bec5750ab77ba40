"""The call as the program made it: taken down outermost, before any instrumentor or the library itself sees it.

What the program gives is the prompt in its own words, which an instrumentor retells, and is known without being encoded
again when the next call repeats it. It may also be an iterator that can be read once: the library and an instrumentor
would each find it empty after the other, so it is made a list here.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any
from uuid import UUID

from agentops_local import faults
from agentops_local.context import bound
from agentops_local.instrumentation import wire
from agentops_local.instrumentation.reading import Reading

if TYPE_CHECKING:
    from agentops_local.instrumentation.bridge import Bridge
    from agentops_local.spending.purse import Reservation


@dataclass
class Call:
    """One call of the program.

    Attributes:
        shape: where its prompt is.
        arguments: as the program gave them, by name.
        attempts: what the library sent for it, in order: HTTP status or the name of an error, and seconds.
        body: the answer as it came, in pieces, where it is looked at.
        is_streamed: whether it comes as it is read; is_flowing: whether more of it may come.
        then: what is to be done when no more comes.
        is_claimed: whether a span tells of it.
        reservation: what a budget has set aside for it.
    """

    shape: Shape
    arguments: Mapping[str, Any]
    attempts: list[dict[str, Any]] = field(default_factory=list)
    body: list[bytes] = field(default_factory=list)
    is_streamed: bool = False
    is_flowing: bool = False
    then: Callable[[], None] | None = None
    is_claimed: bool = False
    reservation: Reservation | None = None

    def prompt(self) -> Any:
        """Its prompt; None if it was not given by name."""
        return self.shape.prompt(self.arguments)

    def complete(self, reading: Reading) -> None:
        """Adds to what a span says what is known better here."""
        prompt = self.prompt() if self.shape.is_chat else None
        if prompt is not None:
            reading.prompt = prompt
        if self.body and self.shape.is_early and self.is_streamed:
            wire.complete(reading, b"".join(self.body))
        elif self.body:
            wire.spell(reading.completion, b"".join(self.body))
        if len(self.attempts) > 1:
            reading.returns = {**(reading.returns or {}), "attempts": self.attempts}

    def flowed(self) -> None:
        """No more of the answer comes."""
        self.is_flowing = False
        then, self.then = self.then, None
        if then is not None:
            with faults.contained("recording a stream"):
                then()

    def settle(self, event_id: UUID | None, is_free: bool) -> None:
        """Gives back what a budget has set aside.

        Args:
            event_id: of the event that it has become, if it has.
            is_free: it has failed before the model said anything.
        """
        if self.reservation is not None:
            self.reservation.settle(event_id, is_free)


@dataclass(frozen=True)
class Shape:
    """Where a function of a library has its prompt.

    Attributes:
        names: the parameters that may be iterators and hold the prompt, the first that is given counts.
        system: the parameter that holds a system prompt, if there is one apart.
        is_openai: whether the answer has the format of OpenAI's chat, or of its Responses.
        is_early: whether the span of a stream ends before it is read, and tells nothing of it.
        is_chat: whether the prompt is recorded as it is given; else as a span retells it.
    """

    names: tuple[str, ...]
    system: str | None = None
    is_openai: bool = False
    is_early: bool = False
    is_chat: bool = True

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


_OPENAI_CHAT, _CHAT = Shape(("messages",), is_openai=True), Shape(("messages",))
_RESPONSE, _EMBEDDING = Shape(("input",), "instructions", is_openai=True), Shape(("input",))
_GROQ = Shape(("messages",), is_openai=True, is_early=True)
_ANTHROPIC = Shape(("messages",), "system")
_GEMINI = Shape(("contents",), is_chat=False)

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
    "google-genai": tuple(
        ("google.genai.models", f"{kind}Models.{name}", _GEMINI)
        for kind in ("", "Async") for name in ("generate_content", "generate_content_stream", "embed_content")
    ),
    "groq": tuple(
        ("groq.resources.chat.completions", f"{kind}Completions.create", _GROQ) for kind in ("", "Async")
    ),
    "mistralai": tuple(
        ("mistralai.client.chat", f"Chat.{name}", _OPENAI_CHAT)
        for name in ("complete", "stream", "complete_async", "stream_async")
    ),
    "cohere": tuple(("cohere.v2.client", f"{kind}V2Client.{name}", _CHAT)
                    for kind in ("", "Async") for name in ("chat", "chat_stream")),
    "ollama": tuple(("ollama._client", f"{kind}Client.chat", _CHAT) for kind in ("", "Async")),
    "litellm": (("litellm", "completion", _CHAT), ("litellm", "acompletion", _CHAT)),
}  # fmt: skip

# How OpenTelemetry calls who answers, where it is not the library's own name.
_PROVIDERS = {"google-genai": "gcp.gen_ai", "mistralai": "mistral_ai"}

UnderWay = Callable[[Shape, dict[str, Any]], AbstractContextManager[None]]
# Lets a call pass, or raises: told who answers, the arguments of the call, and its prompt.
Gate = Callable[[str, Mapping[str, Any], object], "Reservation | None"]

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
        gate: asked before each call.
        bridge: where the spans of the calls go.
    """

    def __init__(self, library: str, gate: Gate, bridge: Bridge) -> None:
        self._library = library
        self._gate = gate
        self._bridge = bridge
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
                guarded = guard(found, shape, inspect.isclass(owner), self._under_way)
                setattr(owner, name, guarded)
                self._placed.append((owner, name, found, guarded))

    def _ask(self, arguments: Mapping[str, Any], prompt: object) -> Reservation | None:
        provider = _PROVIDERS.get(self._library, self._library)
        if provider == "litellm":  # its models are named with who answers
            provider, _, model = str(arguments.get("model")).rpartition("/")
            arguments = {**arguments, "model": model}
        return self._gate(provider, arguments, prompt)

    @contextmanager
    def _under_way(self, shape: Shape, kwargs: dict[str, Any]) -> Iterator[None]:
        """Makes a call the current one, if it may be made."""
        for name in shape.names:
            if name in kwargs:
                kwargs[name] = listed(kwargs[name])
        outer = _current.get()
        call = Call(shape, shape.taken(kwargs))
        if outer is None:
            call.reservation = self._ask(kwargs, call.prompt())
        else:  # what a function of a library does by another one is one call, and counted together
            call.attempts = outer.attempts
        is_free = True
        try:
            with bound(_current, call), self._bridge.uncovered():
                yield
            is_free = False
        finally:
            if not call.is_claimed and not self._bridge.adopt(call):
                call.settle(None, is_free)

    def remove(self) -> None:
        """Takes them away. One that something else has been put around since lets everything pass."""
        for owner, name, found, guarded in reversed(self._placed):
            guarded.__agentops_off__ = True
            if inspect.getattr_static(owner, name, None) is guarded:
                setattr(owner, name, found)
        self._placed.clear()


def guard(function: Any, shape: Shape, is_method: bool, under_way: UnderWay) -> Callable[..., Any]:
    """A function that notes how it is called. What it returns, and what it raises, is the function's own.

    Args:
        function: as it stands in its class or module; what an instrumentor has made of it is no plain function, and
            wants to be bound as one gets it from an instance.
        shape: where its prompt is.
        is_method: whether it stands in a class.
        under_way: surrounds each call, and may refuse it.
    """

    def call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if is_method:
            return function.__get__(args[0], type(args[0]))(*args[1:], **kwargs)
        return function(*args, **kwargs)

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if guarded.__agentops_off__:  # type: ignore[attr-defined]
            return call(args, kwargs)
        with under_way(shape, kwargs):
            return call(args, kwargs)

    @functools.wraps(function)
    async def guarded_async(*args: Any, **kwargs: Any) -> Any:
        if guarded_async.__agentops_off__:  # type: ignore[attr-defined]
            return await call(args, kwargs)
        with under_way(shape, kwargs):
            return await call(args, kwargs)

    is_async = inspect.iscoroutinefunction(inspect.unwrap(function))
    made: Callable[..., Any] = guarded_async if is_async else guarded
    made.__agentops_off__ = False  # type: ignore[attr-defined]
    return made


def listed(given: Any) -> Any:
    """What can be read only once, as a list; everything else as it is."""
    return list(given) if isinstance(given, Iterator) else given
