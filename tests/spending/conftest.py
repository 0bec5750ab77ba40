"""A project, a server that answers, and a client whose every call costs a cent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from agentops_local.session import Session
from tests.fakes.llm import Answer, LLMServer, Usage
from tests.fakes.llm.fixtures import records, session  # noqa: F401 - pytest finds them here

# gpt-4o-2024-08-06: 2.50 and 10 US dollars a million. Together one cent.
CENT = Usage(input=2_000, output=500)


@pytest.fixture(autouse=True)
def libraries() -> None:
    """What a budget works through."""
    pytest.importorskip("openai", reason="openai is not installed")
    pytest.importorskip("opentelemetry.instrumentation.genai.openai", reason="its instrumentor is not installed")
    pytest.importorskip("genai_prices", reason="genai-prices is not installed")


@pytest.fixture
def server() -> Iterator[LLMServer]:
    """A server whose every answer costs a cent."""
    with LLMServer() as running:
        running.answer_with(lambda request: Answer(usage=CENT))  # noqa: ARG005 - whatever is asked
        yield running


@pytest.fixture
def client(session: Session, server: LLMServer) -> Iterator[Any]:  # noqa: F811 - the fixture of that name
    """A client that tries once."""
    import openai

    with openai.OpenAI(base_url=server.openai, api_key="k", max_retries=0) as made:
        yield made
