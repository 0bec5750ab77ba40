"""Laws of recording the calls of OpenAI's library, driven as its users drive it."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Iterator
from typing import Any

import pytest

from agentops_local.session import Session
from tests.fakes.llm import Answer, LLMServer
from tests.sdk.records import Records

openai = pytest.importorskip("openai", reason="openai is not installed")
pytest.importorskip("opentelemetry.instrumentation.genai.openai", reason="its instrumentor is not installed")

QUESTION = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Weather in Paris?"}]
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]
WEATHER = Answer(None, (("call_1", "weather", '{"city":  "Paris", "days": 1.0}'),))


@pytest.fixture
def client(session: Session, server: LLMServer) -> Iterator[Any]:
    """A client that tries three times."""
    with openai.OpenAI(base_url=server.openai, api_key="k", max_retries=2) as made:
        yield made


def only(records: Records) -> dict[str, Any]:
    """The one call that was recorded, with its JSON as what it says."""
    row = records.row("SELECT * FROM llms")
    for name in ("prompt", "completion", "params", "returns"):
        row[name] = None if row[name] is None else json.loads(row[name])
    return row


def test_chat(client: Any, records: Records) -> None:
    """A chat is one event with its prompt, answer, model, parameters, and its tokens by kind."""
    client.chat.completions.create(model="gpt-4o", messages=QUESTION, temperature=0.5, seed=7)
    call = only(records)
    assert call["prompt"] == QUESTION
    assert call["completion"] == {"role": "assistant", "content": "It is sunny."}
    assert (call["provider"], call["model"]) == ("openai", "gpt-4o-2024-08-06")
    assert (call["prompt_tokens"], call["completion_tokens"]) == (100, 20)
    assert (call["cache_read_tokens"], call["reasoning_tokens"]) == (30, 5)
    assert call["params"]["temperature"] == 0.5
    assert call["params"]["seed"] == 7
    assert call["returns"]["id"] == "chatcmpl-1"
    assert call["init_timestamp"] < call["end_timestamp"]


def test_tool_calls(client: Any, server: LLMServer, records: Records) -> None:
    """A tool that the model calls is recorded letter by letter as the model wrote it, beside those that are offered."""
    server.answer(WEATHER)
    answer = client.chat.completions.create(model="gpt-4o", messages=QUESTION, tools=TOOLS)
    call = only(records)
    (asked,) = call["completion"]["tool_calls"]
    assert asked == answer.choices[0].message.tool_calls[0].model_dump()
    assert asked["function"]["arguments"] == '{"city":  "Paris", "days": 1.0}'
    assert call["params"]["tools"][0]["name"] == "weather"


def test_a_stream(client: Any, server: LLMServer, records: Records) -> None:
    """A stream is one event, recorded when it has been read, with all that came; tool calls as the model wrote them."""
    server.answer(Answer("It is sunny.", WEATHER.calls))
    stream = client.chat.completions.create(
        model="gpt-4o", messages=QUESTION, stream=True, stream_options={"include_usage": True}
    )
    assert records.column("SELECT count(*) FROM llms") == [0]
    said = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    call = only(records)
    assert call["completion"]["content"] == said == "It is sunny."
    assert call["completion"]["tool_calls"][0]["function"]["arguments"] == '{"city":  "Paris", "days": 1.0}'
    assert call["completion_tokens"] > 0
    assert call["returns"]["time_to_first_chunk"] > 0


def test_a_stream_without_usage(client: Any, records: Records) -> None:
    """Tokens that nobody has told are unknown, not zero, and the call is unpriced."""
    list(client.chat.completions.create(model="gpt-4o", messages=QUESTION, stream=True))
    call = only(records)
    assert (call["prompt_tokens"], call["completion_tokens"], call["cost"]) == (None, None, None)


def test_a_stream_is_what_it_was(client: Any) -> None:
    """A stream keeps its class, its context manager and its close()."""
    with client.chat.completions.create(model="gpt-4o", messages=QUESTION, stream=True) as stream:
        assert isinstance(stream, openai.Stream)
        assert stream.response.status_code == 200
        next(stream)
    stream.close()


@pytest.mark.parametrize("leave", ["close", "collect"])
def test_a_stream_that_is_left(client: Any, server: LLMServer, records: Records, leave: str) -> None:
    """A stream that is closed early, or that nobody holds any longer, is recorded with what had come."""
    gate = server.hold()
    stream = client.chat.completions.create(model="gpt-4o", messages=QUESTION, stream=True)
    next(iter(stream))
    gate.set()
    if leave == "close":
        stream.close()
    del stream
    gc.collect()
    assert only(records)["prompt"] == QUESTION


def test_a_stream_that_is_cut(client: Any, server: LLMServer, records: Records) -> None:
    """A stream whose connection breaks raises the library's own exception; what came is recorded, with the error."""
    server.cut(after_chunks=2)
    with pytest.raises(openai.APIConnectionError):
        list(client.chat.completions.create(model="gpt-4o", messages=QUESTION, stream=True))
    assert only(records)["completion"]["content"] == "It is "
    assert records.column("SELECT trigger_event_type FROM errors") == ["llms"]


