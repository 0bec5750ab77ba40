"""Where the spans go: a tracer provider of our own that nothing in the environment can switch off or cut short.

It must be as if it were not there. Its spans are current while a call is made, as the instrumentors want it, but to
whoever asks for their identity they give that of the user's own span: spans that the user's HTTP library makes inside
the call hang where they would without us, and the header that goes out names the user's trace.
"""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401 - before any provider: in a child its lock is made anew first
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

_PREFIX = "OTEL_"
_changing = threading.Lock()
_blocks: set[object] = set()
_before: dict[str, str] = {}


class _Ids(IdGenerator):
    """Ids from the system's randomness: the SDK's own take numbers from `random`, whose sequence is the program's."""

    def generate_span_id(self) -> int:
        return int.from_bytes(os.urandom(8), "big") or 1

    def generate_trace_id(self) -> int:
        return int.from_bytes(os.urandom(16), "big") or 1


@contextmanager
def settings(values: Mapping[str, str | None]) -> Iterator[None]:
    """OpenTelemetry's settings for the length of a block: its variables as they are, but for these (None: unset). Each
    is afterwards what it was, also those that an instrumentor sets for itself.

    The lock is not held meanwhile: what happens in the block imports modules, another thread may hold the lock of one,
    and wait for this. The outermost of blocks that overlap puts back what was there.
    """
    with _changing:
        if not _blocks:
            _before.update({name: value for name, value in os.environ.items() if name.startswith(_PREFIX)})
        block = object()
        _blocks.add(block)
        for name, value in values.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
    try:
        yield
    finally:
        with _changing:
            _blocks.discard(block)
            if not _blocks:
                _put_back()


def _put_back() -> None:
    for name in [name for name in os.environ if name.startswith(_PREFIX) and name not in _before]:
        del os.environ[name]
    os.environ.update(_before)
    _before.clear()


def _in_child() -> None:
    """A block that another thread of the parent was in does not end in the child."""
    global _changing  # noqa: PLW0603 - it may have been taken by such a thread
    _changing = threading.Lock()
    if _blocks:
        _blocks.clear()
        _put_back()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


class _Provider(TracerProvider):
    def _handle_fork(self) -> None:
        """In a forked child the SDK's own looks at the process anew, with threads, whose lock may be held just then: it
        would hang in its fork. Ours has no resource that could be another one there."""
        self._tracers_lock = threading.Lock()


def private_provider(processor: SpanProcessor) -> TracerProvider:
    """A provider that is always on and keeps every attribute whole, whatever OTEL_SDK_DISABLED, OTEL_TRACES_SAMPLER and
    the limits of the environment say: with the default of 128 attributes a chat of 101 messages loses its prompt."""
    unset = SpanLimits.UNSET
    with settings({"OTEL_SDK_DISABLED": None}):
        provider = _Provider(
            sampler=ALWAYS_ON,
            resource=Resource.get_empty(),
            shutdown_on_exit=False,
            id_generator=_Ids(),
            span_limits=SpanLimits(
                max_span_attributes=unset, max_span_attribute_length=unset, max_attributes=unset,
                max_attribute_length=unset, max_events=unset, max_event_attributes=unset,
            ),
        )  # fmt: skip
    provider.add_span_processor(processor)
    return provider


def users_provider() -> TracerProvider | None:
    """The provider that the program has set for itself, if it is one to which a processor can be added."""
    provider = trace.get_tracer_provider()
    return provider if isinstance(provider, TracerProvider) else None
