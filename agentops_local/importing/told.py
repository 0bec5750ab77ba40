"""A session as it is told by whatever is taken in: the values of its columns, without the numbers that its rows will
have."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeAlias

from agentops_local.analytics.ratings import Said
from agentops_local.enums import EndState
from agentops_local.importing.parsing import Bad


class Nodes(Protocol):
    """The tree of messages of the database into which something is taken."""

    def child(self, parent: int | None, raw: bytes) -> int:
        """The node of a message after another, found or written; None: it is the first."""


Messages = Callable[[Nodes], "tuple[int | None, int | None]"]


class Owner(NamedTuple):
    """A process that contributed to a session; pid 0: none of a machine that can be known."""

    pid: int
    started: str
    boot: str
    host: str | None
    program: str | None
    start_us: int
    end_us: int | None
    exit: str | None


class Price(NamedTuple):
    """A row of the price book."""

    provider: str
    model: str
    from_us: int
    until_us: int | None
    rates: str | None
    kind: str
    source: str
    looked_us: int
    ended_us: int | None


class Environment(NamedTuple):
    """A host environment, known by its fingerprint."""

    fingerprint: str
    host_env: str


@dataclass
class Session:
    """A session.

    Attributes:
        owners: by what events call them.
        agents: the id and name of each, the default agent first.
        scores: what was said of it and its events.
    """

    id: str
    init_us: int
    end_us: int | None = None
    auto_ended: int = 0
    end_state: str = EndState.INDETERMINATE.value
    end_state_reason: str | None = None
    tags: list[str] = field(default_factory=list)
    video: str | None = None
    environment: Environment | None = None
    moment: str | None = None
    key_hash: str | None = None
    parent_key_hash: str | None = None
    joined: int = 0
    owners: dict[int, Owner] = field(default_factory=dict)
    agents: list[tuple[str, str]] = field(default_factory=list)
    scores: list[Said] = field(default_factory=list)


@dataclass
class Event:
    """An event.

    Attributes:
        columns: plain values, by the names of their columns; None is as good as nothing.
        payloads: JSON, by the names of their columns.
        messages: finds or writes its messages, and tells the last of the prompt and the completion; None: no LLM call.
        owner: as in `Session.owners`; one that is not there is the first.
        agent: the id of its agent.
        agent_name: of an agent that the session has not named.
    """

    id: bytes
    kind: str
    init_us: int
    columns: Mapping[str, Any] = field(default_factory=dict)
    payloads: Mapping[str, bytes] = field(default_factory=dict)
    messages: Messages | None = None
    owner: int = 0
    agent: str | None = None
    agent_name: str | None = None
    price: Price | None = None


def said(prompt: Sequence[bytes], completion: bytes | None) -> Messages:
    """The messages of a call, each as JSON: those of the prompt in order, and what was said then."""

    def find(nodes: Nodes) -> tuple[int | None, int | None]:
        last: int | None = None
        for raw in prompt:
            last = nodes.child(last, raw)
        return last, None if completion is None else nodes.child(last, completion)

    return find


class Whole(NamedTuple):
    """A session with all that is told of it.

    Attributes:
        wrong: what was told and cannot be taken in; the session is partial then.
    """

    session: Session
    events: Sequence[Event]
    wrong: Sequence[Bad] = ()


Told: TypeAlias = "Whole | Bad"
