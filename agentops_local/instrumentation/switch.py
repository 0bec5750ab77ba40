"""Turns the instrumentors on as their libraries are imported, in whatever order, and off again."""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from agentops_local import faults
from agentops_local.instrumentation.imports import Imports
from agentops_local.instrumentation.libraries import LIBRARIES, Candidate, Library, usable, why_not
from agentops_local.log import logger

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

    from agentops_local.instrumentation.bridge import Bridge
    from agentops_local.instrumentation.guard import Gate
    from agentops_local.session import Session

MODULES = ("httpx", "httpx2")  # openai 3 and anthropic 2 have moved to the second
CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


class Switch:
    """The recording of LLM calls in this process.

    Args:
        active_session: tells the session of the code that runs.
        gate: lets a call pass, or raises.
    """

    def __init__(self, active_session: Callable[[], Session | None], gate: Gate) -> None:
        self._active_session = active_session
        self._gate = gate
        self._is_on = False
        self._imports = Imports()
        self._taken: dict[str, object] = {}  # what was seen to, or is being seen to
        self._bridge: Bridge | None = None
        self._provider: TracerProvider | None = None
        self._joined: list[TracerProvider] = []
        self._made: dict[str, tuple[Bridge, TracerProvider]] = {}  # one, whichever thread makes it
        self._undo: dict[str, list[Callable[[], None]]] = {}
        self._left: set[str] = set()  # libraries that something else records

    def on(self) -> None:
        """From now on the calls of each library are recorded that is imported, or will be."""
        with faults.contained("recording LLM calls by themselves"):
            if self._is_on:
                self._join()
                return
            if importlib.util.find_spec("opentelemetry") is None:
                _tell_what_is_missing()
                return
            self._is_on = True
            for library in LIBRARIES:
                self._imports.wait(library.trigger, partial(self._imported, library))
            for name in MODULES:
                self._imports.wait(name, self._http_imported)

    def off(self) -> None:
        """Everything is as it was before."""
        self._is_on = False
        self._imports.stop()
        for name in reversed(list(self._undo)):
            self._put_back(name)
        self._taken.clear()
        if self._bridge is not None:
            self._bridge.is_on = False

    def leave(self, library: str) -> None:
        """Leaves a library, by its distribution, to something else that records it, from now on."""
        self._left.add(library)
        self._put_back(library)

    def _put_back(self, name: str) -> None:
        for step in reversed(self._undo.pop(name, [])):
            with faults.contained("ending the recording of LLM calls"):
                step()

    def _take(self, name: str) -> bool:
        """Whether it is this thread that sees to a library. Without a lock: two threads, each in an import that the
        other waits for, would stand still for ever."""
        me = object()
        return self._is_on and name not in self._left and self._taken.setdefault(name, me) is me

    def _imported(self, library: Library, _: ModuleType) -> None:
        with faults.contained(f"recording the calls of {library.distribution}"):
            if not library.candidates or not self._take(library.distribution):
                return
            candidates = list(usable(library))
            if not candidates:
                _tell_why_not(library)
                return
            from agentops_local.instrumentation.guard import Guards

            bridge = self._ready()
            for candidate in candidates:
                instrumentor = self._instrument(candidate, library)
                if instrumentor is not None:
                    guards = Guards(library.distribution, self._gate, bridge)
                    guards.place()
                    self._undo[library.distribution] = [instrumentor.uninstrument, guards.remove]
                    return
            _tell_why_not(library)

    def _ready(self) -> Bridge:
        """Makes the provider, once a library needs it."""
        from agentops_local.instrumentation.bridge import Bridge
        from agentops_local.instrumentation.provider import private_provider

        if self._bridge is None or self._provider is None:
            bridge = Bridge(self._active_session, self._join)
            self._bridge, self._provider = self._made.setdefault("bridge", (bridge, private_provider(bridge)))
        self._bridge.is_on = True
        self._join()
        return self._bridge

    def _instrument(self, candidate: Candidate, library: Library) -> Any:
        """An instrumentor at work; None if it cannot be used after all."""
        from agentops_local.instrumentation.provider import settings

        try:
            kind = getattr(import_module(candidate.module), candidate.name)
            # One of our own: an instrumentor is one to a process, and the program may want it for itself.
            instrumentor = type(kind.__name__, (kind,), {"_instance": None})()
            with settings({CONTENT: "span_only"}):
                instrumentor.instrument(skip_dep_check=True, tracer_provider=self._provider, **_quiet(candidate))
        except Exception as fault:  # noqa: BLE001 - somebody else's code: the next candidate may do
            faults.report(fault, f"{candidate.distribution} for {library.distribution}")
            return None
        return instrumentor

    def _http_imported(self, module: ModuleType) -> None:
        with faults.contained(f"noting the attempts that go through {module.__name__}"):
            if self._take(module.__name__):
                from agentops_local.instrumentation.traffic import Traffic

                self._undo[module.__name__] = [Traffic(module).remove]

    def _join(self) -> None:
        """Listens to the program's own provider as well, for what only its own instrumentors see."""
        if "opentelemetry.sdk.trace" not in sys.modules:
            return
        from agentops_local.instrumentation.provider import users_provider

        provider = users_provider()
        if provider is not None and provider not in self._joined and self._bridge is not None:
            self._joined.append(provider)
            provider.add_span_processor(self._bridge.foreign)


def _quiet(candidate: Candidate) -> dict[str, Any]:
    """What keeps an instrumentor from doing anything but make spans with everything in them."""
    if candidate.distribution.startswith("openinference"):
        from openinference.instrumentation import TraceConfig

        return {"config": TraceConfig(
            hide_llm_invocation_parameters=False, hide_inputs=False, hide_outputs=False, hide_input_messages=False,
            hide_output_messages=False, hide_input_images=False, hide_input_text=False, hide_output_text=False,
            base64_image_max_length=1 << 30,
        )}  # fmt: skip
    from opentelemetry._logs import NoOpLoggerProvider
    from opentelemetry.metrics import NoOpMeterProvider

    return {"meter_provider": NoOpMeterProvider(), "logger_provider": NoOpLoggerProvider()}


def _tell_why_not(library: Library) -> None:
    """A framework's calls are recorded by the libraries that it makes them by; what is missing then is no more than its
    agents and tools, which not every program that has it in its environment wants."""
    level, what = (logging.INFO, "agents and tools") if library.is_framework else (logging.WARNING, "calls")
    told = "agentops_local: the %s of %s are not recorded: %s"
    logger.log(level, told, what, library.distribution, why_not(library))


def _tell_what_is_missing() -> None:
    """Says what is to be installed, if the program uses a library that could be recorded."""
    for library in LIBRARIES:
        if library.candidates and library.trigger in sys.modules:
            logger.warning(
                "agentops_local: the calls of %s are not recorded: pip install 'agentops-local[%s]', or pass "
                "instrument_llm_calls=False", library.distribution, library.candidates[0].extra,
            )  # fmt: skip
            return
