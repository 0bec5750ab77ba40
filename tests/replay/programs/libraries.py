"""Each provider's library as an agent uses it: it asks, runs the tool that the model asks for, and asks again.

Each way returns all that the program sees: texts, calls of tools with their arguments, tokens.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

TOOL = {"name": "weather", "description": "the weather", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}}}  # fmt: skip
RESULT = "sunny, 21 degrees"
Seen = list[Any]


class OpenAI:
    """OpenAI's chat completions."""

    model = "gpt-4o"

    def __init__(self, url: str) -> None:
        import openai

        self.sync: Any = openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=1)
        self.asynchronous: Any = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=1)

    def _asked(self, messages: list[Any]) -> dict[str, Any]:
        return {"model": self.model, "messages": messages, "tools": [{"type": "function", "function": TOOL}]}

    def whole(self, system: str, question: str) -> Seen:
        """In one piece."""
        messages, seen = _begun(system, question), []
        for _ in range(2):
            answer = self.sync.chat.completions.create(**self._asked(messages), temperature=0.5)
            seen.append(answer.model_dump())
            messages += _after(answer.choices[0].message.model_dump(exclude_none=True))
        return _without_ids(seen)

    async def whole_async(self, system: str, question: str) -> Seen:
        """The same, asynchronously and as a stream."""
        stream = await self.asynchronous.chat.completions.create(
            **self._asked(_begun(system, question)), stream=True, stream_options={"include_usage": True}
        )
        return _joined([chunk async for chunk in stream])

    def stream(self, system: str, question: str) -> Seen:
        """As a stream."""
        asked = self._asked(_begun(system, question))
        return _joined(list(self.sync.chat.completions.create(**asked, stream=True)))


class Groq(OpenAI):
    """Groq's, of the same format."""

    model = "llama-3.3-70b-versatile"

    def __init__(self, url: str) -> None:
        import groq

        self.sync = groq.Groq(base_url=url, api_key="k", max_retries=1)
        self.asynchronous = groq.AsyncGroq(base_url=url, api_key="k", max_retries=1)

    async def whole_async(self, system: str, question: str) -> Seen:
        """Asynchronously."""
        answer = await self.asynchronous.chat.completions.create(**self._asked(_begun(system, question)))
        return _without_ids([answer.model_dump()])


class Mistral:
    """Mistral's, of the same format."""

    def __init__(self, url: str) -> None:
        from mistralai.client import Mistral as Client

        self.client: Any = Client(api_key="k", server_url=url)

    def whole(self, system: str, question: str) -> Seen:
        """In one piece."""
        messages, seen = _begun(system, question), []
        for _ in range(2):
            answer = self.client.chat.complete(model="mistral-large-latest", messages=messages)
            seen.append(answer.model_dump())
            messages += _after(answer.choices[0].message.model_dump(exclude_none=True))
        return _without_ids(seen)

    def stream(self, system: str, question: str) -> Seen:
        """As a stream, without a tool."""
        stream = self.client.chat.stream(model="mistral-large-latest", messages=_begun(system, question + " In words."))
        return _joined([event.data for event in stream])

    async def whole_async(self, system: str, question: str) -> Seen:
        """Asynchronously."""
        answer = await self.client.chat.complete_async(model="mistral-large-latest", messages=_begun(system, question))
        return _without_ids([answer.model_dump()])


class Responses:
    """OpenAI's Responses."""

    def __init__(self, url: str) -> None:
        import openai

        self.sync: Any = openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0)
        self.asynchronous: Any = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0)

    def _asked(self, system: str, given: Any) -> dict[str, Any]:
        return {"model": "gpt-4o", "instructions": system, "input": given, "tools": [{"type": "function", **TOOL}]}

    def whole(self, system: str, question: str) -> Seen:
        """In one piece."""
        given: list[Any] = [{"role": "user", "content": question}]
        seen = []
        for _ in range(2):
            answer = self.sync.responses.create(**self._asked(system, given))
            seen.append(_of_response(answer))
            given += answer.output
            given += [{"type": "function_call_output", "call_id": item.call_id, "output": RESULT}
                      for item in answer.output if item.type == "function_call"]  # fmt: skip
        return seen

    def stream(self, system: str, question: str) -> Seen:
        """As a stream."""
        with self.sync.responses.create(**self._asked(system, question), stream=True) as stream:
            events = list(stream)
        text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        return [text, _of_response(events[-1].response)]

    async def whole_async(self, system: str, question: str) -> Seen:
        """Asynchronously."""
        return [_of_response(await self.asynchronous.responses.create(**self._asked(system, question)))]


