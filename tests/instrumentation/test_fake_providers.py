"""Laws of the server of providers, as OpenAI's and Anthropic's own libraries see them."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes.providers import Answer, Providers, Received, Usage

HELLO: Any = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}]
CALLS = [("weather", '{"city": "Ulm"}'), ("time", "{}")]
SEEN = Usage(100, 20, cache_read=30, cache_write=10, reasoning=5)
LONG = 30  # seconds that no test waits for unless it fails


@pytest.fixture
def openai(providers: Providers) -> Iterator[Any]:
    """OpenAI's client."""
    library = pytest.importorskip("openai")
    with library.OpenAI(base_url=providers.openai, api_key="k") as client:
        yield client


@pytest.fixture
def anthropic(providers: Providers) -> Iterator[Any]:
    """Anthropic's client."""
    library = pytest.importorskip("anthropic")
    with library.Anthropic(base_url=providers.anthropic, api_key="k") as client:
        yield client


def chat(client: Any, **more: Any) -> Any:
    """Ask OpenAI's."""
    return client.chat.completions.create(model="gpt-4o", messages=HELLO, **more)


def message(client: Any, **more: Any) -> Any:
    """Ask Anthropic's."""
    return client.messages.create(model="claude-haiku-4-5", max_tokens=99, messages=HELLO[1:], system="Be kind", **more)


# OpenAI's chat ------------------------------------------------------------------------------------------------------


def test_without_a_script_the_last_message_is_answered(openai: Any) -> None:
    """Without a script the answer is made of the last message, its usage counted from the lengths, by the dated model
    of the name; and no two answers have the same id."""
    first, second = chat(openai), chat(openai)
    assert first.choices[0].message.content == "You said: Hello"
    assert (first.usage.prompt_tokens, first.usage.completion_tokens, first.usage.total_tokens) == (4, 4, 8)
    assert (first.model, first.choices[0].finish_reason) == ("gpt-4o-2024-08-06", "stop")
    assert first.id != second.id


def test_the_usage_of_a_chat_is_told_in_all_its_parts(providers: Providers, openai: Any) -> None:
    """A chat tells all tokens, and how many of them were read from the cache, written to it, and reasoned with."""
    providers.answer("Hi", usage=SEEN)
    usage = chat(openai).usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (100, 20, 120)
    assert usage.prompt_tokens_details.cached_tokens == 30
    assert usage.prompt_tokens_details.cache_write_tokens == 10
    assert usage.completion_tokens_details.reasoning_tokens == 5


@pytest.mark.parametrize("asked", [True, False])
def test_a_stream_tells_its_usage_at_the_end_and_only_if_asked(openai: Any, asked: bool) -> None:
    """A streamed chat comes in pieces; its usage comes in one more chunk, without a choice, and only if asked for."""
    more = {"stream_options": {"include_usage": True}} if asked else {}
    chunks = list(chat(openai, stream=True, **more))
    written = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert "".join(filter(None, written)) == "You said: Hello"
    assert len(list(filter(None, written))) == 3
    assert len({chunk.id for chunk in chunks}) == 1
    counted = [chunk for chunk in chunks if chunk.usage is not None]
    assert [(chunk.choices, chunk.usage.total_tokens) for chunk in counted] == ([([], 8)] if asked else [])
    assert counted == ([chunks[-1]] if asked else [])


def test_calls_of_tools_are_streamed_in_pieces(providers: Providers, openai: Any) -> None:
    """A call of a tool begins with its id and name, and its arguments follow in pieces."""
    providers.answer(tool_calls=CALLS)
    chunks = list(chat(openai, stream=True))
    pieces = [piece for chunk in chunks for piece in chunk.choices[0].delta.tool_calls or ()]
    assert [(piece.index, piece.function.name) for piece in pieces if piece.id] == [(0, "weather"), (1, "time")]
    for index, (_, arguments) in enumerate(CALLS):
        told = [piece.function.arguments for piece in pieces if piece.index == index]
        assert ("".join(told), told[0]) == (arguments, "")
        assert len(told) > 2
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_calls_of_tools_come_whole_in_a_whole_answer(providers: Providers, openai: Any) -> None:
    """An answer with calls of tools has their arguments as text, no text of its own, and ends for their sake."""
    providers.answer(tool_calls=CALLS)
    choice = chat(openai).choices[0]
    assert [(call.function.name, call.function.arguments) for call in choice.message.tool_calls] == CALLS
    assert (choice.message.content, choice.finish_reason) == (None, "tool_calls")


