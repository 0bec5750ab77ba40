from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from agentops_local.client import Client
from agentops_local.pytest_plugin.run import AgentRun
from tests.fakes.llm import Answer, LLMServer, Usage

openai = pytest.importorskip("openai", reason="openai is not installed")
pytest.importorskip("opentelemetry.instrumentation.genai.openai", reason="its instrumentor is not installed")

# What the libraries warn of in their own code, and leave open until it is collected, is theirs.
pytestmark = [
    pytest.mark.filterwarnings(f"ignore::{kind}")
    for kind in ("DeprecationWarning", "ResourceWarning", "pytest.PytestUnraisableExceptionWarning")
]
Completions = openai.resources.chat.completions.Completions
CHAT = [{"role": "user", "content": "Weather in Paris?"}]


@pytest.fixture(scope="module")
def as_it_was() -> object:
    """A function of a library before any test here: those of other modules may have left it in another state."""
    return vars(Completions)["create"]


@pytest.fixture
def server() -> Iterator[LLMServer]:
    """A provider."""
    with LLMServer() as running:
        running.answer_with(lambda request: Answer(usage=Usage(input=100, output=20)))  # noqa: ARG005 - whatever is asked
        yield running
    gc.collect()


def ask(server: LLMServer) -> None:
    """A call as a program makes it that knows nothing of us."""
    with openai.OpenAI(base_url=server.openai, api_key="k") as client:
        client.chat.completions.create(model="gpt-4o", messages=CHAT)


@pytest.mark.parametrize("round_", [1, 2])
def test_calls_record_themselves(round_: int, as_it_was: object, server: LLMServer, agent_run: AgentRun) -> None:
    """The calls of a program that does not know of us are in the run of its test, in every test anew."""
    assert vars(Completions)["create"] is not as_it_was
    ask(server)
    assert agent_run.llms.count == 1
    assert agent_run.tokens == 120
    assert agent_run.messages[0] == CHAT[0]
    assert agent_run.llms[0].provider == "openai"


def test_other_tests_are_left_alone(as_it_was: object, server: LLMServer) -> None:
    """After a test with the fixture a library is as it was, and a call of it is recorded nowhere."""
    assert vars(Completions)["create"] is as_it_was
    ask(server)
    assert Client._instance is None