def test_parse(client: Any, server: LLMServer, records: Records) -> None:
    """A structured output is one event."""
    pydantic = pytest.importorskip("pydantic")
    weather = pydantic.create_model("Weather", city=(str, ...))
    server.answer(Answer('{"city": "Paris"}'))
    answer = client.chat.completions.parse(model="gpt-4o", messages=QUESTION, response_format=weather)
    assert answer.choices[0].message.parsed.city == "Paris"
    assert only(records)["completion"]["content"] == '{"city": "Paris"}'


def test_the_stream_helper(client: Any, records: Records) -> None:
    """The library's own helper around streams works as ever, and is one event."""
    with client.chat.completions.stream(model="gpt-4o", messages=QUESTION) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert "content.delta" in kinds
    assert final.choices[0].message.content == only(records)["completion"]["content"]


def test_the_raw_response(client: Any, records: Records) -> None:
    """A call through `with_raw_response` gives the raw response, and is one event."""
    raw = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=QUESTION)
    assert raw.http_response.status_code == 200
    assert raw.parse().choices[0].message.content == "It is sunny."
    assert only(records)["prompt"] == QUESTION


@pytest.mark.parametrize("stream", [False, True])
def test_responses(client: Any, server: LLMServer, records: Records, stream: bool) -> None:
    """The Responses API, whole and as a stream, is one event with instructions, input, answer and tokens."""
    server.answer(Answer("It is sunny.", (("call_1", "weather", '{"city": "Paris"}'),)))
    answer = client.responses.create(model="gpt-4o", instructions="Be brief.", input="Weather in Paris?", stream=stream)
    if stream:
        assert [event.type for event in answer][-1] == "response.completed"
    call = only(records)
    assert call["prompt"] == QUESTION
    assert call["completion"]["content"] == "It is sunny."
    assert call["completion"]["tool_calls"][0]["id"] == "call_1"
    assert call["prompt_tokens"] > 0
    assert call["model"] == "gpt-4o-2024-08-06"


def test_embeddings(client: Any, records: Records) -> None:
    """Embeddings are one event with the texts and the tokens; their vectors are not kept."""
    client.embeddings.create(model="text-embedding-3-small", input=["one", "two"])
    call = only(records)
    assert call["prompt"] == ["one", "two"]
    assert call["completion"] is None
    assert (call["model"], call["prompt_tokens"]) == ("text-embedding-3-small", 100)


def test_one_shot_messages(client: Any, server: LLMServer, records: Records) -> None:
    """Messages that can be read only once reach the server and the recording, both whole."""
    client.chat.completions.create(model="gpt-4o", messages=(dict(message) for message in QUESTION))
    assert server.requests[0].body["messages"] == QUESTION
    assert only(records)["prompt"] == QUESTION


