"""The package's functions: sugar over the client, with the classic SDK's signatures."""

from __future__ import annotations

import os
from collections.abc import Iterable
from decimal import Decimal
from uuid import UUID

from agentops_local.client import Client
from agentops_local.event import ErrorEvent, Event
from agentops_local.session import Session


def init(
    api_key: str | None = None,
    parent_key: str | None = None,
    endpoint: str | None = None,
    max_wait_time: int | None = None,
    max_queue_size: int | None = None,
    tags: list[str] | None = None,
    default_tags: list[str] | None = None,
    instrument_llm_calls: bool | None = None,
    auto_start_session: bool | None = None,
    inherited_session_id: str | UUID | None = None,
    skip_auto_end_session: bool | None = None,
    *,
    db: str | os.PathLike[str] | None = None,
    durability: str | None = None,
    redact: object = None,
) -> Session | None:
    """Begins to record. No key, account or network is needed.

    Args:
        api_key, parent_key, endpoint: for a later upload.
        max_wait_time, max_queue_size: accepted; nothing is queued.
        tags: the old name of `default_tags`.
        default_tags: given to every session.
        instrument_llm_calls: whether LLM calls are recorded by themselves.
        auto_start_session: whether a session is started now; default True.
        inherited_session_id: take part in this session of another process instead.
        skip_auto_end_session: ignore a framework's wish to end the session.
        db: the database file; default `.agentops/agentops.db` of the project.
        durability: "process" (an event survives the end of the process; default) or "power" (a power cut as well).
        redact: what must not be stored: a callable, key names, compiled patterns, or "secrets".

    Returns:
        The session; None with `auto_start_session=False`. Called again it returns the session that is live.
    """
    client = Client()
    client.configure(
        api_key=api_key,
        parent_key=parent_key,
        endpoint=endpoint,
        max_wait_time=max_wait_time,
        max_queue_size=max_queue_size,
        default_tags=default_tags if default_tags is not None else tags,
        instrument_llm_calls=instrument_llm_calls,
        auto_start_session=auto_start_session,
        skip_auto_end_session=skip_auto_end_session,
        db=db,
        durability=durability,
        redact=redact,
    )
    return client.initialize(inherited_session_id, default_tags if default_tags is not None else tags)


def configure(
    api_key: str | None = None,
    parent_key: str | None = None,
    endpoint: str | None = None,
    max_wait_time: int | None = None,
    max_queue_size: int | None = None,
    default_tags: list[str] | None = None,
    instrument_llm_calls: bool | None = None,
    auto_start_session: bool | None = None,
    skip_auto_end_session: bool | None = None,
    *,
    db: str | os.PathLike[str] | None = None,
    durability: str | None = None,
    redact: object = None,
) -> None:
    """Sets what is given, as `init` does, and starts nothing."""
    Client().configure(
        api_key=api_key,
        parent_key=parent_key,
        endpoint=endpoint,
        max_wait_time=max_wait_time,
        max_queue_size=max_queue_size,
        default_tags=default_tags,
        instrument_llm_calls=instrument_llm_calls,
        auto_start_session=auto_start_session,
        skip_auto_end_session=skip_auto_end_session,
        db=db,
        durability=durability,
        redact=redact,
    )


def start_session(tags: list[str] | None = None, inherited_session_id: str | UUID | None = None) -> Session | None:
    """Starts a session, or takes part in that of another process; None before `init()`."""
    return Client().start_session(tags, inherited_session_id)


def end_session(
    end_state: str = "Indeterminate",
    end_state_reason: str | None = None,
    video: str | None = None,
    is_auto_end: bool | None = False,
) -> str | None:
    """Ends the session with 'Success', 'Fail' (or 'Failure') or 'Indeterminate'; returns its cost in US dollars."""
    return Client().end_session(end_state, end_state_reason, video, is_auto_end)


def record(event: Event | ErrorEvent) -> None:
    """Records an event; when this returns it is committed."""
    Client().record(event)


def add_tags(tags: Iterable[str] | str) -> None:
    """Adds tags to the session; a bare text counts as one."""
    Client().add_tags(tags)


def set_tags(tags: Iterable[str] | str) -> None:
    """Replaces the tags of the session."""
    Client().set_tags(tags)


def create_agent(name: str, agent_id: str | UUID | None = None) -> str | None:
    """Makes an agent known to the session; returns its id."""
    return Client().create_agent(name, agent_id)


def budget(usd: float | Decimal | str | None, scope: str = "session", unpriced: str = "refuse") -> None:
    """Sets a limit that all processes of the database keep. Before each LLM call that records itself, what it may
    cost is held against what is spent and what calls under way may cost; one that does not fit is not made.

    Args:
        usd: US dollars; None ends the limit.
        scope: 'session' (the active one), 'project' (everything in the database) or 'day' (each day of UTC).
        unpriced: what becomes of a call whose price is not known: 'refuse', or 'allow'.

    Raises:
        WrongUse: (a ValueError) for an amount, scope or policy that is none, or if there is no session to limit.
    """
    Client().budget(usd, scope, unpriced)


def get_session(session_id: str | UUID) -> Session | None:
    """The live session of this process with this id, or None."""
    return Client().get_session(session_id)


def get_api_key() -> str | None:
    """The API key in force."""
    return Client().api_key


def set_api_key(api_key: str) -> None:
    """Sets the API key under which later sessions are uploaded."""
    Client().configure(api_key=api_key)


def set_parent_key(parent_key: str) -> None:
    """Sets the parent key of later sessions."""
    Client().configure(parent_key=parent_key)


def stop_instrumenting() -> None:
    """Ends the recording of LLM calls that nobody records by hand."""
    Client().stop_instrumenting()


def end_all_sessions() -> None:
    """Ends every live session of this process as Indeterminate."""
    Client().end_all_sessions()
