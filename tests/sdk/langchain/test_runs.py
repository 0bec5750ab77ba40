from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.agents import AgentAction, AgentFinish
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models.fake_chat_models import (
    FakeListChatModel,
)
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
)
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda, RunnableParallel
from tenacity import RetryCallState, Retrying, stop_after_attempt, wait_none

from agentops_local.partners.langchain_callback_handler import (
    LangchainCallbackHandler,
)
from tests.sdk.langchain.chains import (
    Handler,
    Overloaded,
    Shelf,
    ainvoke,
    every_way,
    invoke,
    multiply,
    only,
    rows,
    says,
    using,
)


class TestToolsChainsRetrievers:
    @pytest.mark.parametrize("way", [invoke, ainvoke])
    def test_tool(self, handler: Handler, way: Callable[..., Any]) -> None:
        """A tool's run is a tool event: its name, what it was given, what it gave."""
        assert way(multiply, {"a": 6, "b": 7}, using(handler)) == 42
        row = only("tools")
        assert (row["name"], json.loads(row["params"]), json.loads(row["returns"])) == (
            "multiply",
            {"a": 6, "b": 7},
            42,
        )

    def test_tool_called_by_a_model(self, handler: Handler) -> None:
        """A tool that is run for a model's tool call returns the message that the model will read."""
        call = {"type": "tool_call", "name": "multiply", "args": {"a": 6, "b": 7}, "id": "c1"}
        multiply.invoke(call, using(handler))
        row = only("tools")
        assert json.loads(row["params"]) == {"a": 6, "b": 7}
        returned = json.loads(row["returns"])
        assert (returned["role"], returned["tool_call_id"], returned["content"]) == ("tool", "c1", "42")

    def test_retriever(self, handler: Handler) -> None:
        """A retriever's run is an action of type retriever: its name, the query, the documents."""
        Shelf().invoke("owls", using(handler))
        row = only("actions")
        assert row["action_type"] == "retriever"
        assert json.loads(row["params"]) == {"retriever": "Shelf", "query": "owls"}
        assert json.loads(row["returns"]) == [{"page_content": "about owls", "metadata": {"page": 7}}]

    @every_way
    def test_chain_is_a_tree(self, handler: Handler, way: Callable[..., Any]) -> None:
        """The runs inside a chain have its event as their parent, and the chain shows what went in and came out."""
        chain = ChatPromptTemplate.from_messages([("user", "{n}?")]) | says("four") | (lambda said: said.content)
        way(chain.with_config(run_name="sums"), {"n": "2+2"}, using(handler))
        actions = {row["action_type"]: row for row in rows("actions")}
        whole = actions.pop("sums")
        assert (json.loads(whole["params"]), whole["returns"], whole["parent_id"]) == ({"n": "2+2"}, "four", None)
        assert set(actions) == {"ChatPromptTemplate", "RunnableLambda"}
        assert {row["parent_id"] for row in (*actions.values(), only("llms"))} == {whole["id"]}
        assert json.loads(actions["ChatPromptTemplate"]["returns"]) == [{"role": "user", "content": "2+2?"}]

    def test_branches_of_a_chain(self, handler: Handler) -> None:
        """Runs in the threads of a parallel chain are in its tree too."""
        chain: Runnable[Any, Any] = RunnableParallel(a=says("1"), b=says("2"))
        chain.invoke("hi", using(handler))
        whole = only("actions")
        assert [row["parent_id"] for row in rows("llms")] == [whole["id"]] * 2
        assert json.loads(whole["returns"])["a"] == {"role": "assistant", "content": "1"}

    def test_params_are_those_of_the_start(self, handler: Handler) -> None:
        """What a run was given is recorded as it was, whatever the run makes of it."""

        def empty(box: dict[str, list[int]]) -> None:
            box["in"].clear()

        RunnableLambda(empty).invoke({"in": [1, 2]}, using(handler))
        assert json.loads(only("actions")["params"]) == {"in": [1, 2]}

    def test_times(self, handler: Handler) -> None:
        """An event lasts from the start of its run to its end, and a run inside another lies within it."""

        def slow(_: Any) -> str:
            time.sleep(0.05)
            return "hi"

        (RunnableLambda(slow) | says("x")).invoke(None, using(handler))
        spans = {row["name"] or row["kind"]: (row["init_us"], row["end_us"]) for row in rows("events")}
        assert spans["slow"][1] - spans["slow"][0] >= 50_000
        for inner in ("slow", "llms"):
            assert spans["RunnableSequence"][0] <= spans[inner][0] <= spans[inner][1] <= spans["RunnableSequence"][1]
        assert spans["slow"][1] <= spans["llms"][0]


class TestMoments:
    def test_agent(self) -> None:
        """What an agent decides is an action inside the run of the agent."""
        handler = LangchainCallbackHandler()

        def agent(_: str, config: RunnableConfig) -> str:
            [run] = handler._open  # the run id is this one's
            handler.on_agent_action(AgentAction("multiply", {"a": 6}, "I multiply"), run_id=run)
            handler.on_agent_finish(AgentFinish({"output": "42"}, "done"), run_id=run)
            return "42"

        RunnableLambda(agent).invoke("6*7?", using(handler))
        decided, finished, whole = rows("actions")
        assert (decided["action_type"], decided["logs"]) == ("agent_action", "I multiply")
        assert json.loads(decided["params"]) == {"tool": "multiply", "tool_input": {"a": 6}}
        assert (finished["action_type"], json.loads(finished["returns"])) == ("agent_finish", {"output": "42"})
        assert decided["parent_id"] == finished["parent_id"] == whole["id"]

    def test_retry(self, handler: Handler) -> None:
        """A retry is an action inside the run, with the number of the attempt and what was wrong with it."""

        class Stubborn(FakeListChatModel):
            def _generate(
                self,
                messages: list[BaseMessage],
                stop: list[str] | None = None,
                run_manager: CallbackManagerForLLMRun | None = None,
                **kwargs: Any,
            ) -> ChatResult:
                assert run_manager is not None

                def tell(state: RetryCallState) -> None:
                    run_manager.on_retry(state)

                for attempt in Retrying(stop=stop_after_attempt(2), wait=wait_none(), before_sleep=tell):
                    with attempt:
                        if attempt.retry_state.attempt_number == 1:
                            raise Overloaded("later")
                return ChatResult(generations=[ChatGeneration(message=AIMessage("at last"))])

        Stubborn(responses=[]).invoke("hi", using(handler))
        row = only("actions")
        assert (row["action_type"], row["parent_id"]) == ("retry", only("llms")["id"])
        assert json.loads(row["params"])["attempt"] == 1
        assert row["logs"].endswith("Overloaded: later")
