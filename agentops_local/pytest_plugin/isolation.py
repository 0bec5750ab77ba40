"""A client as if the process had just begun, recording to one database and no other; afterwards all is as it was.

The client stays the same object, whoever holds it: what it knows is taken out of it and put back. Its hooks at the exit
and at forks, which cannot be taken back, are made once a process and not with every test.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from agentops_local import context, faults
from agentops_local.client import Client
from agentops_local.config import SESSION_VARIABLE, Configuration
from agentops_local.credentials import SAVE_VARIABLE
from agentops_local.log import logger
from agentops_local.session import Session, _entered
from agentops_local.store.location import VARIABLE

# What would lead a recording elsewhere or change it. The keys of AgentOps stay, for the program may read them itself,
# and so does a budget: a test must not be the place where it is no longer kept.
_LEADING = ("AGENTOPS_LOCAL_", "AGENTOPS_SYNC_")
_STAY = ("AGENTOPS_LOCAL_STRICT", "AGENTOPS_LOCAL_BUDGET")

_VARIABLES: tuple[ContextVar[Any], ...] = (
    context.session, context.agent_id, context.event_id, context.frame, _entered,
)  # fmt: skip
_FRESH: tuple[object, ...] = (None, None, None, None, ())

_kept: list[Client] = []  # the client of earlier tests, where the program has none


class Pinned(Configuration):
    """The settings of a program under test: wherever it means to record, it records here."""

    def __init__(self, path: Path) -> None:
        vars(self)["db"] = path
        super().__init__()

    def __setattr__(self, name: str, value: object) -> None:
        if name != "db":
            super().__setattr__(name, value)


@contextmanager
def isolated(path: Path, session_id: str, settings: Mapping[str, Any]) -> Iterator[Client]:
    """A block in which this process, and those it starts, record to a database and take part in its session.

    Args:
        settings: as `Configuration.configure` takes them.

    Raises:
        WrongUse: for a setting that cannot be accepted.
    """
    with _environment(path, session_id), _surroundings(), _client(path) as client:
        client.config.configure(client, **settings)
        client.config.auto_start_session = False  # the session is there; it is joined with the first event
        client.initialize()
        client.config.auto_start_session = True
        yield client


@contextmanager
def _environment(path: Path, session_id: str) -> Iterator[None]:
    before = _settings()
    for name in before:
        if name.startswith(_LEADING) and name not in _STAY:
            del os.environ[name]
    # A key that the program gives to init() is not to be kept among the user's.
    os.environ.update({VARIABLE: str(path), SESSION_VARIABLE: session_id, SAVE_VARIABLE: "0"})
    try:
        yield
    finally:
        for name in _settings():
            del os.environ[name]
        os.environ.update(before)


def _settings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("AGENTOPS_")}


@contextmanager
def _surroundings() -> Iterator[None]:
    """The context variables, the names of agents, the faults that were counted, the level of the log."""
    values = [variable.get() for variable in _VARIABLES]
    names, counts, level = dict(context.agent_names), dict(faults.counts), logger.level
    _set(_FRESH, {}, {}, level)
    try:
        yield
    finally:
        _set(tuple(values), names, counts, level)


def _set(values: tuple[object, ...], names: dict[str, str], counts: dict[str, int], level: int) -> None:
    for variable, value in zip(_VARIABLES, values, strict=True):
        variable.set(value)
    context.agent_names.clear()
    context.agent_names.update(names)
    faults.counts.clear()
    faults.counts.update(counts)
    logger.setLevel(level)


@contextmanager
def _client(path: Path) -> Iterator[Client]:
    had = Client._instance
    if had is None and _kept:
        Client._instance = _kept[0]
    client = Client()
    if had is None and not _kept:
        _kept.append(client)
    saved = dict(vars(client))
    was_on = client._switch is not None and client._switch._is_on
    client._begin()
    # What is patched into libraries stays with the client: it asks this very object for the session.
    client._exits, client._switch, client._left = saved["_exits"], saved["_switch"], set(saved["_left"])
    client.config = Pinned(path)
    try:
        yield client
    finally:
        _leave(client)
        saved["_switch"] = switch = client._switch
        if switch is not None:
            switch.on() if was_on else switch.off()
        vars(client).clear()
        vars(client).update(saved)
        Client._instance = had


def _leave(client: Client) -> None:
    for session in client._sessions:
        session.is_running = False
    for recorder in client._recorders.values():
        with faults.contained("closing the database of a test"):
            recorder.close()


def live_sessions(client: Client) -> list[Session]:
    """The sessions that the program has begun or joined and not ended."""
    return [session for session in client._sessions if session.is_running]
