"""Servers of LLM providers on loopback, to be scripted: they answer the real SDKs as the real servers do.

    with LLMServer() as server:
        client = openai.OpenAI(base_url=server.openai, api_key="k")
        server.answer(Answer("hello", usage=Usage(11, 2)))
        server.fail(429, headers={"retry-after-ms": "1"})

Every answer has an id of its own; usage comes in the last chunk of a stream, and from OpenAI only if it is asked for.
"""

from tests.fakes.llm.script import Answer, Request, Usage
from tests.fakes.llm.server import LLMServer

__all__ = ["Answer", "LLMServer", "Request", "Usage"]
