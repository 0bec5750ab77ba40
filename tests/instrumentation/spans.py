"""Spans as instrumentors make them, without an instrumentor."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

import agentops_local
from agentops_local.client import Client
from agentops_local.instrumentation.bridge import Bridge
from agentops_local.instrumentation.provider import private_provider

CHAT = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o"}


class Tracing:
    """A bridge with its own provider, and one of the program that it listens to as well."""

    def __init__(self) -> None:
        agentops_local.init(instrument_llm_calls=False)
        self.bridge = Bridge(Client().active_session, lambda: None)
        self.ours = private_provider(self.bridge).get_tracer("ours")
        self.users_provider = TracerProvider(shutdown_on_exit=False)
        self.users_provider.add_span_processor(self.bridge.foreign)
        self.users = self.users_provider.get_tracer("the program's")

    @contextmanager
    def span(self, attributes: dict[str, Any], name: str = "span", users: bool = False) -> Iterator[trace.Span]:
        """A span that is current in the block."""
        with (self.users if users else self.ours).start_as_current_span(name, attributes=attributes) as span:
            yield span

    def call(self, text: str, users: bool = False) -> None:
        """A whole call of a model."""
        with self.span(CHAT, users=users) as span:
            span.set_attribute("gen_ai.output.messages", told(text))


def told(text: str) -> str:
    """The attribute of a completion."""
    return json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": text}]}])
