"""Fixtures of the tests whose programs make LLM calls."""

from __future__ import annotations

from pathlib import Path

import pytest

import agentops_local
from agentops_local.session import Session
from tests.sdk.records import Records


@pytest.fixture
def records(project: Path) -> Records:
    """What the project's database holds."""
    return Records(project / ".agentops" / "agentops.db")


@pytest.fixture
def session(project: Path) -> Session:
    """A session in which LLM calls record themselves."""
    started = agentops_local.init()
    assert started is not None
    return started
