from __future__ import annotations

import asyncio
import inspect
import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from langchain_core.agents import AgentAction, AgentFinish
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import CallbackManagerForLLMRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.language_models import SimpleChatModel
from langchain_core.language_models.fake import FakeListLLM
from langchain_core.language_models.fake_chat_models import (
    FakeListChatModel,
    FakeListChatModelError,
    FakeMessagesListChatModel,
    GenericFakeChatModel,
)
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    convert_to_openai_messages,
)
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult, LLMResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda, RunnableParallel
from langchain_core.tools import tool
from tenacity import RetryCallState, Retrying, stop_after_attempt, wait_none

import agentops_local as agentops
from agentops_local.client import Client
from agentops_local.partners import langchain_runs, langchain_shapes
from agentops_local.partners.langchain_callback_handler import (
    AsyncLangchainCallbackHandler,
    LangchainCallbackHandler,
)
from tests.sdk.records import Records

Handler = LangchainCallbackHandler | AsyncLangchainCallbackHandler
Row = dict[str, Any]

# Whether the details of the counts may be left out differs from one version to the next.
USAGE = cast("UsageMetadata", {"input_tokens": 11, "output_tokens": 5, "total_tokens": 16})


@pytest.fixture(params=[LangchainCallbackHandler, AsyncLangchainCallbackHandler])
def handler(request: pytest.FixtureRequest) -> Handler:
    """Each of the two handlers, in a session that it has started."""
    made: Handler = request.param()
    return made


def using(handler: Handler) -> RunnableConfig:
    """The configuration that a program passes to have its runs recorded."""
    return {"callbacks": [handler]}


def rows(view: str, order: str = "seq") -> list[Row]:
    """The rows of a view or table, in the order of commits."""
    return Records(Path.cwd() / ".agentops" / "agentops.db").rows(f"SELECT * FROM {view} ORDER BY {order}")


def only(view: str) -> Row:
    """The one row of a view."""
    [row] = rows(view)
    return row


def open_runs(handler: Handler) -> int:
    """The runs that the handler still remembers."""
    return len(handler._runs._open if isinstance(handler, AsyncLangchainCallbackHandler) else handler._open)


def says(*messages: str | BaseMessage) -> FakeMessagesListChatModel:
    """A chat model that says this, one after the other."""
    return FakeMessagesListChatModel(responses=[AIMessage(m) if isinstance(m, str) else m for m in messages])


class Overloaded(Exception):
    """What a provider's client raises."""

    status_code = 529
    response = SimpleNamespace(headers={"retry-after": "9"}, status_code=529, json=dict)


class Failing(SimpleChatModel):
    """A chat model that is overloaded."""

    _llm_type = "failing"

    def _call(self, *args: Any, **kwargs: Any) -> str:
        raise Overloaded("try again later")


class Shelf(BaseRetriever):
    """A retriever with one book."""

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        if query == "missing":
            raise LookupError(query)
        return [Document(page_content=f"about {query}", metadata={"page": 7})]


@tool
def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


@tool
def divide(a: int, b: int) -> float:
    """Divide two numbers."""
    return a / b


def invoke(runnable: Runnable[Any, Any], given: Any, config: RunnableConfig) -> Any:
    """As a synchronous program runs it."""
    return runnable.invoke(given, config)


def ainvoke(runnable: Runnable[Any, Any], given: Any, config: RunnableConfig) -> Any:
    """As an asynchronous program runs it."""
    return asyncio.run(runnable.ainvoke(given, config))


def stream(runnable: Runnable[Any, Any], given: Any, config: RunnableConfig) -> Any:
    """As a synchronous program streams it."""
    return list(runnable.stream(given, config))


def astream(runnable: Runnable[Any, Any], given: Any, config: RunnableConfig) -> Any:
    """As an asynchronous program streams it."""

    async def read() -> list[Any]:
        return [chunk async for chunk in runnable.astream(given, config)]

    return asyncio.run(read())


