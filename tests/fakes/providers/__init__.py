"""The APIs of LLM providers on loopback, for their own libraries to talk to.

Real HTTP from a program with a script, not a mock: bodies and events are those that the providers' libraries read, so
what a library makes of them, retries included, is what happens. Within a test, also as the fixture `providers`::

    with Providers() as fake:
        client = openai.OpenAI(base_url=fake.openai, api_key="k")   # of the others see below
        fake.answer("Hello", reasoning="Greet.", usage=Usage(100, 20, cache_read=30, reasoning=5))
        fake.answer(tool_calls=[("weather", '{"city": "Ulm"}')])    # the answer to the request after that
        fake.fail(429, times=2, headers={"retry-after-ms": "1"})    # and the two after that
        fake.answer_with(lambda request: Answer(request.body["model"]))   # whatever nothing is queued for
        fake.cut(after_chunks=3)                                    # the next stream loses its connection
        held = fake.hold(after_chunks=1)                            # the stream after that waits, until
        held.step(); held.release(); held.waiting.wait(); held.left.wait()   # one chunk, all; it waits; client gone
        fake.requests                                               # all that came: provider, path, headers, body

Without a script the model answers what it was told, and the usage is counted from the lengths. Answers and refusals
are taken in the order in which they were queued; cuts and holds by streams only. What a provider would refuse, such as
a chat without messages, is refused with 400. An exception of the script is raised at the end of the `with` block.

    OpenAI      base_url=fake.openai                      chat, responses, embeddings
    Anthropic   base_url=fake.anthropic                   messages
    Gemini      http_options={"base_url": fake.gemini}    generateContent, streamGenerateContent
    Groq        base_url=fake.groq                        chat
    Mistral     server_url=fake.mistral                   chat
    Cohere      base_url=fake.cohere                      chat, version 2
    Ollama      host=fake.ollama                          chat
    AI21        base_url=fake.ai21, OpenAI's library      chat

Unlike the real ones it makes one choice only, looks at no key, and gives no vision, audio, citations or log
probabilities. Tokens in the default usage are quarters of the length.
"""

from tests.fakes.providers.fake import Providers
from tests.fakes.providers.script import Answer, Hold, Received, Usage

__all__ = ["Answer", "Hold", "Providers", "Received", "Usage"]