class Anthropic:
    """Anthropic's messages."""

    def __init__(self, url: str) -> None:
        import anthropic

        self.sync: Any = anthropic.Anthropic(base_url=url, api_key="k", max_retries=1)
        self.asynchronous: Any = anthropic.AsyncAnthropic(base_url=url, api_key="k", max_retries=1)

    def _asked(self, system: str, messages: list[Any]) -> dict[str, Any]:
        tools = [{"name": TOOL["name"], "description": "the weather", "input_schema": TOOL["parameters"]}]
        return {"model": "claude-sonnet-4-5", "max_tokens": 99, "system": system, "messages": messages, "tools": tools}

    def whole(self, system: str, question: str) -> Seen:
        """In one piece."""
        messages: list[Any] = [{"role": "user", "content": question}]
        seen = []
        for _ in range(2):
            answer = self.sync.messages.create(**self._asked(system, messages))
            seen.append(_of_message(answer))
            results = [{"type": "tool_result", "tool_use_id": block.id, "content": RESULT}
                       for block in answer.content if block.type == "tool_use"]  # fmt: skip
            messages += [{"role": "assistant", "content": answer.content}, {"role": "user", "content": results}]
        return seen

    def stream(self, system: str, question: str) -> Seen:
        """As a stream, by the library's own helper."""
        with self.sync.messages.stream(**self._asked(system, [{"role": "user", "content": question}])) as stream:
            return ["".join(stream.text_stream), _of_message(stream.get_final_message())]

    async def whole_async(self, system: str, question: str) -> Seen:
        """Asynchronously, as a stream."""
        asked = self._asked(system, [{"role": "user", "content": [{"type": "text", "text": question}]}])
        stream = await self.asynchronous.messages.create(**asked, stream=True)
        deltas = [event.delta async for event in stream if event.type == "content_block_delta"]
        return ["".join(getattr(delta, "text", "") for delta in deltas),
                "".join(getattr(delta, "partial_json", "") for delta in deltas)]  # fmt: skip


class Gemini:
    """Google's Gemini."""

    def __init__(self, url: str) -> None:
        from google import genai
        from google.genai import types

        self.client: Any = genai.Client(api_key="k", http_options=types.HttpOptions(base_url=url))
        self.config = {"system_instruction": "Be brief.", "temperature": 0.5}

    def whole(self, system: str, question: str) -> Seen:
        """In one piece."""
        from google.genai import types

        del system
        contents: list[Any] = [types.Content(role="user", parts=[types.Part.from_text(text=question)])]
        seen = []
        for _ in range(2):
            answer = self.client.models.generate_content(
                model="gemini-2.5-flash", contents=contents, config=self.config
            )
            seen.append(_of_candidates(answer))
            contents.append(answer.candidates[0].content)
            for call in answer.function_calls or ():
                part = types.Part.from_function_response(name=call.name, response={"result": RESULT})
                contents.append(types.Content(role="user", parts=[part]))
        return seen

    def stream(self, system: str, question: str) -> Seen:
        """As a stream."""
        del system
        stream = self.client.models.generate_content_stream(
            model="gemini-2.5-flash", contents=question, config=self.config
        )
        chunks = list(stream)
        texts = [part.text for chunk in chunks for part in chunk.candidates[0].content.parts if part.text]
        return ["".join(texts), chunks[-1].usage_metadata.model_dump(exclude_none=True)]

    async def whole_async(self, system: str, question: str) -> Seen:
        """Asynchronously."""
        del system
        return [_of_candidates(await self.client.aio.models.generate_content(
            model="gemini-2.5-flash", contents=question, config=self.config))]  # fmt: skip


class Cohere:
    """Cohere's chat."""

    def __init__(self, url: str) -> None:
        import cohere

        self.sync: Any = cohere.ClientV2(api_key="k", base_url=url)
        self.asynchronous: Any = cohere.AsyncClientV2(api_key="k", base_url=url)

    def whole(self, system: str, question: str) -> Seen:
        """In one piece."""
        messages, seen = _begun(system, question), []
        for _ in range(2):
            answer = self.sync.chat(model="command-a-03-2025", messages=messages)
            seen.append({"message": answer.message.model_dump(exclude_none=True), "why": answer.finish_reason,
                         "usage": answer.usage.model_dump(exclude_none=True)})  # fmt: skip
            messages += _after(answer.message.model_dump(exclude_none=True))
        return seen

    def stream(self, system: str, question: str) -> Seen:
        """As a stream, without a tool."""
        messages = _begun(system, question + " In words.")
        events = list(self.sync.chat_stream(model="command-a-03-2025", messages=messages))
        texts = [event.delta.message.content.text for event in events if event.type == "content-delta"]
        return ["".join(texts), events[-1].delta.model_dump(exclude_none=True)]

    async def whole_async(self, system: str, question: str) -> Seen:
        """Asynchronously."""
        answer = await self.asynchronous.chat(model="command-a-03-2025", messages=_begun(system, question))
        return [answer.message.model_dump(exclude_none=True)]