def broken(*_: Any) -> None:
    """Stands in for a part of ours that has a fault."""
    raise ZeroDivisionError


every_way = pytest.mark.parametrize("way", [invoke, ainvoke, stream, astream])


class TestLanguageModels:
    @every_way
    def test_call_is_one_event(self, handler: Handler, way: Callable[..., Any]) -> None:
        """A call of a chat model, streamed or not, awaited or not, is one LLM event: prompt and completion as chat
        messages, with tokens, model and parameters."""
        said = AIMessage("four, I think", usage_metadata=USAGE, response_metadata={"model_name": "abacus-1-2026"})
        model = GenericFakeChatModel(messages=iter([said])) if way in (invoke, ainvoke) else says(said)
        way(model, [SystemMessage("be brief"), HumanMessage("2+2?")], using(handler))
        row = only("llms")
        assert json.loads(row["prompt"]) == [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "2+2?"},
        ]
        assert json.loads(row["completion"]) == {"role": "assistant", "content": "four, I think"}
        assert (row["prompt_tokens"], row["completion_tokens"], row["model"]) == (11, 5, "abacus-1-2026")
        assert "_type" in json.loads(row["params"])
        assert rows("actions") == []

    @pytest.mark.parametrize("way", [stream, astream])
    def test_chunks_make_one_completion(self, handler: Handler, way: Callable[..., Any]) -> None:
        """The completion of a stream is the whole of its chunks."""
        model = GenericFakeChatModel(messages=iter([AIMessage("one two three")]))
        assert len(way(model, "count", using(handler))) > 1
        assert json.loads(only("llms")["completion"])["content"] == "one two three"

    def test_stream_left_unread_is_no_error(self, handler: Handler) -> None:
        """A program that stops reading a stream has made no error; what it has read is the completion."""
        chunks = GenericFakeChatModel(messages=iter([AIMessage("one two three")])).stream("count", using(handler))
        assert next(chunks).content == "one"
        chunks.close()  # type: ignore[attr-defined]
        assert json.loads(only("llms")["completion"])["content"] == "one"
        assert rows("errors") == []

    def test_broken_stream_keeps_its_beginning(self, handler: Handler) -> None:
        """A stream that breaks is an event with what was said until then, and an error."""
        model = FakeListChatModel(responses=["abcdef"], error_on_chunk_number=3)
        with pytest.raises(FakeListChatModelError):
            list(model.stream("spell", using(handler)))
        row = only("llms")
        assert json.loads(row["completion"])["content"] == "abc"
        assert only("errors")["trigger_event_id"] == row["id"]

    def test_tool_calls_in_openai_shape(self, handler: Handler) -> None:
        """Tool calls and their results are written as OpenAI writes them, whichever model made them."""
        call = {"name": "multiply", "args": {"a": 6, "b": 7}, "id": "c1"}
        blocks: list[str | dict] = [
            {"type": "text", "text": "let me see"},
            {"type": "tool_use", "id": "c1", "name": "multiply", "input": {"a": 6, "b": 7}},
        ]
        asked: list[BaseMessage] = [
            HumanMessage("6*7?", name="wile"),
            AIMessage(blocks, tool_calls=[call]),
            ToolMessage("42", tool_call_id="c1"),
        ]
        says(AIMessage("", tool_calls=[call])).invoke(asked, using(handler))
        row = only("llms")
        prompt = json.loads(row["prompt"])
        assert prompt == convert_to_openai_messages(asked)
        assert prompt[1]["tool_calls"][0]["function"] == {"name": "multiply", "arguments": '{"a": 6, "b": 7}'}
        assert json.loads(row["completion"])["tool_calls"] == prompt[1]["tool_calls"]

    def test_malformed_tool_call_is_kept(self, handler: Handler) -> None:
        """A tool call whose arguments are no JSON stands in the completion as the model wrote it."""
        broken = {"name": "multiply", "args": '{"a": 6', "id": "c1", "error": None}
        said = AIMessage("", invalid_tool_calls=[broken])
        says(said).invoke("6*7?", using(handler))
        [call] = json.loads(only("llms")["completion"])["tool_calls"]
        assert call["function"] == {"name": "multiply", "arguments": '{"a": 6'}

    def test_what_is_said_beside_the_content_is_kept(self, handler: Handler) -> None:
        """Reasoning and refusals stand in the completion."""
        said = AIMessage("", additional_kwargs={"reasoning_content": "hm", "refusal": "no"})
        says(said).invoke("?", using(handler))
        completion = json.loads(only("llms")["completion"])
        assert (completion["reasoning_content"], completion["refusal"]) == ("hm", "no")

    def test_unknown_content_is_kept(self) -> None:
        """A message that LangChain itself cannot convert is kept as it is."""
        odd = HumanMessage([{"type": "image_url"}])
        with pytest.raises(ValueError, match="image_url"):
            convert_to_openai_messages(odd)
        assert langchain_shapes.message(odd) == {"role": "user", "content": [{"type": "image_url"}]}

    def test_conversation_grows_by_its_new_messages(self, handler: Handler) -> None:
        """Each message of a conversation is stored once, the completion being the next prompt's last but one."""
        model = says("one", "two", "three")
        talk: list[BaseMessage] = []
        for question in ("1?", "2?", "3?"):
            talk.append(HumanMessage(question))
            talk.append(model.invoke(talk, using(handler)))
        assert len(rows("messages", "id")) == 6

    def test_text_model(self, handler: Handler) -> None:
        """A model of text has text for prompt and completion, and a batch is an event each."""
        FakeListLLM(responses=["a", "b"]).batch(["first", "second"], using(handler))
        assert [(row["prompt"], row["completion"]) for row in rows("llms")] == [("first", "a"), ("second", "b")]

    def test_nobody_counted(self, handler: Handler) -> None:
        """Tokens that nobody counted are unknown, not zero."""
        says("hello").invoke("hi", using(handler))
        row = only("llms")
        assert (row["prompt_tokens"], row["completion_tokens"], row["cost"]) == (None, None, None)

    @pytest.mark.parametrize("place", ["token_usage", "usage"])
    @pytest.mark.parametrize("of_response", [True, False])
    def test_tokens_of_older_integrations(self, handler: Handler, place: str, of_response: bool) -> None:
        """Tokens are found where older integrations put them: beside the answer, or in its metadata."""
        usage = {place: {"prompt_tokens": 3, "completion_tokens": 0}, "model": "abacus-0"}

        class Older(FakeListChatModel):
            def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
                said = AIMessage("x", response_metadata={} if of_response else usage)
                return ChatResult(generations=[ChatGeneration(message=said)], llm_output=usage if of_response else {})

        Older(responses=[]).invoke("hi", using(handler))
        row = only("llms")
        assert (row["prompt_tokens"], row["completion_tokens"], row["model"]) == (3, 0, "abacus-0")

    def test_model_that_fails_is_named(self, handler: Handler) -> None:
        """A call without an answer names the model that was asked."""
        with pytest.raises(Overloaded):
            Failing().invoke("hi", using(handler), model="abacus-1")
        assert only("llms")["model"] == "abacus-1"

    def test_model_named_in_every_chunk(self) -> None:
        """A model's name that the merging of chunks has repeated is told once."""
        assert langchain_shapes.model({"model_name": "abacus-1" * 3}) == "abacus-1"
        assert langchain_shapes.model({"model_name": "abacus-11"}) == "abacus-11"

    def test_credentials_are_hidden(self, handler: Handler) -> None:
        """Credentials among the invocation parameters do not reach the database."""
        secret: dict[str, Any] = {
            "openai_api_key": "sk-1",
            "extra_headers": {"Authorization": "Bearer sk-1"},
            "max_tokens": 9,
        }
        says("x").invoke("hi", using(handler), **secret)
        params = json.loads(only("llms")["params"])
        assert (params["openai_api_key"], params["extra_headers"], params["max_tokens"]) == ("***", "***", 9)
        assert "sk-1" not in repr(rows("payloads"))

    def test_cached_answer_costs_nothing(self, handler: Handler) -> None:
        """An answer from LangChain's cache is an event that cost nothing."""
        said = AIMessage("x", usage_metadata=USAGE)
        model = FakeMessagesListChatModel(responses=[said], cache=InMemoryCache())
        model.invoke("hi", using(handler))
        model.invoke("hi", using(handler))
        assert [row["cost"] for row in rows("llms")] == [None, 0.0]

    def test_other_answers_are_kept(self, handler: Handler) -> None:
        """Of several answers the first is the completion; the others are in returns."""

        class Two(FakeListChatModel):
            def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
                return ChatResult(generations=[ChatGeneration(message=AIMessage(text)) for text in ("a", "b")])

        Two(responses=[]).invoke("hi", using(handler))
        row = only("llms")
        assert json.loads(row["completion"])["content"] == "a"
        assert json.loads(row["returns"])["others"] == [{"role": "assistant", "content": "b"}]


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


