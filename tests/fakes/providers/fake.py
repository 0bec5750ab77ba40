"""The providers within a test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType

from tests.fakes.providers.script import Answer, Cut, Failure, Hold, Received, Script, Usage
from tests.fakes.providers.server import MISTRAL, Server


class Providers:
    """All providers on one port of loopback; closed at the end of its `with` block.

    Attributes:
        url: the port; what each provider's client takes as its address stands beside it, under the provider's name.
    """

    def __init__(self) -> None:
        self._script = Script()
        self._server = Server(self._script)
        self.url = f"http://127.0.0.1:{self._server.port}"
        self.openai = f"{self.url}/v1"
        self.ai21 = f"{self.url}/studio/v1"
        self.mistral = f"{self.url}{MISTRAL}"
        self.anthropic = self.gemini = self.groq = self.cohere = self.ollama = self.url

    def __enter__(self) -> Providers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if error is None and self._script.faults:
            raise self._script.faults[0]

    def close(self) -> None:
        """Stop serving; a stream that is held ends with its connection."""
        self._server.close()
        for hold in self._script.holds:
            hold.close()

    @property
    def requests(self) -> list[Received]:
        """Every request so far, in order of arrival."""
        return self._script.requests

    # what is answered -----------------------------------------------------------------------------------------------

    def answer(
        self,
        text: str | None = None,
        *,
        tool_calls: tuple[tuple[str, str], ...] | list[tuple[str, str]] = (),
        reasoning: str | None = None,
        usage: Usage | None = None,
        times: int = 1,
    ) -> None:
        """The answer to the next requests; arguments of tools are text, in JSON."""
        self._script.add(*[Answer(text, tuple(tool_calls), reasoning, usage)] * times)

    def answer_with(self, function: Callable[[Received], Answer]) -> None:
        """What makes the answers that are not queued. It may take its time: others are answered meanwhile."""
        self._script.answers = function

    # what goes wrong ------------------------------------------------------------------------------------------------

    def fail(self, status: int, *, times: int = 1, headers: Mapping[str, str] | None = None) -> None:
        """Refuse the next requests, in the words of their provider."""
        self._script.add(*[Failure(status, dict(headers or {}))] * times)

    def cut(self, after_chunks: int) -> None:
        """End the connection of the next stream after some chunks."""
        self._script.interrupt(Cut(after_chunks))

    def hold(self, after_chunks: int = 1) -> Hold:
        """Have the next stream wait after some chunks until it is released, or its client goes away."""
        hold = Hold(after_chunks)
        self._script.interrupt(hold)
        return hold
