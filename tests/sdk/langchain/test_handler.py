from __future__ import annotations

import asyncio
import inspect
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from langchain_core.outputs import LLMResult
from langchain_core.runnables import RunnableConfig, RunnableLambda

import agentops_local as agentops
from agentops_local.client import Client
from agentops_local.partners.langchain_callback_handler import (
    AsyncLangchainCallbackHandler,
    LangchainCallbackHandler,
)
from tests.sdk.langchain.chains import (
    Failing,
    Handler,
    Overloaded,
    only,
    open_runs,
    rows,
    says,
    using,
)


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
