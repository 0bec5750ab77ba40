from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
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
from langchain_core.outputs import ChatGeneration, ChatResult

from agentops_local.partners import langchain_shapes
from tests.sdk.langchain.chains import (
    USAGE,
    Failing,
    Handler,
    Overloaded,
    ainvoke,
    astream,
    every_way,
    invoke,
    only,
    rows,
    says,
    stream,
    using,
)


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
