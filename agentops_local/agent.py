"""Agents: `track_agent` gives a class or a function an identity, and its events belong to it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

from agentops_local import context, faults
from agentops_local.around import Bound, initializer, wrap
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
    if callable(name):  # used without parentheses
        return track_agent()(name)

    def decorate(thing: T) -> T:
        if inspect.isclass(thing):
            return _track_class(thing, name)  # type: ignore[return-value]  # it, or one like it
        if callable(thing):
            return _track_function(thing, name)  # type: ignore[return-value]  # it is called alike
        logger.warning("agentops_local: track_agent takes a class or a function, not %r", thing)
        return thing

    return decorate


def _track_function(func: Callable[..., Any], name: str | None) -> Callable[..., Any]:
    agent_id = new_id()
    called = str(name or getattr(func, "__name__", type(func).__name__))
    wrapper = wrap(func, lambda _args, _kwargs: Bound(context.agent_id, agent_id))
    wrapper.agentops_agent_id = agent_id  # type: ignore[attr-defined]
    wrapper.agentops_agent_name = called  # type: ignore[attr-defined]
    _introduce(agent_id, called, None)
    return wrapper


def _track_class(cls: type, name: str | None) -> type:
    if not cls.__dictoffset__:
        cls = _with_room(cls)
    original = initializer(cls)

    @functools.wraps(original)
    def constructor(self: Any, *args: Any, **kwargs: Any) -> None:
        given = kwargs.pop("agentops_name", None)
        session = kwargs.get("session")
        if not _takes_session and (session is None or isinstance(session, Session)):
            kwargs.pop("session", None)
        known = _identity(self)  # of a subclass's constructor around this one, itself tracked: that names the agent
        agent_id = known or new_id()
        if known is None:
            with faults.contained("track_agent"):
                context.name_agent(str(agent_id), str(given or name or type(self).__name__))
                object.__setattr__(self, "agentops_agent_id", agent_id)
                _wrap_methods(type(self))
        with context.bound(context.agent_id, agent_id):
            original(self, *args, **kwargs)
        if known is None:
            with faults.contained("track_agent"):
                called = str(given or name or _role(self) or type(self).__name__)
                # Once more: the constructor of a pydantic model sets all its attributes anew.
                object.__setattr__(self, "agentops_agent_id", agent_id)
                object.__setattr__(self, "agentops_agent_name", called)
                _introduce(agent_id, called, session if isinstance(session, Session) else None)

    try:
        _takes_session = "session" in inspect.signature(original).parameters
    except (TypeError, ValueError):
        _takes_session = False
    cls.__init__ = constructor  # type: ignore[misc]  # that is what it is for
    return cls


def _with_room(cls: type) -> type:
    """A class whose instances take no further attributes (__slots__), as one whose instances do."""
    return type(cls)(
        cls.__name__,
        (cls,),
        {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__},
    )


def _identity(instance: object) -> UUID | None:
    """The agent that an object is. Not asked for with getattr: a class's own `__getattr__` may rely on a constructor
    that has not run yet."""
    try:
        found = object.__getattribute__(instance, "agentops_agent_id")
    except AttributeError:
        return None
    return found if isinstance(found, UUID) else None


def _role(instance: object) -> object:
    try:
        return getattr(instance, "role", None)
    except Exception:  # noqa: BLE001 - a property of the user's: that it fails here is no fault of ours
        return None


def _introduce(agent_id: UUID, name: str, session: Session | None) -> None:
    """Makes an agent known to its session; one made before there is a session becomes known with its first event."""
    context.name_agent(str(agent_id), name)
    if session is None and Client._instance is not None:  # else it is too early to read the settings
        session = Client().active_session()
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
        method = inspect.getattr_static(cls, attribute, None)
        if inspect.isfunction(method) and not hasattr(method, _TRACKED):
            wrapper = wrap(method, _running_self)
            setattr(wrapper, _TRACKED, True)
            setattr(cls, attribute, wrapper)


def _running_self(args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Bound[UUID | None] | None:
    agent_id = _identity(args[0]) if args else None
    return None if agent_id is None else Bound(context.agent_id, agent_id)