class TestErrors:
    @every_way
    def test_failure_counts_once(self, handler: Handler, way: Callable[..., Any]) -> None:
        """A failure is one error, at the run that failed; the chains it passes through say so in their logs."""
        chain = RunnableLambda(lambda text: text) | Failing()
        with pytest.raises(Overloaded):
            way(chain.with_config(run_name="whole"), "hi", using(handler))
        failed, error = only("llms"), only("errors")
        assert (error["trigger_event_id"], error["trigger_event_type"]) == (failed["id"], "llms")
        assert (error["error_type"], error["details"], error["code"]) == ("Overloaded", "try again later", "529")
        assert error["logs"].startswith("Traceback")
        [whole] = [row for row in rows("actions") if row["action_type"] == "whole"]
        assert whole["logs"].endswith("Overloaded: try again later")
        assert whole["returns"] is None
        assert (failed["completion"], failed["returns"]) == (None, None)
        assert failed["end_timestamp"] is not None
        assert open_runs(handler) == 0

    @pytest.mark.parametrize("way", [invoke, ainvoke])
    def test_tool_fails(self, handler: Handler, way: Callable[..., Any]) -> None:
        """A tool that raises is a tool event and an error that it triggered."""
        with pytest.raises(ZeroDivisionError):
            way(divide, {"a": 1, "b": 0}, using(handler))
        assert only("errors")["trigger_event_id"] == only("tools")["id"]
        assert only("errors")["error_type"] == "ZeroDivisionError"

    def test_retriever_fails(self, handler: Handler) -> None:
        """A retriever that raises is an action and an error that it triggered."""
        with pytest.raises(LookupError):
            Shelf().invoke("missing", using(handler))
        assert only("errors")["trigger_event_id"] == only("actions")["id"]

    def test_error_has_its_own_traceback(self, handler: Handler) -> None:
        """The traceback is that of the failure, also when the program is just handling another."""
        try:
            raise KeyError("another")
        except KeyError:
            with pytest.raises(ZeroDivisionError):
                divide.invoke({"a": 1, "b": 0}, using(handler))
        assert "return a / b" in only("errors")["logs"]

    def test_what_a_chain_raises_itself_is_told(self, handler: Handler) -> None:
        """An exception that a chain raises in place of an inner one is an error of its own, and so is the same
        exception when it is raised again by another run."""
        again = ValueError("again")

        def wrap(given: str, config: RunnableConfig) -> None:
            try:
                Failing().invoke(given, config)
            except Overloaded as error:
                raise again from error

        for _ in range(2):
            with pytest.raises(ValueError, match="again"):
                RunnableLambda(wrap).invoke("hi", using(handler))
        assert [row["error_type"] for row in rows("errors")] == ["Overloaded", "ValueError"] * 2

    def test_handled_error(self, handler: Handler) -> None:
        """A failure that a fallback has mended is told at the run that failed, and nowhere else."""
        chain = Failing().with_fallbacks([says("here I am")])
        assert chain.invoke("hi", using(handler)).content == "here I am"
        assert only("errors")["trigger_event_type"] == "llms"
        assert only("actions")["logs"] is None

    def test_cancelled(self, handler: Handler) -> None:
        """What is cancelled is recorded with all that ran inside it, as one error at the innermost run."""

        async def main() -> None:
            begun = asyncio.Event()

            class Sleeping(FakeListChatModel):
                async def _agenerate(self, *args: Any, **kwargs: Any) -> ChatResult:
                    begun.set()
                    await asyncio.sleep(60)
                    raise AssertionError

            chain = RunnableLambda(lambda text: text) | Sleeping(responses=[])
            task = asyncio.create_task(chain.ainvoke("hi", using(handler)))
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(main())
        assert only("errors")["error_type"] == "CancelledError"
        assert only("errors")["trigger_event_id"] == only("llms")["id"]
        assert {row["action_type"] for row in rows("actions")} == {"RunnableLambda", "RunnableSequence"}
        assert open_runs(handler) == 0

    def test_interrupted_deep_inside(self) -> None:
        """Of several runs that an interruption ends at once, the innermost one triggers the error."""
        handler = LangchainCallbackHandler()
        outer, middle, inner = uuid4(), uuid4(), uuid4()
        handler.on_chain_start(None, "hi", run_id=outer, name="outer")
        handler.on_chain_start(None, "hi", run_id=middle, parent_run_id=outer, name="middle")
        handler.on_tool_start(None, "hi", run_id=inner, parent_run_id=middle, name="inner")
        handler.on_chain_error(KeyboardInterrupt(), run_id=outer)
        assert only("errors")["trigger_event_id"] == only("tools")["id"]
        assert [(row["action_type"], row["logs"]) for row in rows("actions")] == [
            ("middle", "KeyboardInterrupt"),
            ("outer", "KeyboardInterrupt"),
        ]


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


