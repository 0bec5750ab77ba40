"""A database, and programs that record to it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.analytics.recording import book
from tests.recovery.old import make_old
from tests.reliability.conftest import api, machine, machines, spawn
from tests.reliability.tools.crash import DB

__all__ = ["api", "book", "machine", "machines", "spawn"]


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound database, made once."""
    path = tmp_path_factory.mktemp("master") / "agentops.db"
    make_old(path, 6)
    return path


@pytest.fixture
def database(project: Path, master: Path) -> Path:
    """A copy of it, at its place in the project."""
    path = project / DB
    path.parent.mkdir()
    shutil.copy(master, path)
    shutil.copy(f"{master}-generation", f"{path}-generation")
    return path
