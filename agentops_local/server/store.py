"""What the collector asks of a store. Another kind of database can serve it by having these methods.

What every store promises:

- A method that writes returns after its commit, which survives the loss of power, in one transaction a call: all of
  it is stored or nothing. If that is impossible now it raises `StoreUnavailable`, and nothing of the call is written
  later.
- Everything is idempotent by id. Ids of events and agents are unique within their session, ids of sessions within their
  project.
- A project sees its own rows only.
- The methods are called from many threads. The collector calls those that write one at a time for each project; other
  processes may write as well.
- Texts hold no NUL and no lone surrogates, JSON is strict. Times are microseconds since 1970-01-01 UTC, amounts of
  money integers of 1e-12 US dollars, as in schema.sql.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Literal, Protocol
from uuid import UUID

from agentops_local.errors import AgentOpsLocalError
from agentops_local.exporting.v2 import SessionRows
from agentops_local.recorder.payload import Encoded

LOCAL = "local"  # the project whose database is the one that is served: what was recorded on this machine


class Unsaid(Enum):
    """A field that a request does not mention, unlike one that it says is null."""

    UNSAID = "unsaid"


UNSAID: Literal[Unsaid.UNSAID] = Unsaid.UNSAID


class StoreUnavailable(AgentOpsLocalError):
    """The store cannot be read or written now; nothing of what was asked is done, or will be."""


class UnknownEvent(Exception):
    """An event that is to be changed is not there.

    Args:
        index: its place in the request.
    """

    def __init__(self, index: int, event_id: UUID) -> None:
        super().__init__(f"event {index}: there is no event {event_id} in this session")
        self.index = index


@dataclass(frozen=True)
class Access:
    """What an API key opens.

    Attributes:
        required: whether any key has ever been registered, so that only registered ones work.
        project: the id of its project, or `LOCAL`; None if it is not registered, or revoked.
        tag: names the key in tokens; 16 hexadecimal digits of its hash.
    """

    required: bool
    project: str | None = None
    tag: str | None = None


@dataclass(frozen=True)
class SessionFields:
    """What a request says of a session.

    Attributes:
        init_us: None if unsaid.
        ends: whether the session has ended with this; `end_us` may be unsaid, then it ended now.
        host: the name of its host.
    """

    init_us: int | None = None
    end_us: int | Unsaid | None = UNSAID
    end_state: str | Unsaid = UNSAID
    end_state_reason: str | Unsaid | None = UNSAID
    tags: Sequence[str] | Unsaid = UNSAID
    video: str | Unsaid | None = UNSAID
    host_env: Mapping[str, object] | Unsaid | None = UNSAID
    ends: bool = False
    host: str | None = None


@dataclass(frozen=True)
class EventFields:
    """An event as a request describes it. A field that does not fit its kind is None.

    Attributes:
        said: the fields that the request mentions, for a change of an event that is there.
        id: its own, or one derived from its content where none was sent.
        init_us: when it began; 0 in a change that does not say so.
        prompt, completion: plain data as it was sent.
        params, returns, logs, screenshot, details: JSON.
        extra: what has no column of its own; plain data, empty if there is nothing.
    """

    id: UUID
    kind: str
    init_us: int
    said: frozenset[str]
    end_us: int | None = None
    agent_id: str | None = None
    parent_id: UUID | None = None
    name: str | None = None
    params: Encoded | None = None
    returns: Encoded | None = None
    logs: Encoded | None = None
    model: str | None = None
    prompt: object = None
    completion: object = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost_pusd: int | None = None
    thread_id: str | None = None
    screenshot: Encoded | None = None
    code: str | None = None
    details: Encoded | None = None
    trigger_id: UUID | None = None
    trigger_kind: str | None = None
    extra: Mapping[str, object] | None = None


@dataclass(frozen=True)
class SessionTotals:
    """What a session amounts to.

    Attributes:
        events: of every kind, errors included.
        cost: US dollars over the priced calls, exactly; None if no call is priced.
    """

    session_id: str
    events: int
    errors: int
    prompt_tokens: int
    completion_tokens: int
    cost: Decimal | None


@dataclass(frozen=True)
class SilentSession:
    """An open session of which nothing late is known.

    Attributes:
        last_us: the last that is known of it.
        mark: where its events stood when it was found; of the store's own making.
    """

    session_id: str
    last_us: int
    mark: int


class Store(Protocol):
    """Where a collector keeps what it is sent. `project` is an id from `Access`, or `LOCAL`.

    Every method may raise StoreUnavailable.
    """

    def access(self, key_hash: bytes | None) -> Access:
        """What a key opens, known by the SHA-256 of its 32 hexadecimal digits; None: no key was shown."""

    def is_revoked(self, tag: str) -> bool:
        """Whether the key that a token was issued for may no longer be used."""

    def check(self) -> None:
        """Does nothing, if the store can be read."""

    def has_session(self, project: str, session_id: str) -> bool:
        """Whether the project has this session."""

    def create_session(self, project: str, session_id: str, fields: SessionFields) -> None:
        """Stores a session. Of one that is there already only what it lacks is filled in, and nothing is erased."""

    def update_session(self, project: str, session_id: str, fields: SessionFields) -> SessionTotals:
        """Replaces what is said and leaves the rest; a session that is gone is there again with it."""

    def name_agent(self, project: str, session_id: str, agent_id: str, name: str | None) -> None:
        """Makes an agent known under a name; one that is known under another is renamed. None: whatever it has."""

    def add_events(self, project: str, session_id: str, events: Sequence[EventFields]) -> None:
        """Stores events; those whose id the session has already stay as they are. An unknown agent is made."""

    def change_events(self, project: str, session_id: str, changes: Sequence[EventFields]) -> None:
        """Replaces, in events that are there, what is said of them.

        Raises:
            UnknownEvent: one is not there; then nothing is changed.
        """

    def totals(self, project: str, session_id: str) -> SessionTotals | None:
        """What a session amounts to; None if the project has no such session."""

    def export(self, project: str, session_id: str, ours: bool = False) -> SessionRows | None:
        """A session with all its rows, as of one moment; None if the project has no such session.

        Args:
            ours: with the columns that v2 does not know.
        """

    def projects(self) -> Sequence[str]:
        """Every project, `LOCAL` among them."""

    def silent_sessions(
        self, project: str, before_us: int, is_silent: Callable[[str], bool]
    ) -> Sequence[SilentSession]:
        """Sessions that clients sent and nobody has ended, of which all that is known lies before a moment. What was
        recorded on this machine is none of them.

        Args:
            is_silent: asked with a session's id, before its events are looked at; False leaves it out.
        """

    def end_silent(self, project: str, sessions: Sequence[SilentSession], reason: str) -> int:
        """Ends sessions by themselves, each with the last that is known of it; not those that somebody has ended or
        brought an event of since they were found. An end that a client tells later replaces this one.

        Args:
            reason: why they end.

        Returns:
            How many have ended.
        """

    def close(self) -> None:
        """Lets go of everything; a later call takes hold of it again."""
