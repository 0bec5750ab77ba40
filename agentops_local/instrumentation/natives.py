"""Libraries that make spans themselves, and only want to be told where to: with the face of an instrumentor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider


class PydanticAI:
    """The agents of pydantic-ai, those that the program does not instrument in its own way."""

    def __init__(self) -> None:
        self._before: Any = False

    def instrument(self, tracer_provider: TracerProvider, **_: Any) -> None:
        """Lets every agent make spans, with their content."""
        from pydantic_ai import Agent
        from pydantic_ai.models.instrumented import InstrumentationSettings

        self._before = getattr(Agent, "_instrument_default", False)
        Agent.instrument_all(InstrumentationSettings(tracer_provider=tracer_provider, include_content=True))

    def uninstrument(self) -> None:
        """What the program had set holds again."""
        from pydantic_ai import Agent

        Agent.instrument_all(self._before)