def test_an_asynchronous_client_is_answered_alike(providers: Providers) -> None:
    """An asynchronous client gets whole answers and streams, several at a time."""
    library = pytest.importorskip("openai")
    providers.answer_with(lambda request: Answer(request.body["messages"][0]["content"].upper()))

    async def one(client: Any, word: str, *, stream: bool) -> str:
        answer = await client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": word}], stream=stream
        )
        if not stream:
            return str(answer.choices[0].message.content)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in answer])

    async def all_at_once() -> list[str]:
        async with library.AsyncOpenAI(base_url=providers.openai, api_key="k") as client:
            return await asyncio.gather(*(one(client, f"word {n}", stream=n % 2 == 0) for n in range(8)))

    assert asyncio.run(all_at_once()) == [f"WORD {n}" for n in range(8)]


# OpenAI's responses and embeddings ----------------------------------------------------------------------------------


def test_a_response_has_reasoning_text_and_calls(providers: Providers, openai: Any) -> None:
    """A response has an item for the reasoning, one for the text and one for each call, and the usage in its parts."""
    providers.answer("Hi", tool_calls=CALLS, reasoning="Greet.", usage=SEEN)
    response = openai.responses.create(model="gpt-5", input="Hello", instructions="Be kind.")
    assert [item.type for item in response.output] == ["reasoning", "message", "function_call", "function_call"]
    assert (response.output[0].summary[0].text, response.output_text) == ("Greet.", "Hi")
    assert [(item.name, item.arguments) for item in response.output[2:]] == CALLS
    assert (response.model, response.usage.total_tokens) == ("gpt-5-2025-08-07", 120)
    assert response.usage.input_tokens_details.cached_tokens == 30
    assert response.usage.output_tokens_details.reasoning_tokens == 5


def test_a_response_without_a_script_answers_its_input(openai: Any) -> None:
    """Without a script a response answers the last of its input, text or messages, and counts its instructions."""
    parts = [{"role": "user", "content": [{"type": "input_text", "text": "Hello"}]}]
    for given in ("Hello", parts):
        response = openai.responses.create(model="gpt-5", input=given, instructions="Be kind.")
        assert (response.output_text, response.usage.input_tokens) == ("You said: Hello", 4)


def test_a_response_is_streamed_in_the_order_of_events(providers: Providers, openai: Any) -> None:
    """A streamed response tells of each item that it is added, filled and done; its events are numbered without gap."""
    providers.answer("Hi!", tool_calls=CALLS[:1], reasoning="Greet.")
    events = list(openai.responses.create(model="gpt-5", input="Hello", stream=True))
    kinds = [event.type for event in events]
    once = [kind for number, kind in enumerate(kinds) if kinds[number - 1 : number] != [kind]]
    assert once == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done",
        "response.reasoning_summary_part.done",
        "response.output_item.done",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert (events[0].response.usage, events[0].response.output) == (None, [])


def test_the_library_puts_a_streamed_response_together(providers: Providers, openai: Any) -> None:
    """What OpenAI's library puts together from the events is the whole response."""
    providers.answer("Hi!", tool_calls=CALLS, reasoning="Greet.", usage=SEEN)
    with openai.responses.stream(model="gpt-5", input="Hello") as stream:
        written = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        response = stream.get_final_response()
    assert (written, response.output_text, response.usage.output_tokens) == ("Hi!", "Hi!", 20)
    assert [(item.name, item.arguments) for item in response.output[2:]] == CALLS


def test_equal_texts_have_equal_embeddings(openai: Any) -> None:
    """Each text has a vector that depends on it alone, the same in either encoding, as long as asked for."""
    ask = openai.embeddings.create
    coded = ask(
        model="text-embedding-3-small", input=["one", "two", "one"], dimensions=5
    )  # the library asks for base64
    plain = ask(model="text-embedding-3-small", input=["one", "two"], dimensions=5, encoding_format="float")
    one, two, again = (each.embedding for each in coded.data)
    assert one == again != two
    assert [each.embedding for each in plain.data] == [one, two]
    assert (len(one), coded.usage.prompt_tokens) == (5, 3)


# Anthropic's messages -----------------------------------------------------------------------------------------------


