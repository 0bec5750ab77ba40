"""Programs that end with their test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.reliability.tools.crash import Program
from tests.sync.conftest import api, machine, machines

__all__ = ["Spawn", "api", "machine", "machines", "spawn"]  # the fixtures of the uploader's rows are those of its tests

Spawn = Callable[..., Program]


@pytest.fixture
def spawn(project: Path) -> Iterator[Spawn]:
    """Starts programs in the project's folder, and ends them with the test."""
    programs: list[Program] = []

    def start(source: str, *args: object, **how: Any) -> Program:
        programs.append(Program(source, *args, **how))
        return programs[-1]

    yield start
    for program in programs:
        program.close()
