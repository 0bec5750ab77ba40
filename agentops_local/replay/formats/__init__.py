"""The formats in which LLM calls are asked and answered, and what of a program's requests is one.

A request is known by its path and by what its body holds: the same format is spoken by many servers, at any address.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from agentops_local.replay.answer import Answer, Failure
from agentops_local.replay.formats import (
    anthropic_messages,
    cohere_chat,
    gemini,
    ollama_chat,
    openai_chat,
    openai_responses,
)
from agentops_local.replay.formats.asked import Asked, Reply, whole


@dataclass(frozen=True)
class Format:
    """A format: the ends of the paths by which it is known, and what reads and writes it."""

    name: str
    paths: tuple[str, ...]
    read: Callable[[Mapping[str, Any]], dict[str, Any] | None]
    reply: Callable[[Answer, Asked], Reply]
    failed: Callable[[Failure], dict[str, Any]]


def _format(name: str, module: Any, *paths: str) -> Format:
    return Format(name, paths, module.read, module.reply, module.failed)


FORMATS = (
    _format("OpenAI chat completions", openai_chat, "/chat/completions"),
    _format("OpenAI Responses", openai_responses, "/responses"),
    _format("Anthropic messages", anthropic_messages, "/v1/messages"),
    _format("Gemini", gemini, ":generateContent", ":streamGenerateContent"),
    _format("Cohere chat", cohere_chat, "/v2/chat"),
    _format("Ollama chat", ollama_chat, "/api/chat"),
)
_BY_NAME = {one.name: one for one in FORMATS}

# Calls of models, of formats that cannot be answered: vectors, pictures and sounds are not recorded.
_UNANSWERED = (
    "/embeddings", "/completions", "/api/embed", "/api/embeddings", "/api/generate", "/v1/embed", "/v2/embed",
    "/v1/chat", "/v1/rerank", "/v2/rerank", ":embedContent", ":batchEmbedContents", ":predict", ":rawPredict",
    ":streamRawPredict", "/images/generations", "/audio/speech", "/audio/transcriptions", "/v1/complete",
    "/messages/count_tokens", ":countTokens",
)  # fmt: skip

# Addresses of providers: whatever else is asked of them, it is not asked in a replay.
HOSTS = (
    "api.openai.com", "openai.azure.com", "api.anthropic.com", "generativelanguage.googleapis.com",
    "aiplatform.googleapis.com", "api.groq.com", "api.mistral.ai", "api.cohere.com", "api.cohere.ai", "openrouter.ai",
    "api.together.xyz", "api.deepseek.com", "api.x.ai", "api.perplexity.ai", "api.fireworks.ai", "api.ai21.com",
    "api.cerebras.ai", "integrate.api.nvidia.com", "router.huggingface.co", "api-inference.huggingface.co",
)  # fmt: skip


def is_provider(host: str) -> bool:
    """Whether an address is that of a provider."""
    plain = host.lower().rstrip(".")
    if plain.startswith("bedrock-runtime.") and plain.endswith(".amazonaws.com"):
        return True
    return any(plain == known or plain.endswith(("." + known, "-" + known)) for known in HOSTS)


def is_trace(method: str, url: str) -> bool:
    """Whether a request tells a provider's own console of the run, as OpenAI's agents do beside their calls."""
    parts = urlsplit(url)
    return method.upper() == "POST" and is_provider(parts.hostname or "") and parts.path.endswith("/traces/ingest")


def may_be(method: str, url: str) -> bool:
    """Whether a request may be an LLM call, so that one must look into it."""
    parts = urlsplit(url)
    ends = (*_UNANSWERED, *(end for one in FORMATS for end in one.paths))
    return (method.upper() == "POST" and parts.path.rstrip("/").endswith(ends)) or is_provider(parts.hostname or "")


def recognised(method: str, url: str, headers: Mapping[str, str], body: bytes) -> Asked | str | None:
    """A request as an LLM call; the reason why it cannot be answered; None if it is no LLM call."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    path = parts.path.rstrip("/")
    if method.upper() == "POST":
        if headers.get("content-encoding") and may_be(method, url):
            return f"{method} {url.partition('?')[0]}: its body is compressed"
        for one in FORMATS:
            if path.endswith(one.paths):
                given = one.read(_object(body))
                if given is not None:
                    asked = Asked(one.name, host, f"{path}?{parts.query}", headers, _object(body), **given)
                    return _of_path(asked, path) if one.name == "Gemini" else asked
        known = isinstance(_object(body).get("model"), str) or ":" in path.rpartition("/")[2]
        if path.endswith(_UNANSWERED) and known:
            return f"{method} {url.partition('?')[0]}: what such a call returns is not recorded"
    if is_provider(host):
        return f"{method} {url.partition('?')[0]}: this is no call that can be answered from a recording"
    return None


def reply(answer: Answer, asked: Asked) -> Reply:
    """The answer as it goes over the wire; a failure that is one of HTTP as what was refused."""
    one = _BY_NAME[asked.format]
    failure = answer.failure
    if failure is None:
        return one.reply(answer, asked)
    if failure.status is None:
        came = one.reply(answer, asked)
        chunks = came.chunks if asked.is_stream and answer.said else ()
        return replace(came, chunks=chunks, is_cut=True, is_timeout=failure.is_timeout)
    return whole(failure.body if failure.body is not None else one.failed(failure), failure.status)


def _of_path(asked: Asked, path: str) -> Asked:
    """Gemini's path tells the model, and whether a stream is wanted."""
    model = path.rpartition("/")[2].partition(":")[0]
    return replace(asked, model=model, is_stream=path.endswith(":streamGenerateContent"))


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
