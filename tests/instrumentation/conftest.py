"""A project for each test, and eyes to see what was recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sdk.records import Records


@pytest.fixture(autouse=True)
def in_a_project(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test is in an empty project, and no key or address of a provider is in its environment."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "GOOGLE_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def records(project: Path) -> Records:
    """What the project's database holds."""
    return Records(project / ".agentops" / "agentops.db")