def test_messages_that_go_on(client: Any, records: Records) -> None:
    """A program that adds to its list of messages before a stream is read does not change what was sent."""
    messages = list(QUESTION)
    stream = client.chat.completions.create(model="gpt-4o", messages=messages, stream=True)
    messages.append({"role": "user", "content": "later"})
    list(stream)
    assert only(records)["prompt"] == QUESTION


def test_attempts(client: Any, server: LLMServer, records: Records) -> None:
    """A call that the library tries again is one event, in which each attempt is seen."""
    server.fail(429)
    server.fail(500)
    client.chat.completions.create(model="gpt-4o", messages=QUESTION)
    attempts = only(records)["returns"]["attempts"]
    assert [attempt["status"] for attempt in attempts] == [429, 500, 200]
    assert all(attempt["seconds"] >= 0 for attempt in attempts)
    assert records.column("SELECT count(*) FROM errors") == [0]


def test_a_refused_call(client: Any, server: LLMServer, records: Records) -> None:
    """A call that fails raises the library's own exception, and is one event and one error."""
    server.fail(400)
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(model="gpt-4o", messages=QUESTION)
    assert only(records)["completion"] is None
    error = records.row("SELECT error_type, details, trigger_event_id FROM errors")
    assert error["error_type"] == "BadRequestError"
    assert error["details"] == str(raised.value)
    assert error["trigger_event_id"] == only(records)["id"]


def test_asynchronous(session: Session, server: LLMServer, records: Records) -> None:
    """Asynchronous calls, many at once, are recorded as synchronous ones are, each with its own prompt."""

    async def many() -> None:
        async with openai.AsyncOpenAI(base_url=server.openai, api_key="k") as client:

            async def one(number: int) -> None:
                question = ({"role": "user", "content": str(number)} for _ in range(1))
                if number % 2:
                    await client.chat.completions.create(model="gpt-4o", messages=question)
                    return
                stream = await client.chat.completions.create(model="gpt-4o", messages=question, stream=True)
                assert isinstance(stream, openai.AsyncStream)
                async with stream:
                    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "It is sunny."

            await asyncio.gather(*map(one, range(20)))

    asyncio.run(many())
    prompts = [json.loads(prompt)[0]["content"] for prompt in records.column("SELECT prompt FROM llms")]
    assert sorted(map(int, prompts)) == list(range(20))
    assert records.column("SELECT DISTINCT json_extract(completion, '$.content') FROM llms") == ["It is sunny."]
    assert records.column("SELECT count(DISTINCT session_id) FROM llms") == [1]


def test_cancelled(session: Session, server: LLMServer, records: Records) -> None:
    """A task that is cancelled in the midst of a stream ends as ever, and what came is recorded."""
    gate = server.hold()

    async def cancelled() -> None:
        async with openai.AsyncOpenAI(base_url=server.openai, api_key="k") as client:
            stream = await client.chat.completions.create(model="gpt-4o", messages=QUESTION, stream=True)
            first = asyncio.Event()

            async def read() -> None:
                async for _ in stream:
                    first.set()

            task = asyncio.create_task(read())
            await first.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await stream.close()

    asyncio.run(cancelled())
    gate.set()
    assert only(records)["prompt"] == QUESTION


def test_a_conversation_is_stored_once(client: Any, records: Records) -> None:
    """Each turn of a conversation adds its new messages to the database, and no more."""
    messages: list[dict[str, Any]] = list(QUESTION)
    for turn in range(10):
        answer = client.chat.completions.create(model="gpt-4o", messages=messages)
        messages.append({"role": "assistant", "content": answer.choices[0].message.content})
        messages.append({"role": "user", "content": f"And then? {turn}"})
    assert records.column("SELECT count(*) FROM message_texts") == [2 + 10 + 9]
