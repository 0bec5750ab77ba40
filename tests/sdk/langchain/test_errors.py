from __future__ import annotations

import asyncio
import inspect
import json
import logging
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from langchain_core.language_models.fake_chat_models import (
    FakeListChatModel,
)
from langchain_core.outputs import ChatResult, LLMResult
from langchain_core.runnables import RunnableConfig, RunnableLambda

from agentops_local.partners import langchain_runs, langchain_shapes
from agentops_local.partners.langchain_callback_handler import (
    LangchainCallbackHandler,
)
from tests.sdk.langchain.chains import (
    Failing,
    Handler,
    Overloaded,
    Shelf,
    ainvoke,
    broken,
    divide,
    every_way,
    invoke,
    only,
    open_runs,
    rows,
    says,
    using,
)


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
