"""Programs that end with their test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.reliability.tools.crash import Program
from tests.sync.conftest import api, machine, machines

__all__ = ["Spawn", "api", "machine", "machines", "spawn"]  # the fixtures of the uploader's rows are those of its tests

Spawn = Callable[..., Program]


@pytest.fixture
def spawn(project: Path) -> Iterator[Spawn]:
    """Starts programs in the project's folder, and ends them with the test."""
    programs: list[Program] = []

    def start(source: str, *args: object, environment: dict[str, str] | None = None) -> Program:
        programs.append(Program(source, *args, environment=environment))
        return programs[-1]

    yield start
    for program in programs:
        program.close()
