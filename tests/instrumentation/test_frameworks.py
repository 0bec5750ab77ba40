"""Laws that hold for every framework: its calls are one event each, and its tools and agents are seen."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

import agentops_local
from agentops_local.instrumentation.libraries import LIBRARIES, usable, version_of
from agentops_local.session import Session
from tests.fakes.llm import Answer, LLMServer, Request
from tests.sdk.records import Records

pytestmark = pytest.mark.filterwarnings("ignore")  # frameworks warn of much

MODEL = "gpt-4o"


def get_weather(city: str) -> str:
    """The weather of a city.

    Args:
        city: its name.
    """
    return f"sunny in {city}"


def answer(request: Request) -> Answer:
    """Calls the tool once, and then says what came of it."""
    body = request.body
    asked = body.get("messages") or body.get("input") or []
    done = any(
        isinstance(message, dict) and (message.get("role") == "tool" or message.get("type") == "function_call_output")
        for message in asked
    )
    if body.get("tools") and not done:
        return Answer(None, (("call_1", "get_weather", '{"city": "Paris"}'),))
    return Answer("It is sunny.")


def _langgraph(url: str) -> str:
    from langchain_core.tools import tool
    from langchain_openai import ChatOpenAI
    from langgraph.prebuilt import create_react_agent
    from pydantic import SecretStr

    model = ChatOpenAI(model=MODEL, base_url=url, api_key=SecretStr("k"))
    agent: Any = create_react_agent(model, [tool(get_weather)])
    return str(agent.invoke({"messages": [("user", "Weather in Paris?")]})["messages"][-1].content)


def _openai_agents(url: str) -> str:
    import openai
    from agents import Agent, OpenAIResponsesModel, Runner, function_tool

    model = OpenAIResponsesModel(MODEL, openai.AsyncOpenAI(base_url=url, api_key="k"))
    agent = Agent(name="forecaster", model=model, tools=[function_tool(get_weather)])
    return str(asyncio.run(Runner.run(agent, "Weather in Paris?")).final_output)


def _pydantic_ai(url: str) -> str:
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    model = OpenAIChatModel(MODEL, provider=OpenAIProvider(base_url=url, api_key="k"))
    return str(Agent(model, tools=[get_weather], name="forecaster").run_sync("Weather in Paris?").output)


def _smolagents(url: str) -> str:
    from smolagents import OpenAIServerModel, ToolCallingAgent, tool

    model = OpenAIServerModel(MODEL, api_base=url, api_key="k")
    agent = ToolCallingAgent(tools=[tool(get_weather)], model=model, max_steps=1, verbosity_level=0)
    return str(agent.run("Weather in Paris?"))


def _crewai(url: str) -> str:
    from crewai import LLM, Agent, Crew, Task
    from crewai.tools import tool

    agent = Agent(role="forecaster", goal="forecast", backstory="none", tools=[tool("get_weather")(get_weather)],
                  llm=LLM(model=f"openai/{MODEL}", base_url=url, api_key="k"))  # fmt: skip
    task = Task(description="Weather in Paris?", expected_output="the weather", agent=agent)
    return str(Crew(agents=[agent], tasks=[task]).kickoff())


def _autogen(url: str) -> str:
    from autogen_agentchat.agents import AssistantAgent
    from autogen_ext.models.openai import OpenAIChatCompletionClient

    async def run() -> str:
        client = OpenAIChatCompletionClient(model=MODEL, base_url=url, api_key="k")
        agent = AssistantAgent("forecaster", client, tools=[get_weather], reflect_on_tool_use=True)
        return str((await agent.run(task="Weather in Paris?")).messages[-1].content)

    return asyncio.run(run())


class Framework(NamedTuple):
    """How a framework is used.

    Attributes:
        distribution: of the library, as it is listed; `needs` is what else must be installed.
        run: asks an agent with one tool, and gives its answer.
        calls: LLM calls that this takes.
    """

    distribution: str
    needs: str
    run: Callable[[str], str]
    calls: int = 2


FRAMEWORKS = [
    Framework("langchain-core", "langgraph", _langgraph),
    Framework("openai-agents", "openai-agents", _openai_agents),
    Framework("pydantic-ai-slim", "openai", _pydantic_ai),
    Framework("smolagents", "openai", _smolagents),
    Framework("crewai", "crewai", _crewai),
    Framework("autogen-agentchat", "autogen-ext", _autogen),
]


@pytest.fixture(params=FRAMEWORKS, ids=lambda framework: framework.distribution)
def framework(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Framework:
    """A framework that is installed with what records it; it reports to nobody."""
    found: Framework = request.param
    library = next(library for library in LIBRARIES if library.distribution == found.distribution)
    if version_of(found.needs) is None or next(usable(library), None) is None:
        pytest.skip(f"{found.distribution}, or what records it, is not installed")
    for name in ("CREWAI_DISABLE_TELEMETRY", "CREWAI_DISABLE_TRACKING"):
        monkeypatch.setenv(name, "true")
    return found


def test_an_agent_with_a_tool(framework: Framework, server: LLMServer, session: Session, records: Records) -> None:
    """Each call of the model is one event, the tool is one, and both belong to what the agent did."""
    server.answer_with(answer)
    said = framework.run(server.openai)
    assert "sunny" in said
    calls = records.rows("SELECT completion, model, parent_id FROM llms ORDER BY seq")
    assert len(calls) == len(server.requests) == framework.calls
    assert {call["model"] for call in calls} == {"gpt-4o-2024-08-06"}
    (asked,) = json.loads(calls[0]["completion"])["tool_calls"]
    assert (asked["function"]["name"], asked["function"]["arguments"]) == ("get_weather", '{"city": "Paris"}')
    tools = records.rows("SELECT name, returns, parent_id FROM tools WHERE name = 'get_weather'")
    assert [(tool["name"], "sunny in Paris" in tool["returns"]) for tool in tools] == [("get_weather", True)]
    known = set(records.column("SELECT id FROM payloads"))
    steps = set(records.column("SELECT id FROM actions"))
    parents = {row["parent_id"] for row in [*calls, *tools]}
    assert parents <= known
    assert parents & steps
    assert records.column("SELECT count(*) FROM errors") == [0]


def test_the_handler_for_langchain(server: LLMServer, project: Any, records: Records) -> None:
    """With the handler of classic programs, which records the frames, each call is one event all the same."""
    pytest.importorskip("langgraph", reason="langgraph is not installed")
    from langchain_core.runnables import RunnableLambda
    from langchain_openai import ChatOpenAI
    from pydantic import SecretStr

    server.answer_with(answer)
    agentops_local.init()
    handler = agentops_local.LangchainCallbackHandler()
    model = ChatOpenAI(model=MODEL, base_url=server.openai, api_key=SecretStr("k"))
    chain: Any = RunnableLambda(lambda text: [("user", text)]) | model
    for _ in chain.stream("one", config={"callbacks": [handler]}):
        pass
    chain.invoke("two", config={"callbacks": [handler]})
    server.fail(400)
    with pytest.raises(Exception, match="400"):
        chain.invoke("three", config={"callbacks": [handler]})
    prompts = [json.loads(prompt)[0]["content"] for prompt in records.column("SELECT prompt FROM llms ORDER BY seq")]
    assert prompts == ["one", "two", "three"]
    assert set(records.column("SELECT parent_id FROM llms")) <= set(
        records.column("SELECT id FROM actions WHERE action_type = 'RunnableSequence'")
    )
    assert records.column("SELECT count(*) FROM errors") == [1]


def test_the_handler_without_the_providers_library(project: Any, records: Records) -> None:
    """A model that no instrumentor sees is recorded by the handler, as ever."""
    pytest.importorskip("langchain_core")
    from langchain_core.language_models import FakeListChatModel

    agentops_local.init()
    handler = agentops_local.LangchainCallbackHandler()
    FakeListChatModel(responses=["hello"]).invoke("hi", config={"callbacks": [handler]})
    assert records.column("SELECT count(*) FROM llms") == [1]