def test_a_message_tells_its_input_in_parts(providers: Providers, anthropic: Any) -> None:
    """A message tells the tokens that were read from the cache and written to it beside the others, not among them."""
    providers.answer("Hi", tool_calls=CALLS, reasoning="Greet.", usage=SEEN)
    answer = message(anthropic)
    usage = answer.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (60, 30, 10)
    assert (usage.output_tokens, usage.output_tokens_details.thinking_tokens) == (20, 5)
    assert [block.type for block in answer.content] == ["thinking", "text", "tool_use", "tool_use"]
    assert (answer.content[2].name, answer.content[2].input) == ("weather", {"city": "Ulm"})
    assert (answer.model, answer.stop_reason) == ("claude-haiku-4-5-20251001", "tool_use")
    assert message(anthropic).id != answer.id


def test_a_message_is_streamed_block_by_block(providers: Providers, anthropic: Any) -> None:
    """A streamed message opens, fills and closes each block; its usage is only begun at first, and whole at the end."""
    providers.answer("Hi!", tool_calls=CALLS[:1], reasoning="Greet.", usage=SEEN)
    events = list(message(anthropic, stream=True))
    kinds = [event.type for event in events if event.type != "content_block_delta"]
    blocks = ["content_block_start", "content_block_stop"]
    assert kinds == ["message_start", *blocks * 3, "message_delta", "message_stop"]
    deltas = [event.delta.type for event in events if event.type == "content_block_delta"]
    told = [kind for number, kind in enumerate(deltas) if deltas[number - 1 : number] != [kind]]
    assert told == ["thinking_delta", "signature_delta", "text_delta", "input_json_delta"]
    first, last = events[0].message.usage, events[-2].usage
    assert (first.input_tokens, first.cache_read_input_tokens, first.output_tokens) == (60, 30, 1)
    assert (last.output_tokens, last.cache_read_input_tokens) == (20, 30)


def test_the_library_puts_a_streamed_message_together(providers: Providers, anthropic: Any) -> None:
    """What Anthropic's library puts together from the events is the whole message."""
    providers.answer("Hi!", tool_calls=CALLS, reasoning="Greet.", usage=SEEN)
    with anthropic.messages.stream(model="claude-haiku-4-5", max_tokens=99, messages=HELLO[1:]) as stream:
        written = "".join(stream.text_stream)
        whole = stream.get_final_message()
    assert (written, whole.content[0].thinking, whole.content[1].text) == ("Hi!", "Greet.", "Hi!")
    assert [(block.name, block.input) for block in whole.content[2:]] == [("weather", {"city": "Ulm"}), ("time", {})]
    assert (whole.usage.output_tokens, whole.stop_reason) == (20, "tool_use")


def test_an_asynchronous_client_of_anthropic_is_answered_alike(providers: Providers) -> None:
    """An asynchronous client of Anthropic's gets whole messages and streams."""
    library = pytest.importorskip("anthropic")

    async def both() -> tuple[str, str]:
        async with library.AsyncAnthropic(base_url=providers.anthropic, api_key="k") as client:
            whole = await message(client)
            stream = await message(client, stream=True)
            pieces = [event.delta.text async for event in stream if event.type == "content_block_delta"]
            return whole.content[0].text, "".join(pieces)

    assert asyncio.run(both()) == ("You said: Hello", "You said: Hello")


# what goes wrong ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 500, 529])
def test_a_refusal_that_passes_is_tried_again_by_the_library(providers: Providers, openai: Any, status: int) -> None:
    """A client that is refused for a while tries again by itself, and gets the answer that was queued."""
    providers.fail(status, times=2, headers={"retry-after-ms": "1"})
    providers.answer("at last")
    assert chat(openai).choices[0].message.content == "at last"
    assert [request.headers["x-stainless-retry-count"] for request in providers.requests] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("status", "kind"), [(401, "authentication_error"), (429, "rate_limit_error"), (529, "overloaded_error")]
)
def test_a_refusal_is_told_in_the_words_of_its_provider(
    providers: Providers, anthropic: Any, openai: Any, status: int, kind: str
) -> None:
    """A refusal has the status, the body and the request's id as its provider tells them, whatever the address."""
    libraries = pytest.importorskip("anthropic"), pytest.importorskip("openai")
    providers.fail(status, times=2, headers={"retry-after": "7"})
    with pytest.raises(libraries[0].APIStatusError) as of_anthropic:
        message(anthropic.with_options(max_retries=0))
    assert (of_anthropic.value.status_code, of_anthropic.value.body["error"]["type"]) == (status, kind)
    assert of_anthropic.value.request_id.startswith("req_")
    assert of_anthropic.value.response.headers["retry-after"] == "7"
    with pytest.raises(libraries[1].APIStatusError) as of_openai:
        chat(openai.with_options(max_retries=0))
    assert (of_openai.value.status_code, of_openai.value.body["message"]) == (status, f"refused with {status}")


