"""Laws of the server of providers, as the libraries of Gemini, Groq, Mistral, Cohere, Ollama and AI21 see them."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes.providers import Providers, Usage

HELLO: Any = [{"role": "user", "content": "Hello"}]
CALLS = [("weather", '{"city": "Ulm"}'), ("time", "{}")]
PARSED = [(name, json.loads(arguments)) for name, arguments in CALLS]
SEEN = Usage(100, 20, cache_read=30, reasoning=5)
ALL: Any = {"tool_calls": CALLS, "reasoning": "Greet.", "usage": SEEN}

# What Cohere's library calls is deprecated by what it stands on.
pytestmark = pytest.mark.filterwarnings("ignore:The `__fields__` attribute is deprecated")


def joined(pieces: Any) -> str:
    """What the pieces of a text are together; more than one, for it was streamed."""
    texts = [piece for piece in pieces if piece]
    assert len(texts) > 1
    return "".join(texts)


# Gemini -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def gemini(providers: Providers) -> Iterator[Any]:
    """Gemini's client."""
    library = pytest.importorskip("google.genai")
    with library.Client(api_key="k", http_options={"base_url": providers.gemini}) as client:
        yield client


def of_gemini(usage: Any) -> tuple[Any, ...]:
    """Prompt, of it cached, candidates, thoughts, all."""
    return (
        usage.prompt_token_count,
        usage.cached_content_token_count,
        usage.candidates_token_count,
        usage.thoughts_token_count,
        usage.total_token_count,
    )


def test_gemini_tells_thoughts_beside_the_candidates(providers: Providers, gemini: Any) -> None:
    """Gemini tells the tokens of thoughts beside those of the candidates, and cached ones among those of the prompt;
    thoughts are parts, and the arguments of calls are values."""
    providers.answer("Hi", **ALL)
    answer = gemini.models.generate_content(model="gemini-2.5-flash", contents="Hello")
    assert of_gemini(answer.usage_metadata) == (100, 30, 15, 5, 120)
    parts = answer.candidates[0].content.parts
    assert [(part.text, part.thought) for part in parts[:2]] == [("Greet.", True), ("Hi", None)]
    assert [(call.name, call.args) for call in answer.function_calls] == PARSED
    assert (answer.model_version, answer.candidates[0].finish_reason.value) == ("gemini-2.5-flash", "STOP")
    assert providers.requests[0].path.endswith("/models/gemini-2.5-flash:generateContent")


def test_gemini_streams_its_answer(providers: Providers, gemini: Any) -> None:
    """Gemini's stream has the thoughts, the text and the calls in pieces, and all of its usage at the end."""
    providers.answer("Hi!", **ALL)
    chunks = list(gemini.models.generate_content_stream(model="gemini-2.5-flash", contents="Hello"))
    parts = [part for chunk in chunks for part in chunk.candidates[0].content.parts]
    assert joined(part.text for part in parts if part.thought) == "Greet."
    assert joined(part.text for part in parts if not part.thought) == "Hi!"
    called = [part.function_call for part in parts if part.function_call]
    assert [(call.name, call.args) for call in called] == PARSED
    assert of_gemini(chunks[0].usage_metadata) == (100, 30, None, None, 100)
    assert of_gemini(chunks[-1].usage_metadata) == (100, 30, 15, 5, 120)
    assert len({chunk.response_id for chunk in chunks}) == 1


def test_gemini_without_cache_or_thoughts_tells_of_none(gemini: Any) -> None:
    """Gemini leaves out the counts of what there was none of, and ids vary."""
    first, second = (gemini.models.generate_content(model="gemini-2.5-flash", contents="Hello") for _ in range(2))
    assert (first.text, of_gemini(first.usage_metadata)) == ("You said: Hello", (2, None, 4, None, 6))
    assert first.response_id != second.response_id


def test_gemini_refuses_in_its_own_words(providers: Providers, gemini: Any) -> None:
    """A refusal of Gemini's has its status by name, for streams as well."""
    errors = pytest.importorskip("google.genai.errors")
    providers.fail(429)
    providers.fail(503)
    with pytest.raises(errors.ClientError) as refused:
        gemini.models.generate_content(model="gemini-2.5-flash", contents="Hello")
    assert (refused.value.code, refused.value.status) == (429, "RESOURCE_EXHAUSTED")
    with pytest.raises(errors.ServerError) as unavailable:
        list(gemini.models.generate_content_stream(model="gemini-2.5-flash", contents="Hello"))
    assert (unavailable.value.code, unavailable.value.status) == (503, "UNAVAILABLE")


