"""What `doctor` says of the libraries whose calls record themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentops_local.instrumentation import libraries
from tests.cli.calling import call


def told() -> dict[str, dict[str, object]]:
    """What is said of each library."""
    found = call("doctor", "--json").json
    return {one["data"]["library"]: {**one, **one["data"]} for one in found if one["about"] == "LLM calls"}


def test_recorded_by_what(project: Path) -> None:
    """Each installed library is listed with what records it, and that is well."""
    pytest.importorskip("openai", reason="openai is not installed")
    pytest.importorskip("opentelemetry.instrumentation.genai.openai", reason="its instrumentor is not installed")
    openai = told()["openai"]
    assert openai["by"] == "opentelemetry-instrumentation-genai-openai"
    assert "is recorded, by" in str(openai["text"])


def test_not_recorded_and_why(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that is not recorded is noted with what to install; that is no fault of the database."""
    monkeypatch.setattr(libraries, "version_of", lambda name: "5.0" if name == "groq" else None)
    groq = told()["groq"]
    assert groq["by"] is None
    assert str(groq["text"]).endswith("is not recorded: pip install 'agentops-local[providers]'")
    assert groq["level"] == "note"
