"""What surrounds the running code: its session, its agent, the event in the course of which it runs.

Context variables follow tasks and, where the caller copies the context, threads; nothing here walks the stack.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

if TYPE_CHECKING:
    from agentops_local.session import Session

T = TypeVar("T")


@dataclass
class Frame:
    """The call of a model as a framework's handler sees it, and means to record it.

    Attributes:
        parent: the event to which the call belongs.
        nearer: events of what records the same call from nearer; then the handler does not.
    """

    parent: UUID | None
    nearer: list[UUID] = field(default_factory=list)


session: ContextVar[Session | None] = ContextVar("agentops_local_session", default=None)
agent_id: ContextVar[UUID | None] = ContextVar("agentops_local_agent_id", default=None)
event_id: ContextVar[UUID | None] = ContextVar("agentops_local_event_id", default=None)
frame: ContextVar[Frame | None] = ContextVar("agentops_local_frame", default=None)

# Names of the agents made in this process, whatever the session: an agent may be made before there is one.
agent_names: dict[str, str] = {}
_NAMES = 10_000  # at most: a server that makes an agent for each request must not grow


def name_agent(agent_id: str, name: str) -> None:
    """Keeps the name of an agent, and forgets the one made longest ago if there are too many."""
    agent_names[agent_id] = name
    if len(agent_names) > _NAMES:
        try:
            del agent_names[next(iter(agent_names))]
        except (KeyError, RuntimeError):  # another thread does the same
            pass


@contextmanager
def bound(variable: ContextVar[T], value: T) -> Iterator[None]:
    """Gives a variable a value for the length of a block."""
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)