# Groq and Mistral ---------------------------------------------------------------------------------------------------


@pytest.fixture
def groq(providers: Providers) -> Iterator[Any]:
    """Groq's client."""
    library = pytest.importorskip("groq")
    with library.Groq(base_url=providers.groq, api_key="k") as client:
        yield client


def test_groq_answers_with_its_reasoning(providers: Providers, groq: Any) -> None:
    """Groq's answer has the reasoning beside the text, its usage with cached and reasoning tokens; refused, it tries
    again."""
    providers.fail(429, headers={"retry-after-ms": "1"})
    providers.answer("Hi", **ALL)
    answer = groq.chat.completions.create(model="openai/gpt-oss-20b", messages=HELLO)
    told = answer.choices[0].message
    assert (told.content, told.reasoning) == ("Hi", "Greet.")
    assert [(call.function.name, call.function.arguments) for call in told.tool_calls] == CALLS
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (100, 20)
    assert answer.usage.prompt_tokens_details.cached_tokens == 30
    assert answer.usage.completion_tokens_details.reasoning_tokens == 5
    assert [request.path for request in providers.requests] == ["/openai/v1/chat/completions"] * 2


@pytest.mark.parametrize("asked", [True, False])
def test_groq_streams_its_usage_unasked(providers: Providers, groq: Any, asked: bool) -> None:
    """Groq's stream tells its usage with the end of the choice, in a field of its own, asked or not; and once more, as
    OpenAI's does, if asked."""
    providers.answer("Hi!", **ALL)
    more = {"stream_options": {"include_usage": True}} if asked else None  # its library has no name for it
    create = groq.chat.completions.create
    chunks = list(create(model="openai/gpt-oss-20b", messages=HELLO, stream=True, extra_body=more))
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert joined(delta.content for delta in deltas) == "Hi!"
    assert joined(delta.reasoning for delta in deltas) == "Greet."
    called = [call for delta in deltas for call in delta.tool_calls or ()]
    assert [(call.index, call.function.name, call.function.arguments) for call in called] == [
        (index, *call) for index, call in enumerate(CALLS)
    ]
    (ended,) = [chunk for chunk in chunks if chunk.choices and chunk.choices[0].finish_reason]
    assert (ended.choices[0].finish_reason, ended.x_groq.usage.total_tokens) == ("tool_calls", 120)
    assert [chunk.usage.total_tokens for chunk in chunks if chunk.usage] == ([120] if asked else [])


@pytest.fixture
def mistral(providers: Providers) -> Iterator[Any]:
    """Mistral's client."""
    library = pytest.importorskip("mistralai.client")
    with library.Mistral(server_url=providers.mistral, api_key="k") as client:
        yield client


def test_mistral_answers_under_the_name_it_was_called_by(providers: Providers, mistral: Any) -> None:
    """Mistral's answer keeps the alias of its model, and has thoughts as parts of its content."""
    providers.answer("Hi", **ALL)
    providers.answer("Hi")
    answer, plain = (mistral.chat.complete(model="mistral-large-latest", messages=HELLO) for _ in range(2))
    told = answer.choices[0].message
    assert [told.content[0].thinking[0].text, told.content[1].text] == ["Greet.", "Hi"]
    assert [(call.function.name, call.function.arguments) for call in told.tool_calls] == CALLS
    assert (answer.model, answer.choices[0].finish_reason) == ("mistral-large-latest", "tool_calls")
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (100, 20)
    assert plain.choices[0].message.content == "Hi"
    assert (plain.id != answer.id, providers.requests[0].path) == (True, "/v1/chat/completions")


def test_mistral_streams_its_usage_unasked(providers: Providers, mistral: Any) -> None:
    """Mistral's stream tells calls, end and usage in one chunk, which is the last."""
    providers.answer("Hi!", tool_calls=CALLS, usage=SEEN)
    with mistral.chat.stream(model="mistral-large-latest", messages=HELLO) as stream:
        chunks = [event.data for event in stream]
    assert joined(chunk.choices[0].delta.content for chunk in chunks) == "Hi!"
    assert [chunk for chunk in chunks if chunk.usage] == [chunks[-1]]
    (last,) = chunks[-1].choices
    assert [(call.function.name, call.function.arguments) for call in last.delta.tool_calls] == CALLS
    assert (last.finish_reason, chunks[-1].usage.total_tokens) == ("tool_calls", 120)


