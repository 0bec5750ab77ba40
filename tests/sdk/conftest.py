"""A client of its own for each test, and eyes to see what was recorded."""

from __future__ import annotations

import atexit
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentops_local import context, faults
from agentops_local.client import Client
from tests.sdk.records import Programs, Records


def forget_client() -> None:
    """Ends what the process knows of sessions, as if the library had just been imported."""
    client, Client._instance = Client._instance, None
    if client is not None:
        for session in client._sessions:
            session.is_running = False
        for recorder in client._recorders.values():
            recorder.close()
        atexit.unregister(client._at_exit)
    context.session.set(None)
    context.agent_id.set(None)
    context.event_id.set(None)
    context.agent_names.clear()
    faults.counts.clear()
    logging.getLogger("agentops_local").setLevel(logging.NOTSET)


@pytest.fixture(autouse=True)
def fresh_client(project: Path) -> Iterator[None]:
    """No session, no setting and no open database of another test, in an empty project."""
    forget_client()
    yield
    forget_client()


@pytest.fixture
def records(project: Path) -> Records:
    """What the project's database holds."""
    return Records(project / ".agentops" / "agentops.db")


@pytest.fixture
def programs(project: Path) -> Iterator[Programs]:
    """Programs of the project."""
    programs = Programs(project)
    yield programs
    programs.close()