class Ollama:
    """Ollama's chat."""

    def __init__(self, url: str) -> None:
        import ollama

        self.sync: Any = ollama.Client(host=url)
        self.asynchronous: Any = ollama.AsyncClient(host=url)

    def whole(self, system: str, question: str) -> Seen:
        """In one piece."""
        messages, seen = _begun(system, question), []
        for _ in range(2):
            answer = self.sync.chat(model="llama3", messages=messages)
            seen.append([answer.message.model_dump(exclude_none=True), answer.prompt_eval_count, answer.eval_count])
            messages.append(answer.message)
            messages += [{"role": "tool", "tool_name": call.function.name, "content": RESULT}
                         for call in answer.message.tool_calls or ()]  # fmt: skip
        return seen

    def stream(self, system: str, question: str) -> Seen:
        """As a stream."""
        parts = list(self.sync.chat(model="llama3", messages=_begun(system, question), stream=True))
        return ["".join(part.message.content or "" for part in parts), parts[-1].eval_count]

    async def whole_async(self, system: str, question: str) -> Seen:
        """Asynchronously."""
        answer = await self.asynchronous.chat(model="llama3", messages=_begun(system, question))
        return [answer.message.model_dump(exclude_none=True)]


LIBRARIES: dict[str, Callable[[str], Any]] = {
    "openai": OpenAI, "openai responses": Responses, "anthropic": Anthropic, "google-genai": Gemini, "groq": Groq,
    "mistralai": Mistral, "cohere": Cohere, "ollama": Ollama,
}  # fmt: skip


def _begun(system: str, question: str) -> list[Any]:
    return [{"role": "system", "content": system}, {"role": "user", "content": question}]


def _after(message: dict[str, Any]) -> list[Any]:
    """The message, and the results of the tools that it asks for."""
    results = [
        {"role": "tool", "tool_call_id": call["id"], "content": RESULT} for call in message.get("tool_calls") or ()
    ]
    return [message, *results]


def _without_ids(answers: list[Any]) -> Seen:
    """What the answers say, their tokens as well."""
    seen = []
    for answer in answers:
        (choice,) = answer["choices"]
        message = {name: choice["message"][name] for name in ("content", "tool_calls") if choice["message"].get(name)}
        usage = answer["usage"]
        seen.append([message, choice["finish_reason"], answer["model"], usage["prompt_tokens"], usage["total_tokens"]])
    return json.loads(json.dumps(seen))  # type: ignore[no-any-return]


def _joined(chunks: list[Any]) -> Seen:
    """What the pieces of a stream amount to."""
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    calls = [call.function for delta in deltas for call in delta.tool_calls or ()]
    usage = next((chunk.usage.total_tokens for chunk in chunks if chunk.usage), None)
    return ["".join(delta.content or "" for delta in deltas), "".join(call.name or "" for call in calls),
            "".join(call.arguments or "" for call in calls), usage, chunks[0].model]  # fmt: skip


def _of_response(answer: Any) -> Seen:
    calls = [(item.call_id, item.name, item.arguments) for item in answer.output if item.type == "function_call"]
    return [answer.output_text, calls, answer.usage.model_dump(), answer.status, answer.model]


def _of_message(answer: Any) -> Seen:
    blocks = [block.model_dump(include={"type", "text", "name", "input", "id"}) for block in answer.content]
    usage = answer.usage
    return [blocks, answer.stop_reason, answer.model, usage.input_tokens, usage.output_tokens,
            usage.cache_read_input_tokens]  # fmt: skip


def _of_candidates(answer: Any) -> Seen:
    calls = [(call.name, call.args) for call in answer.function_calls or ()]
    texts = [part.text for part in answer.candidates[0].content.parts if part.text]
    return [texts, calls, answer.usage_metadata.model_dump(exclude_none=True), answer.candidates[0].finish_reason]