def test_mistral_refuses_with_its_status(providers: Providers, mistral: Any) -> None:
    """A refusal of Mistral's has its status and its message."""
    errors = pytest.importorskip("mistralai.client.errors")
    providers.fail(429)
    with pytest.raises(errors.SDKError) as refused:
        mistral.chat.complete(model="mistral-large-latest", messages=HELLO)
    assert (refused.value.status_code, "rate_limited" in refused.value.body) == (429, True)


# Cohere -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def cohere(providers: Providers) -> Iterator[Any]:
    """Cohere's client."""
    library = pytest.importorskip("cohere")
    with library.ClientV2(base_url=providers.cohere, api_key="k") as client:
        yield client


def test_cohere_answers_in_parts(providers: Providers, cohere: Any) -> None:
    """Cohere's answer has thinking and text as parts, calls beside them, and the tokens used and billed; refused, it
    tries again."""
    providers.fail(429, headers={"retry-after-ms": "1"})
    providers.answer("Hi", **ALL)
    answer = cohere.chat(model="command-a-03-2025", messages=HELLO)
    assert [part.type for part in answer.message.content] == ["thinking", "text"]
    assert (answer.message.content[0].thinking, answer.message.content[1].text) == ("Greet.", "Hi")
    assert [(call.function.name, call.function.arguments) for call in answer.message.tool_calls] == CALLS
    usage = answer.usage
    assert (usage.tokens.input_tokens, usage.tokens.output_tokens, usage.cached_tokens) == (100, 20, 30)
    assert (usage.billed_units.input_tokens, answer.finish_reason) == (100, "TOOL_CALL")
    assert [request.path for request in providers.requests] == ["/v2/chat"] * 2


def test_cohere_streams_part_by_part(providers: Providers, cohere: Any) -> None:
    """Cohere's stream opens, fills and closes each part and each call, and tells the usage with the end."""
    providers.answer("Hi!", **ALL)
    events = list(cohere.chat_stream(model="command-a-03-2025", messages=HELLO))
    kinds = [event.type for event in events]
    assert [kind for number, kind in enumerate(kinds) if kinds[number - 1 : number] != [kind]] == [
        "message-start",
        *["content-start", "content-delta", "content-end"] * 2,
        *["tool-call-start", "tool-call-delta", "tool-call-end"] * 2,
        "message-end",
    ]
    written = [event.delta.message.content for event in events if event.type == "content-delta"]
    assert joined(piece.thinking for piece in written) == "Greet."
    assert joined(piece.text for piece in written) == "Hi!"
    begun = [event.delta.message.tool_calls.function for event in events if event.type == "tool-call-start"]
    assert [(function.name, function.arguments) for function in begun] == [(name, "") for name, _ in CALLS]
    called = [event.delta.message.tool_calls for event in events if event.type == "tool-call-delta"]
    assert joined(call.function.arguments for call in called) == "".join(arguments for _, arguments in CALLS)
    assert (events[-1].delta.usage.tokens.output_tokens, events[-1].delta.finish_reason) == (20, "TOOL_CALL")


# Ollama -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def ollama(providers: Providers) -> Iterator[Any]:
    """Ollama's client."""
    library = pytest.importorskip("ollama")
    with library.Client(host=providers.ollama) as client:
        yield client


def test_ollama_answers_with_its_thoughts(providers: Providers, ollama: Any) -> None:
    """Ollama's answer has the thoughts beside the text, the arguments of calls as values, and counts in and out."""
    providers.answer("Hi", **ALL)
    answer = ollama.chat(model="qwen3", messages=HELLO)
    assert (answer.message.content, answer.message.thinking) == ("Hi", "Greet.")
    assert [(call.function.name, call.function.arguments) for call in answer.message.tool_calls] == PARSED
    assert (answer.prompt_eval_count, answer.eval_count, answer.model, answer.done) == (100, 20, "qwen3", True)


