"""The decorators: a function's calls recorded as actions or tool calls.

`@record_action("name")`, `@record_tool("name")` on functions, coroutines, generators, async generators, methods and
classes (on a class: the calls of its instances if it defines `__call__`, else its construction). The call's arguments
are encoded before it runs, for it may change them; its result after. A call that raises is recorded with the error that
it raised, and the error goes on unchanged.
"""

from __future__ import annotations

import inspect
import time
import traceback
from collections.abc import Callable
from contextvars import Token
from typing import Any, TypeVar
from uuid import UUID

from agentops_local import clock, context, faults
from agentops_local.agent import track_agent  # the classic module holds it too
from agentops_local.around import initializer, wrap
from agentops_local.client import Client
from agentops_local.event import ActionEvent, ErrorEvent, Event, ToolEvent
from agentops_local.log import logger
from agentops_local.session import Session

__all__ = ["record_action", "record_function", "record_tool", "track_agent"]

F = TypeVar("F", bound=Callable[..., Any])
Make = Callable[[str, str], Event]  # of a name and the time it begins

_MOST_ITEMS = 1000  # of a generator's items, kept for the event


def record_action(event_name: str | None = None) -> Callable[[F], F]:
    """Records each call as an action.

    Args:
        event_name: the action's type; the function's name if not given.
    """
    return _decorator(event_name, lambda name, begun: ActionEvent(action_type=name, init_timestamp=begun))


def record_tool(tool_name: str | None = None) -> Callable[[F], F]:
    """Records each call as a tool call.

    Args:
        tool_name: the tool's name; the function's name if not given.
    """
    return _decorator(tool_name, lambda name, begun: ToolEvent(name=name, init_timestamp=begun))


def record_function(event_name: str | None = None) -> Callable[[F], F]:
    """The old name of `record_action`."""
    logger.warning("agentops_local: record_function is deprecated; use record_action or record_tool")
    return record_action(event_name)


def _decorator(name: str | None, make: Make) -> Callable[[F], F]:
    if callable(name):  # used without parentheses
        return _decorator(None, make)(name)

    def decorate(target: F) -> F:
        label = str(name or getattr(target, "__name__", type(target).__name__))
        if inspect.isclass(target):
            return _decorate_class(target, label, make)  # type: ignore[return-value]  # the same class
        if isinstance(target, (staticmethod, classmethod)):
            return type(target)(decorate(target.__func__))
        return _recorded(target, label, make)  # type: ignore[return-value]  # it is called alike

    return decorate


def _decorate_class(cls: type, label: str, make: Make) -> type:
    if "__call__" in vars(cls):
        cls.__call__ = _recorded(cls.__call__, label, make)  # type: ignore[method-assign]  # as below
    else:
        cls.__init__ = _recorded(initializer(cls), label, make)  # type: ignore[misc]  # that is what it is for
    return cls


def _recorded(func: Callable[..., Any], label: str, make: Make) -> Callable[..., Any]:
    arguments = _Arguments(func)

    def begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Call | None:
        session = kwargs.get("session")
        # What is no session of ours (one of requests, say) is the function's own.
        if not arguments.has_session and (session is None or isinstance(session, Session)):
            kwargs.pop("session", None)
        try:
            if not isinstance(session, Session):
                session = Client().active_session()
            if session is None or not session.is_running:
                return None
            params = session.encode(arguments.named(args, kwargs))
            begun_us = clock.now_us()
            return _Call(session, make(label, clock.to_iso(begun_us)), params, begun_us)
        except Exception as fault:  # noqa: BLE001 - a border: the call itself goes on
            faults.report(fault, f"recording {label}()")
            return None

    return wrap(func, begin)


class _Arguments:
    """The names of a function's parameters. `inspect.Signature.bind` costs as much as a commit, so the usual call is
    named here: positional arguments by order, then keywords, then defaults."""

    def __init__(self, func: Callable[..., Any]) -> None:
        self._names: list[str] = []
        self._rest: str | None = None
        self._defaults: dict[str, Any] = {}
        try:
            parameters = list(inspect.signature(func).parameters.values())
        except (TypeError, ValueError):  # built-in functions have none
            parameters = []
            self._rest = "args"
        for parameter in parameters:
            if parameter.kind is parameter.VAR_POSITIONAL:
                self._rest = parameter.name
            elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
                self._names.append(parameter.name)
            if parameter.default is not parameter.empty:
                self._defaults[parameter.name] = parameter.default
        self._skip_first = bool(self._names) and self._names[0] in ("self", "cls")
        self.has_session = any(parameter.name == "session" for parameter in parameters)

    def named(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments of a call by name; `self` and `cls`, and the session, are left out."""
        named = dict(zip(self._names, args, strict=False))
        if kwargs or self._defaults:
            named = {**self._defaults, **named, **kwargs}
        if self._rest is not None:
            named[self._rest] = args[len(self._names) :]
        if self._skip_first:
            named.pop(self._names[0], None)
        if self.has_session:
            named.pop("session", None)
        return named


class _Call:
    """One call of a decorated function, from its beginning to its event."""

    __slots__ = ("_begun", "_event", "_init_us", "_items", "_session", "_token")

    def __init__(self, session: Session, event: Event, params: object, begun_us: int) -> None:
        self._session = session
        self._event = event
        self._items: list[object] | None = None
        self._token: Token[UUID | None] | None = None
        event.params = params
        self._init_us = begun_us
        self._begun = time.perf_counter_ns()

    def enter(self) -> None:
        self._token = context.event_id.set(self._event.id)

    def leave(self) -> None:
        if self._token is not None:
            try:
                context.event_id.reset(self._token)
            except ValueError:  # a generator finished by the garbage collector, in another context
                pass

    def item(self, value: object) -> None:
        if self._items is None:
            self._items = []
        if len(self._items) < _MOST_ITEMS:
            self._items.append(value)
        elif len(self._items) == _MOST_ITEMS:
            self._items.append(f"…[cut: {_MOST_ITEMS} items kept, there are more]")

    def done(self, result: object) -> None:
        event = self._event
        event.returns = result if self._items is None else self._items
        self._end()
        self._session.record(event)

    def failed(self, error: BaseException) -> None:
        self._event.returns = self._items
        self._end()
        self._session.record(self._event)
        if not isinstance(error, (GeneratorExit, SystemExit)):  # these end a call, but not because it failed
            with faults.contained("recording an error"):
                # Without our own frame, which is the first.
                trace = error.__traceback__.tb_next if error.__traceback__ is not None else None
                logs = "".join(traceback.format_exception(type(error), error, trace))
                self._session.record(ErrorEvent(trigger_event=self._event, exception=error, logs=logs))

    def _end(self) -> None:
        # By the monotonic clock: the wall clock may be set while the call runs.
        self._event.end_timestamp = clock.to_iso(self._init_us + (time.perf_counter_ns() - self._begun) // 1000)