def test_what_is_out_of_order_is_refused_and_takes_no_answer(providers: Providers, openai: Any) -> None:
    """What the provider would refuse is refused, and leaves the queued answer to the next request."""
    library = pytest.importorskip("openai")
    providers.answer("for the next")
    with pytest.raises(library.BadRequestError, match="messages"):
        openai.chat.completions.create(model="gpt-4o", messages=[])
    with pytest.raises(library.BadRequestError, match="one choice"):
        chat(openai, n=2)
    assert chat(openai).choices[0].message.content == "for the next"


def test_a_cut_stream_gives_what_came_before(providers: Providers, openai: Any) -> None:
    """A stream that is cut gives the chunks before the cut and then an error; the next one is whole."""
    library = pytest.importorskip("openai")
    providers.cut(after_chunks=2)
    stream = iter(chat(openai, stream=True))
    assert [next(stream).choices[0].delta.content for _ in range(2)] == ["", "You s"]
    with pytest.raises(library.APIError):
        next(stream)
    assert list(chat(openai, stream=True))[-1].choices[0].finish_reason == "stop"


def test_a_held_stream_goes_on_when_it_is_let(providers: Providers, openai: Any) -> None:
    """A held stream stops after its chunks, goes on by as many as it is let, and is whole when it is released."""
    held = providers.hold(after_chunks=1)
    stream = iter(chat(openai, stream=True))
    assert next(stream).choices[0].delta.role == "assistant"
    assert held.waiting.wait(LONG)
    held.step()
    assert next(stream).choices[0].delta.content == "You s"
    assert held.waiting.wait(LONG)
    held.release()
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "aid: Hello"
    assert not held.left.is_set()


def test_a_held_stream_learns_that_its_client_has_gone(providers: Providers, anthropic: Any) -> None:
    """A client that leaves a held stream is known to have gone."""
    held = providers.hold(after_chunks=1)
    stream = message(anthropic, stream=True)
    assert next(iter(stream)).type == "message_start"
    stream.close()
    assert held.left.wait(LONG)


def test_a_server_is_closed_while_streams_are_held() -> None:
    """A server that is closed keeps nobody waiting: a stream that is held ends with its connection."""
    library = pytest.importorskip("openai")
    with Providers() as fake, library.OpenAI(base_url=fake.openai, api_key="k") as client:
        held = fake.hold()
        stream = iter(chat(client, stream=True))
        next(stream)
        assert held.waiting.wait(LONG)
        fake.close()
        with pytest.raises(library.APIError):
            list(stream)


def test_an_exception_of_the_script_is_raised_at_the_end() -> None:
    """A script that raises fails its test, even if the program under test swallows what it gets."""

    def broken(request: Received) -> Answer:
        raise LookupError(request.path)

    library = pytest.importorskip("openai")
    fake = Providers()
    fake.answer_with(broken)
    with library.OpenAI(base_url=fake.openai, api_key="k") as client, pytest.raises(library.BadRequestError):
        chat(client)
    with pytest.raises(LookupError, match="/v1/chat/completions"), fake:
        pass


# on the wire --------------------------------------------------------------------------------------------------------


def test_a_connection_serves_request_after_request(providers: Providers) -> None:
    """Whole answers, refusals and streams leave their connection open for the next request."""
    connection = http.client.HTTPConnection("127.0.0.1", int(providers.url.rpartition(":")[2]), timeout=LONG)
    connection.connect()
    port = connection.sock.getsockname()[1]
    providers.fail(500)
    for more in ({}, {"stream": True}, {}):
        body = json.dumps({"model": "gpt-4o", "messages": HELLO, **more})
        connection.request("POST", "/v1/chat/completions", body, {"X-Trace": "t"})
        connection.getresponse().read()
    assert connection.sock.getsockname()[1] == port
    connection.close()
    assert [request.body.get("stream") for request in providers.requests] == [None, True, None]
    assert {request.headers["x-trace"] for request in providers.requests} == {"t"}


def test_an_unknown_address_is_told_to_be_unknown(openai: Any) -> None:
    """What no provider serves is answered with 404."""
    library = pytest.importorskip("openai")
    with pytest.raises(library.NotFoundError):
        openai.models.list()
