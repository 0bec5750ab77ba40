"""A project for each test, and eyes to see what was recorded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sdk.records import Programs, Records


@pytest.fixture(autouse=True)
def in_a_project(project: Path) -> None:
    """Every test of the SDK is in an empty project."""


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
