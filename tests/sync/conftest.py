"""A server and a machine for each test of the uploader."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.agentops_api import AgentOpsAPI
from tests.recorder.taping import Tape
from tests.sync.driving import Machine

Machines = Callable[..., Machine]


@pytest.fixture
def api() -> Iterator[AgentOpsAPI]:
    """A server as it ought to be: it takes actions too."""
    with AgentOpsAPI(actions_work=True) as running:
        yield running


@pytest.fixture
def machines(tmp_path: Path, api: AgentOpsAPI) -> Iterator[Machines]:
    """Makes machines, each with a folder of its own."""
    with ExitStack() as stack:

        def make(name: str = "machine", **settings: Any) -> Machine:
            machine = Machine(tmp_path / name, api, **settings)
            stack.callback(machine.close)
            return machine

        yield make


@pytest.fixture
def machine(machines: Machines) -> Machine:
    """A machine."""
    return machines()


@pytest.fixture
def tape(project: Path) -> Iterator[Tape]:
    """A recorder and its session, in the project's database."""
    tape = Tape(project / ".agentops" / "agentops.db")
    yield tape
    tape.recorder.close()