def test_ollama_streams_lines(providers: Providers, ollama: Any) -> None:
    """Ollama's stream has a piece on each line; the counts come with the last, which is done."""
    providers.answer("Hi!", **ALL)
    lines = list(ollama.chat(model="qwen3", messages=HELLO, stream=True))
    assert joined(line.message.content for line in lines) == "Hi!"
    assert joined(line.message.thinking for line in lines) == "Greet."
    called = [call.function for line in lines for call in line.message.tool_calls or ()]
    assert [(call.name, call.arguments) for call in called] == PARSED
    assert [(line.done, line.eval_count) for line in lines[-2:]] == [(False, None), (True, 20)]


def test_ollama_streams_unless_told_otherwise(providers: Providers) -> None:
    """A chat that says nothing of streams is streamed by Ollama."""
    body = json.dumps({"model": "qwen3", "messages": HELLO}).encode()
    with urllib.request.urlopen(f"{providers.ollama}/api/chat", body) as answer:  # noqa: S310 - our own address
        assert [json.loads(line)["done"] for line in answer] == [False, False, False, True]


def test_ollama_refuses_with_its_error(providers: Providers, ollama: Any) -> None:
    """A refusal of Ollama's is its error, with the status."""
    library = pytest.importorskip("ollama")
    providers.fail(500)
    with pytest.raises(library.ResponseError) as refused:
        ollama.chat(model="qwen3", messages=HELLO)
    assert (refused.value.status_code, refused.value.error) == (500, "refused with 500")


# AI21, and all of them -----------------------------------------------------------------------------------------------


def test_ai21_is_asked_with_the_library_of_openai(providers: Providers) -> None:
    """AI21's chat is OpenAI's, whole and streamed; the usage comes unasked with the end of the choice."""
    library = pytest.importorskip("openai")
    providers.answer("Hi!", usage=SEEN, times=2)
    with library.OpenAI(base_url=providers.ai21, api_key="k") as client:
        whole = client.chat.completions.create(model="jamba-mini", messages=HELLO)
        chunks = list(client.chat.completions.create(model="jamba-mini", messages=HELLO, stream=True))
    assert (whole.choices[0].message.content, whole.usage.total_tokens) == ("Hi!", 120)
    assert joined(chunk.choices[0].delta.content for chunk in chunks) == "Hi!"
    assert [chunk.usage.total_tokens for chunk in chunks if chunk.usage] == [120]
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert {request.provider for request in providers.requests} == {"ai21"}


def test_asynchronous_clients_are_answered_alike(providers: Providers) -> None:
    """The asynchronous clients of all these libraries are answered as the others are."""
    genai, of_groq, of_mistral, of_cohere, of_ollama = map(
        pytest.importorskip, ["google.genai", "groq", "mistralai.client", "cohere", "ollama"]
    )

    async def texts() -> list[str]:
        gemini = genai.Client(api_key="k", http_options={"base_url": providers.gemini})
        async with (
            gemini.aio as first,
            of_groq.AsyncGroq(base_url=providers.groq, api_key="k") as second,
            of_mistral.Mistral(server_url=providers.mistral, api_key="k") as third,
            of_cohere.AsyncClientV2(base_url=providers.cohere, api_key="k") as fourth,
            of_ollama.AsyncClient(host=providers.ollama) as fifth,
        ):
            answers = await asyncio.gather(
                first.models.generate_content(model="gemini-2.5-flash", contents="Hello"),
                second.chat.completions.create(model="openai/gpt-oss-20b", messages=HELLO),
                third.chat.complete_async(model="mistral-large-latest", messages=HELLO),
                fourth.chat(model="command-a-03-2025", messages=HELLO),
                fifth.chat(model="qwen3", messages=HELLO),
            )
        gemini.close()
        return [
            answers[0].text,
            *(answer.choices[0].message.content for answer in answers[1:3]),
            answers[3].message.content[0].text,
            answers[4].message.content,
        ]

    assert asyncio.run(texts()) == ["You said: Hello"] * 5


def test_a_cut_breaks_every_kind_of_stream(providers: Providers, gemini: Any, ollama: Any) -> None:
    """A cut ends the stream of any provider with an error of its client's, not with a short answer."""
    providers.cut(after_chunks=1)
    providers.cut(after_chunks=1)
    events = gemini.models.generate_content_stream(model="gemini-2.5-flash", contents="Hello")
    lines = ollama.chat(model="qwen3", messages=HELLO, stream=True)
    assert next(events).text == next(lines).message.content == "You s"
    for stream in (events, lines):
        with pytest.raises(Exception, match=r"(?i)incomplete|closed|peer"):
            next(stream)
