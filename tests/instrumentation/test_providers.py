"""Laws that hold for every provider's own library: whole and streamed, synchronous and asynchronous."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

import agentops_local
from agentops_local.instrumentation.libraries import LIBRARIES, usable
from agentops_local.session import Session
from tests.fakes.llm import Answer, LLMServer, Usage
from tests.sdk.records import Records

QUESTION: Any = [{"role": "user", "content": "Weather in Paris?"}]
SEEN = Usage(input=100, output=20, cache_read=30, cache_write=10, reasoning=5)


class Provider(NamedTuple):
    """How a library is used.

    Attributes:
        model: which model is asked; `answers` which one answers.
        plain, stream, async_plain: make a call, read the answer to its end, and give its text.
        tells: which kinds of tokens its API counts.
    """

    distribution: str
    model: str
    answers: str
    plain: Callable[[LLMServer, str], str]
    stream: Callable[[LLMServer, str], str]
    async_plain: Callable[[LLMServer, str], str]
    tells: tuple[str, ...] = ()


def _openai(server: LLMServer, model: str) -> str:
    import openai

    with openai.OpenAI(base_url=server.openai, api_key="k") as client:
        return str(client.chat.completions.create(model=model, messages=iter(QUESTION)).choices[0].message.content)


def _openai_stream(server: LLMServer, model: str) -> str:
    import openai

    with openai.OpenAI(base_url=server.openai, api_key="k") as client:
        stream: Any = client.chat.completions.create(
            model=model, messages=QUESTION, stream=True, stream_options={"include_usage": True}
        )
        return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


def _openai_async(server: LLMServer, model: str) -> str:
    import openai

    async def call() -> str:
        async with openai.AsyncOpenAI(base_url=server.openai, api_key="k") as client:
            answer: Any = await client.chat.completions.create(model=model, messages=iter(QUESTION))
            return str(answer.choices[0].message.content)

    return asyncio.run(call())


def _anthropic(server: LLMServer, model: str) -> str:
    import anthropic

    with anthropic.Anthropic(base_url=server.url, api_key="k") as client:
        answer: Any = client.messages.create(model=model, max_tokens=99, messages=iter(QUESTION))
        return str(answer.content[0].text)


def _anthropic_stream(server: LLMServer, model: str) -> str:
    import anthropic

    with anthropic.Anthropic(base_url=server.url, api_key="k") as client:
        helper: Any = client.messages.stream(model=model, max_tokens=99, messages=QUESTION)
        with helper as stream:
            return "".join(stream.text_stream)


def _anthropic_async(server: LLMServer, model: str) -> str:
    import anthropic

    async def call() -> str:
        async with anthropic.AsyncAnthropic(base_url=server.url, api_key="k") as client:
            stream: Any = await client.messages.create(model=model, max_tokens=99, messages=iter(QUESTION), stream=True)
            return "".join([event.delta.text async for event in stream if event.type == "content_block_delta"])

    return asyncio.run(call())


def _gemini_client(server: LLMServer) -> Any:
    from google import genai
    from google.genai import types

    return genai.Client(api_key="k", http_options=types.HttpOptions(base_url=server.url))


def _gemini(server: LLMServer, model: str) -> str:
    client = _gemini_client(server)  # held: one that is collected closes its connections
    return str(client.models.generate_content(model=model, contents="Weather in Paris?").text)


def _gemini_stream(server: LLMServer, model: str) -> str:
    client = _gemini_client(server)
    stream = client.models.generate_content_stream(model=model, contents="Weather in Paris?")
    return "".join(chunk.text or "" for chunk in stream)


def _gemini_async(server: LLMServer, model: str) -> str:
    async def call() -> str:
        client = _gemini_client(server)
        return str((await client.aio.models.generate_content(model=model, contents="Weather in Paris?")).text)

    return asyncio.run(call())


def _groq(server: LLMServer, model: str) -> str:
    import groq

    with groq.Groq(base_url=server.url, api_key="k") as client:
        return str(client.chat.completions.create(model=model, messages=iter(QUESTION)).choices[0].message.content)


def _groq_stream(server: LLMServer, model: str) -> str:
    import groq

    with groq.Groq(base_url=server.url, api_key="k") as client:
        stream: Any = client.chat.completions.create(model=model, messages=QUESTION, stream=True)
        return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


def _groq_async(server: LLMServer, model: str) -> str:
    import groq

    async def call() -> str:
        async with groq.AsyncGroq(base_url=server.url, api_key="k") as client:
            stream: Any = await client.chat.completions.create(model=model, messages=QUESTION, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])

    return asyncio.run(call())


def _mistral(server: LLMServer, model: str) -> str:
    from mistralai.client import Mistral

    with Mistral(api_key="k", server_url=server.url) as client:
        answer: Any = client.chat.complete(model=model, messages=QUESTION)
        return str(answer.choices[0].message.content)


def _mistral_stream(server: LLMServer, model: str) -> str:
    from mistralai.client import Mistral

    with Mistral(api_key="k", server_url=server.url) as client:
        stream: Any = client.chat.stream(model=model, messages=QUESTION)
        return "".join(event.data.choices[0].delta.content or "" for event in stream if event.data.choices)


def _mistral_async(server: LLMServer, model: str) -> str:
    from mistralai.client import Mistral

    async def call() -> str:
        async with Mistral(api_key="k", server_url=server.url) as client:
            answer: Any = await client.chat.complete_async(model=model, messages=QUESTION)
            return str(answer.choices[0].message.content)

    return asyncio.run(call())


def _cohere(server: LLMServer, model: str) -> str:
    import cohere

    answer: Any = cohere.ClientV2(api_key="k", base_url=server.url).chat(model=model, messages=QUESTION)
    return str(answer.message.content[0].text)


def _cohere_stream(server: LLMServer, model: str) -> str:
    import cohere

    stream: Any = cohere.ClientV2(api_key="k", base_url=server.url).chat_stream(model=model, messages=QUESTION)
    return "".join(event.delta.message.content.text for event in stream if event.type == "content-delta")


def _cohere_async(server: LLMServer, model: str) -> str:
    import cohere

    async def call() -> str:
        client = cohere.AsyncClientV2(api_key="k", base_url=server.url)
        answer: Any = await client.chat(model=model, messages=QUESTION)
        return str(answer.message.content[0].text)

    return asyncio.run(call())


def _ollama(server: LLMServer, model: str) -> str:
    import ollama

    return str(ollama.Client(host=server.url).chat(model=model, messages=QUESTION).message.content)


def _ollama_stream(server: LLMServer, model: str) -> str:
    import ollama

    stream = ollama.Client(host=server.url).chat(model=model, messages=QUESTION, stream=True)
    return "".join(part.message.content or "" for part in stream)


def _ollama_async(server: LLMServer, model: str) -> str:
    import ollama

    async def call() -> str:
        return str((await ollama.AsyncClient(host=server.url).chat(model=model, messages=QUESTION)).message.content)

    return asyncio.run(call())


_READ, _WRITE, _REASONING = "cache_read", "cache_write", "reasoning"
PROVIDERS = [
    Provider("openai", "gpt-4o", "gpt-4o-2024-08-06", _openai, _openai_stream, _openai_async, (_READ, _REASONING)),
    Provider("anthropic", "claude-sonnet-4-5", "claude-sonnet-4-5-20250929",
             _anthropic, _anthropic_stream, _anthropic_async, (_READ, _WRITE)),
    Provider("google-genai", "gemini-2.5-flash", "gemini-2.5-flash", _gemini, _gemini_stream, _gemini_async,
             (_READ, _REASONING)),
    Provider("groq", "llama-3.3-70b-versatile", "llama-3.3-70b-versatile", _groq, _groq_stream, _groq_async,
             (_READ, _REASONING)),
    Provider("mistralai", "mistral-large-latest", "mistral-large-latest", _mistral, _mistral_stream, _mistral_async),
    Provider("cohere", "command-a-03-2025", "command-a-03-2025", _cohere, _cohere_stream, _cohere_async),
    Provider("ollama", "llama3", "llama3", _ollama, _ollama_stream, _ollama_async),
]  # fmt: skip


@pytest.fixture(params=PROVIDERS, ids=lambda provider: provider.distribution)
def provider(request: pytest.FixtureRequest) -> Provider:
    """A provider whose library is installed, and an instrumentor for it."""
    found: Provider = request.param
    library = next(library for library in LIBRARIES if library.distribution == found.distribution)
    if next(usable(library), None) is None:
        pytest.skip(f"{found.distribution}, or what records it, is not installed")
    return found


@pytest.mark.parametrize("way", ["plain", "stream", "async_plain"])
def test_a_call(provider: Provider, way: str, server: LLMServer, session: Session, records: Records) -> None:
    """A call is one event, equal to what was asked and answered, with its tokens by kind; the program gets what the
    server said."""
    server.answer(Answer("It is sunny.", usage=SEEN))
    assert getattr(provider, way)(server, provider.model) == "It is sunny."
    call = records.row("SELECT * FROM llms")
    prompt = json.loads(call["prompt"])
    assert [(message["role"], message["content"]) for message in prompt] == [("user", "Weather in Paris?")]
    assert json.loads(call["completion"])["role"] == "assistant"
    assert json.loads(call["completion"])["content"] == "It is sunny."
    assert call["model"] == provider.answers
    assert (call["prompt_tokens"], call["completion_tokens"]) == (SEEN.input, SEEN.output)
    for kind in provider.tells:
        assert call[f"{kind}_tokens"] == getattr(SEEN, kind), kind
    assert records.column("SELECT count(*) FROM payloads") == [1]
    assert len(server.requests) == 1


def test_a_tool(provider: Provider, server: LLMServer, session: Session, records: Records) -> None:
    """A tool that the model calls is recorded with its name and its arguments, in one shape for all providers."""
    server.answer(Answer(None, (("call_1", "weather", '{"city": "Paris"}'),), SEEN))
    try:
        provider.plain(server, provider.model)
    except (AttributeError, TypeError, IndexError):
        pass  # there is no text to be read
    (asked,) = json.loads(records.value("SELECT completion FROM llms"))["tool_calls"]
    assert asked["function"]["name"] == "weather"
    assert json.loads(asked["function"]["arguments"]) == {"city": "Paris"}


def test_a_failure(provider: Provider, server: LLMServer, session: Session, records: Records) -> None:
    """A refused call raises the same exception as without us, and is one call and one error."""
    server.fail(400)
    with pytest.raises(Exception, match="400") as recorded:
        provider.plain(server, provider.model)
    agentops_local.stop_instrumenting()
    server.fail(400)
    with pytest.raises(Exception, match="400") as plain:
        provider.plain(server, provider.model)
    assert type(recorded.value) is type(plain.value)
    assert str(recorded.value) == str(plain.value)
    assert records.column("SELECT count(*) FROM llms") == [1]
    assert records.column("SELECT error_type FROM errors") == [type(plain.value).__name__]


def test_stopped(provider: Provider, server: LLMServer, session: Session, records: Records) -> None:
    """After `stop_instrumenting()` nothing is recorded, and the program goes on; `init()` begins again."""
    assert provider.plain(server, provider.model) == "It is sunny."
    agentops_local.stop_instrumenting()
    assert provider.stream(server, provider.model) == "It is sunny."
    assert records.column("SELECT count(*) FROM llms") == [1]
    agentops_local.init(instrument_llm_calls=True)
    assert provider.async_plain(server, provider.model) == "It is sunny."
    assert records.column("SELECT count(*) FROM llms") == [2]
