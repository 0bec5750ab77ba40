"""Agents: `track_agent` gives a class or a function an identity, and its events belong to it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextvars import Token
from typing import Any, TypeVar
from uuid import UUID

from agentops_local import context, faults
from agentops_local.around import wrap
from agentops_local.client import Client
from agentops_local.clock import new_id
from agentops_local.log import logger
from agentops_local.session import Session

T = TypeVar("T")

_TRACKED = "_agentops_local_tracked"


def track_agent(name: str | None = None) -> Callable[[T], T]:
    """Makes a class's instances, or a function, an agent.

    On a class: every instance gets `agentops_agent_id` (UUID) and `agentops_agent_name`; its constructor takes the
    extra keywords `agentops_name` and `session`. The name is the first of `agentops_name`, `name`, `self.role`, the
    name of the class. On a function: the function carries both attributes. Events recorded while a method (or the
    function) runs belong to the agent, in whatever thread or task it runs; inside an agent called from it, to that one.

    Args:
        name: the agent's name.
    """

    def decorate(thing: T) -> T:
        if inspect.isclass(thing):
            _track_class(thing, name)
            return thing
        if callable(thing):
            return _track_function(thing, name)  # type: ignore[return-value]  # it is called alike
        logger.warning("agentops_local: track_agent takes a class or a function, not %r", thing)
        return thing

    return decorate


class _Running:
    """Inside an agent's method, the agent is the one in the context."""

    __slots__ = ("_agent_id", "_token")

    def __init__(self, agent_id: UUID) -> None:
        self._agent_id = agent_id
        self._token: Token[UUID | None] | None = None

    def enter(self) -> None:
        self._token = context.agent_id.set(self._agent_id)

    def leave(self) -> None:
        if self._token is not None:
            try:
                context.agent_id.reset(self._token)
            except ValueError:  # a generator finished by the garbage collector, in another context
                pass

    def item(self, value: object) -> None: ...

    def done(self, result: object) -> None: ...

    def failed(self, error: BaseException) -> None: ...


def _track_function(func: Callable[..., Any], name: str | None) -> Callable[..., Any]:
    agent_id = new_id()
    wrapper = wrap(func, lambda _args, _kwargs: _Running(agent_id))
    wrapper.agentops_agent_id = agent_id  # type: ignore[attr-defined]
    wrapper.agentops_agent_name = name or func.__name__  # type: ignore[attr-defined]
    _introduce(agent_id, name or func.__name__, None)
    return wrapper


def _track_class(cls: type, name: str | None) -> None:
    original: Callable[..., None] = cls.__init__  # type: ignore[misc]  # a class's own, called with the instance

    @functools.wraps(original)
    def constructor(self: Any, *args: Any, **kwargs: Any) -> None:
        given = kwargs.pop("agentops_name", None)
        session = kwargs.get("session") if _takes_session else kwargs.pop("session", None)
        known = getattr(self, "agentops_agent_id", None)
        agent_id = known if isinstance(known, UUID) else new_id()
        if known is None:
            _set(self, "agentops_agent_id", agent_id)
            _wrap_methods(type(self))
        with context.bound(context.agent_id, agent_id):
            original(self, *args, **kwargs)
        if known is None:  # else a subclass's constructor, itself tracked, is around this one and names the agent
            with faults.contained("track_agent"):
                called = given or name or getattr(self, "role", None) or type(self).__name__
                _set(self, "agentops_agent_name", str(called))
                _introduce(agent_id, str(called), session if isinstance(session, Session) else None)

    try:
        _takes_session = "session" in inspect.signature(original).parameters
    except (TypeError, ValueError):
        _takes_session = False
    cls.__init__ = constructor  # type: ignore[misc]  # that is what it is for


def _set(instance: Any, attribute: str, value: object) -> None:
    """Sets an attribute on any object: pydantic models and frozen dataclasses refuse the plain way."""
    try:
        object.__setattr__(instance, attribute, value)
    except (AttributeError, TypeError):
        setattr(instance, attribute, value)


def _introduce(agent_id: UUID, name: str, session: Session | None) -> None:
    """Makes an agent known to its session; one made before there is a session becomes known with its first event."""
    context.agent_names[str(agent_id)] = name
    session = session or Client().active_session()
    if session is not None:
        session.create_agent(name, agent_id)


def _wrap_methods(cls: type) -> None:
    """Lets the methods of a class run as the agent that they are called on; once for each class."""
    if _TRACKED in vars(cls):
        return
    setattr(cls, _TRACKED, True)
    for attribute in dir(cls):
        if attribute.startswith("__") and attribute != "__call__":
            continue
        method = inspect.getattr_static(cls, attribute)
        if inspect.isfunction(method) and not hasattr(method, _TRACKED):
            wrapper = wrap(method, _running_self)
            setattr(wrapper, _TRACKED, True)
            setattr(cls, attribute, wrapper)


def _running_self(args: tuple[Any, ...], _kwargs: dict[str, Any]) -> _Running | None:
    agent_id = getattr(args[0], "agentops_agent_id", None) if args else None
    return _Running(agent_id) if isinstance(agent_id, UUID) else None