class TestSurroundings:
    def test_decorated_function_is_in_the_tree(self, handler: Handler) -> None:
        """A recorded function of the program's own, between two runs, is the parent of the inner one."""

        @agentops.record_action("think")
        def think(text: str, config: RunnableConfig) -> Any:
            return says("x").invoke(text, config)

        RunnableLambda(think, name="step").invoke("hi", using(handler))
        [thought] = [row for row in rows("actions") if row["action_type"] == "think"]
        assert only("llms")["parent_id"] == thought["id"]

    def test_chain_in_a_decorated_function(self, handler: Handler) -> None:
        """A chain that a recorded function calls has the function's event as its parent."""

        @agentops.record_action("ask")
        def ask() -> Any:
            return (RunnableLambda(lambda text: text) | says("x")).invoke("hi", using(handler))

        ask()
        ids = {row["action_type"]: row["id"] for row in rows("actions")}
        parents = {row["action_type"]: row["parent_id"] for row in rows("actions")}
        assert parents["RunnableSequence"] == ids["ask"]
        assert only("llms")["parent_id"] == ids["RunnableSequence"]

    def test_runs_belong_to_the_agent(self, handler: Handler) -> None:
        """The runs and errors in the course of an agent's method are the agent's."""

        @agentops.track_agent(name="clerk")
        class Clerk:
            def work(self) -> None:
                says("x").invoke("hi", using(handler))
                with pytest.raises(Overloaded):
                    Failing().invoke("hi", using(handler))

        Clerk().work()
        assert {row["agent_name"] for row in (*rows("llms"), *rows("errors"))} == {"clerk"}

    def test_session_of_the_context(self, handler: Handler) -> None:
        """With several sessions live, runs are recorded in the one that the code is bound to."""
        second = agentops.start_session()
        assert second is not None
        with second:
            says("x").invoke("hi", using(handler))
        assert only("llms")["session_id"] == str(second.session_id)

    def test_session_of_the_start(self, handler: Handler) -> None:
        """A run is recorded in the session in which it began, although another one has started since."""
        [first] = handler.current_session_ids

        def interrupt(text: str) -> str:
            agentops.start_session()
            return text

        (RunnableLambda(interrupt) | says("x")).invoke("hi", using(handler))
        assert {row["session_id"] for row in (*rows("actions"), *rows("llms"))} == {first}

    def test_many_threads(self, handler: Handler) -> None:
        """Runs in many threads at once, on one handler, are each recorded once, in its own tree."""
        chain = (RunnableLambda(str) | RunnableLambda(str)).with_config(run_name="twice")

        def work(first: int) -> None:
            chain.batch(list(range(first, first + 25)), using(handler))

        threads = [threading.Thread(target=work, args=(100 * n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wholes = {row["id"]: row["returns"] for row in rows("actions") if row["action_type"] == "twice"}
        inner = [row for row in rows("actions") if row["action_type"] != "twice"]
        assert (len(wholes), len(inner)) == (100, 200)
        assert all(sum(row["parent_id"] == whole for row in inner) == 2 for whole in wholes)
        assert open_runs(handler) == 0


class TestFaults:
    @every_way
    def test_fault_stays_with_us(
        self,
        handler: Handler,
        way: Callable[..., Any],
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """A fault of ours does not reach the program, and does not lose the call in which it happened."""
        monkeypatch.setenv("AGENTOPS_LOCAL_STRICT", "0")
        monkeypatch.setattr(langchain_shapes, "answer", broken)
        with caplog.at_level(logging.WARNING):
            way(says("x"), "hi", using(handler))
        assert json.loads(only("llms")["prompt"]) == [{"role": "user", "content": "hi"}]
        assert not [record for record in caplog.records if "langchain" in record.name]

    def test_fault_under_test(self, handler: Handler, monkeypatch: pytest.MonkeyPatch) -> None:
        """In strict mode a fault of ours is raised through LangChain."""
        monkeypatch.setattr(langchain_shapes, "answer", broken)
        with pytest.raises(ZeroDivisionError):
            asyncio.run(says("x").ainvoke("hi", using(handler)))

    def test_runs_without_an_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Runs whose end is never told do not pile up: the oldest is recorded as it is."""
        monkeypatch.setattr(langchain_runs, "MOST_OPEN", 2)
        handler = LangchainCallbackHandler()
        for number in range(5):
            handler.on_llm_start(None, [f"prompt {number}"], run_id=uuid4())
        assert [row["prompt"] for row in rows("llms")] == ["prompt 0", "prompt 1", "prompt 2"]
        assert open_runs(handler) == 2

    def test_end_without_a_start(self, handler: Handler) -> None:
        """The end of a run whose start was not told is no fault, and no event."""
        response = LLMResult(generations=[])
        for told in (handler.on_llm_end(response, run_id=uuid4()), handler.on_tool_error(OSError(), run_id=uuid4())):
            if inspect.isawaitable(told):
                asyncio.run(_wait(told))
        assert rows("events") == []


async def _wait(awaitable: Any) -> None:
    await awaitable


class TestHandler:
    @pytest.mark.parametrize(
        ("kind", "tags"),
        [
            (LangchainCallbackHandler, ["langchain", "sync"]),
            (AsyncLangchainCallbackHandler, ["langchain", "async"]),
        ],
    )
    def test_classic_signature(self, kind: type[Handler], tags: list[str]) -> None:
        """Both handlers are made as those of the classic SDK, with its defaults."""
        parameters = inspect.signature(kind).parameters
        assert {name: parameter.default for name, parameter in parameters.items()} == {
            "api_key": None,
            "endpoint": None,
            "max_wait_time": None,
            "max_queue_size": None,
            "default_tags": tags,
        }
        kind()
        session = Client().active_session()
        assert session is not None
        assert sorted(session.tags) == sorted(tags)

    @pytest.mark.parametrize("kind", [LangchainCallbackHandler, AsyncLangchainCallbackHandler])
    def test_classic_methods(self, kind: type[Handler]) -> None:
        """Both handlers have the methods of the classic ones; those of the asynchronous one are coroutines."""
        names = (
            "on_llm_start on_chat_model_start on_llm_new_token on_llm_end on_llm_error on_chain_start on_chain_end "
            "on_chain_error on_tool_start on_tool_end on_tool_error on_retriever_start on_retriever_end "
            "on_retriever_error on_agent_action on_agent_finish on_retry"
        ).split()
        for name in names:
            assert inspect.iscoroutinefunction(getattr(kind, name)) == (kind is AsyncLangchainCallbackHandler), name
        assert isinstance(kind.current_session_ids, property)

    def test_settings(self) -> None:
        """The handler's arguments are settings of the client."""
        key = str(UUID(int=7))
        LangchainCallbackHandler(key, "https://example.org", 5, 6, ["mine"])
        config = Client().config
        assert (config.api_key, config.endpoint) == (key, "https://example.org")
        assert (config.max_wait_time, config.max_queue_size, config.default_tags) == (5, 6, {"mine"})

    def test_session_that_is_there(self) -> None:
        """A handler made after init() records in its session, and leaves settings and tags alone."""
        session = agentops.init(default_tags=["mine"])
        assert session is not None
        handler = LangchainCallbackHandler()
        assert handler.current_session_ids == [str(session.session_id)]
        assert session.tags == ["mine"]
        assert Client().config.default_tags == {"mine"}

    def test_session_that_the_program_starts(self) -> None:
        """A handler starts no session in a program that wants to start its own."""
        agentops.init(auto_start_session=False)
        handler = LangchainCallbackHandler()
        assert handler.current_session_ids == []
        session = agentops.start_session()
        says("x").invoke("hi", using(handler))
        assert session is not None
        assert only("llms")["session_id"] == str(session.session_id)

    def test_session_that_has_ended(self) -> None:
        """A handler made after the end of a session starts the next one."""
        session = agentops.init()
        assert session is not None
        session.end_session("Success")
        assert LangchainCallbackHandler().current_session_ids != [str(session.session_id)]

    def test_without_langchain(self) -> None:
        """Without langchain-core, asking for a handler raises an ImportError that says what to install."""
        program = (
            "import sys; sys.modules['langchain_core'] = None\n"
            "import agentops_local\n"
            "try: agentops_local.LangchainCallbackHandler\n"
            "except ImportError as error: print(error)"
        )
        root = Path(agentops.__file__).parents[1]
        done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
        assert "pip install 'agentops-local[langchain]'" in done.stdout


def test_both_in_one_program() -> None:
    """Asynchronous handlers serve synchronous code, also inside of a running loop; synchronous ones serve
    asynchronous code, on its own thread."""

    class Synchronous(LangchainCallbackHandler):
        def on_llm_end(self, response: LLMResult, **run: Any) -> None:
            threads.append(threading.current_thread())
            super().on_llm_end(response, **run)

    threads: list[threading.Thread] = []
    synchronous, asynchronous = Synchronous(), AsyncLangchainCallbackHandler()

    async def main() -> None:
        says("x").invoke("sync in a loop", using(asynchronous))
        await says("x").ainvoke("async", using(synchronous))

    asyncio.run(main())
    assert [json.loads(row["prompt"])[0]["content"] for row in rows("llms")] == ["sync in a loop", "async"]
    assert threads == [threading.current_thread()]
