"""What every test stands on: an environment without our settings, and a project folder of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.clients import forget_client

pytest_plugins = [
    "tests.reliability.scorecard",  # its table needs the reports of every worker
]

# A shared machine promises nothing about time, so no property does; a failure prints what replays it.
settings.register_profile("house", deadline=None, print_blob=True)
settings.load_profile("house")


@pytest.fixture(autouse=True)
def clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away every AGENTOPS_* variable, and have the faults of our own raised instead of swallowed. No key and no
    service file of a test ever gets into the user's own configuration."""
    for name in list(os.environ):
        if name.startswith("AGENTOPS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AGENTOPS_LOCAL_STRICT", "1")
    monkeypatch.setenv("AGENTOPS_LOCAL_CREDENTIALS", str(tmp_path / "configuration" / "credentials"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "configuration"))


@pytest.fixture(autouse=True)
def fresh_client(clean_environment: None) -> Iterator[None]:
    """No session, no setting and no open database of another test: one that a test had left made the next, in whatever
    folder, record into its database."""
    forget_client()
    yield
    forget_client()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder, entered; the user's home and data folder lie beside it, empty as well."""
    folder = tmp_path / "project"
    home = tmp_path / "home"
    data = tmp_path / "data"
    for path in (folder, home, data):
        path.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_DATA_HOME", str(data))
    return folder
