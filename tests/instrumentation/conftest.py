"""A project for each test, and eyes to see what was recorded."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.llm import Answer, LLMServer, Usage
from tests.fakes.llm.fixtures import records, session  # noqa: F401 - pytest finds them here

USAGE = Usage(input=100, output=20, cache_read=30, reasoning=5)


@pytest.fixture(autouse=True)
def in_a_project(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test is in an empty project, and no key or address of a provider is in its environment."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "GOOGLE_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What the libraries warn of in their own code, and leave open until it is collected, is theirs."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            for kind in ("DeprecationWarning", "ResourceWarning", "pytest.PytestUnraisableExceptionWarning"):
                item.add_marker(pytest.mark.filterwarnings(f"ignore::{kind}"))


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What a library leaves open is collected in the test that left it, not in another one."""
    yield
    gc.collect()


@pytest.fixture
def server() -> Iterator[LLMServer]:
    """The servers of the providers; every answer tells the same usage unless another is set."""
    with LLMServer() as running:
        running.answer_with(lambda request: Answer(usage=USAGE))  # noqa: ARG005 - whatever is asked
        yield running
