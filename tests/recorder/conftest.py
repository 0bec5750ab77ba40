"""A session being recorded, for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.recorder.taping import Tape
from tests.sdk.records import Programs


@pytest.fixture
def tape(project: Path) -> Iterator[Tape]:
    """A recorder and its session, in the project's database."""
    tape = Tape(project / ".agentops" / "agentops.db")
    yield tape
    tape.recorder.close()


@pytest.fixture
def other(tape: Tape) -> Iterator[Tape]:
    """A second recorder of the same database, with a session of its own and no memory of what the first has written."""
    other = Tape(tape.file)
    yield other
    other.recorder.close()


@pytest.fixture
def programs(project: Path) -> Iterator[Programs]:
    """Programs of the project."""
    programs = Programs(project)
    yield programs
    programs.close()
