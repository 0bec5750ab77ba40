"""Spans become events, each committed before the call that it tells of returns to the program.

A span is stamped with its session, its agent and the event around it when it starts, for it may end in another thread
or task, and recorded when it ends. Of spans that tell of one call only one is recorded: a framework's span around a
provider's gives way to it, and what the program's own instrumentors see of a call that ours see as well gives way to
ours, which are sure to hold its content.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import StatusCode

from agentops_local import clock, context, faults
from agentops_local.event import ActionEvent, ErrorEvent, Event, LLMEvent, ToolEvent
from agentops_local.instrumentation import families, guard
from agentops_local.instrumentation.reading import Reading

if TYPE_CHECKING:
    from agentops_local.session import Session

# Spans that never end (a stream that is neither read on nor collected) must not fill the memory.
MOST_OPEN = 10_000
_COVER = "opentelemetry.util.genai"  # where the values are from by which a span covers those inside it
_AGENTS = UUID("0190b2f6-8d11-7b52-9c3e-5b0a1f7e4d02")  # namespace for the agents that frameworks name

_LLM_FIELDS = (
    "provider", "model", "prompt", "completion", "prompt_tokens", "completion_tokens", "cache_read_tokens",
    "cache_write_tokens", "reasoning_tokens", "cost", "thread_id",
)  # fmt: skip


@dataclass
class Open:
    """A span that has started.

    Attributes:
        parent: the one around it, as far as it is one that we see.
        ours: whether it is of our own provider.
        kind: the kind of event, as far as that is known from the start; None: not yet, or never.
        session: the session that was active when it started.
        event_id: the id of the event that it will be.
        around: the event in the course of which the program's own code was.
        agent_id: whose it is.
        call: the call as the program made it, if that passed our guard.
        is_frame: whether another span tells of the same call from nearer.
        failures: what failed inside it and is recorded already.
    """

    parent: Open | None
    ours: bool
    kind: str | None
    session: Session | None
    event_id: UUID
    around: UUID | None
    agent_id: UUID | None
    call: guard.Call | None = None
    is_frame: bool = False
    failures: deque[str] = field(default_factory=lambda: deque(maxlen=8))

    @property
    def below(self) -> UUID | None:
        """The event that it belongs to: that of the nearest span around it that becomes one, or of the program's own
        code, whichever is nearer."""
        inner, outer = self, self.parent
        while outer is not None and inner.around == outer.around:
            if outer.kind is not None and not (outer.kind == "llms" and outer.is_frame):
                return outer.event_id
            inner, outer = outer, outer.parent
        return inner.around


class Bridge(SpanProcessor):
    """Records the spans of LLM calls, tools, agents and steps.

    The open spans are a plain dict, touched by single operations only, each of them atomic: a lock might be held by
    another thread at the moment of a fork, and never be released in the child.

    Args:
        active_session: tells the session of the code that runs.
        new_provider: is called when the program has set a tracer provider of its own.
    """

    def __init__(self, active_session: Callable[[], Session | None], new_provider: Callable[[], None]) -> None:
        self._active_session = active_session
        self._new_provider = new_provider
        self._users_provider: object = None
        self._open: dict[int, Open] = {}
        self.is_on = True
        self.foreign = Foreign(self)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """A span of our own provider starts."""
        with faults.contained("recording the start of a span"):
            outer = trace.get_current_span(parent_context)
            hide(span, outer)
            self.start(span, outer, ours=True)
            provider = trace.get_tracer_provider()
            if provider is not self._users_provider:
                self._users_provider = provider
                self._new_provider()

    def on_end(self, span: ReadableSpan) -> None:
        """It has ended: its event is committed when this returns."""
        with faults.contained("recording a span"):
            self.end(span)

    def adopt(self, call: guard.Call) -> bool:
        """A call that no span of its own tells of belongs to the span around it that tells of a call: of an
        instrumentor's spans around one another only the outer one may be made at all."""
        around = self._open.get(_number(trace.get_current_span()) or 0)
        while around is not None and (around.kind != "llms" or around.is_frame or around.call is not None):
            around = around.parent
        if around is None:
            return False
        around.call, call.is_claimed = call, True
        return True

    @contextmanager
    def uncovered(self) -> Iterator[None]:
        """Lets our instrumentors see a call within another one's span. Those of OpenTelemetry make one span of spans
        around one another, the outer, which may be the program's own and hold none of the content."""
        around = otel_context.get_current()
        theirs = {key: value for key, value in around.items() if not type(value).__module__.startswith(_COVER)}
        if len(theirs) == len(around) or self._is_inside_ours():
            yield
            return
        token = otel_context.attach(Context(theirs))
        try:
            yield
        finally:
            otel_context.detach(token)

    def _is_inside_ours(self) -> bool:
        around = self._open.get(_number(trace.get_current_span()) or 0)
        while around is not None and not (around.ours and around.kind == "llms"):
            around = around.parent
        return around is not None

    def start(self, span: Span, outer: trace.Span, ours: bool) -> None:
        """Stamps a span."""
        if not self.is_on:
            return
        parent = self._open.get(_number(outer) or 0)
        frame = context.frame.get()
        around = context.event_id.get() or (None if frame is None else frame.parent)
        begun = Open(
            parent=parent,
            ours=ours,
            kind=families.kind(span.attributes or {}),
            session=self._active_session(),
            event_id=clock.new_id(),
            around=around,
            agent_id=context.agent_id.get() or (parent.agent_id if parent is not None else None),
        )
        if begun.session is None and parent is not None:
            begun.session = parent.session
        self._name_agent(begun, span)
        if ours:
            begun.call = guard.claim(begun.kind)
        if begun.kind == "llms":
            _tell_frames(begun)
        self._open[_number(span) or 0] = begun
        if len(self._open) > MOST_OPEN:
            self._open.pop(next(iter(self._open)), None)

    def _name_agent(self, begun: Open, span: Span) -> None:
        """What happens in the span of an agent that a framework names is that agent's."""
        name = families.agent(span.attributes or {}, span.name) if begun.kind == "actions" else None
        if name and begun.session is not None:
            begun.agent_id = uuid5(_AGENTS, f"{begun.session.session_id} {name}")
            context.name_agent(str(begun.agent_id), name)

    def end(self, span: ReadableSpan) -> None:
        """Records what a span says, unless another tells of the same."""
        begun = self._open.pop(_number(span) or 0, None)
        if begun is None:
            return
        call = begun.call
        if call is not None and call.shape.is_early and call.is_flowing:
            call.then = lambda: self._finish(begun, span, clock.now_us())
        else:
            self._finish(begun, span, (span.end_time or span.start_time or 0) // 1000)

    def _finish(self, begun: Open, span: ReadableSpan, end_us: int) -> None:
        reading = families.read(span.attributes or {}, span.name)
        try:
            if reading is not None and begun.session is not None and self.is_on:
                self._end(begun, reading, span, end_us)
        finally:
            if begun.call is not None:
                said = reading is not None and reading.completion is not None
                begun.call.settle(begun.event_id, span.status.status_code is StatusCode.ERROR and not said)

    def _end(self, begun: Open, reading: Reading, span: ReadableSpan, end_us: int) -> None:
        if reading.kind == "llms":
            if begun.is_frame or (not begun.ours and _inside_ours(begun)):
                return
            begun.kind = "llms"
            _tell_frames(begun)
        if begun.call is not None:
            begun.call.complete(reading)
        self._record(begun, reading, span, end_us)

    def _record(self, begun: Open, reading: Reading, span: ReadableSpan, end_us: int) -> None:
        session = begun.session
        assert session is not None  # noqa: S101 - looked at by the caller
        event = _event(reading)
        event.id = begun.event_id
        event.agent_id = begun.agent_id
        event.init_timestamp = clock.to_iso((span.start_time or 0) // 1000)
        event.end_timestamp = clock.to_iso(end_us)
        amend(event)
        with context.bound(context.event_id, begun.below):
            session.record(event)
            if span.status.status_code is StatusCode.ERROR:
                error = _error(span, event)
                told = f"{error.error_type}: {error.details}"
                if told not in begun.failures:
                    session.record(error)
                    _tell_failure(begun, told)

    def shutdown(self) -> None:
        """The provider is shut down; there is nothing that waits."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 - OpenTelemetry's signature
        """Nothing is buffered."""
        return True


class Foreign(SpanProcessor):
    """The same for the spans of the program's own provider, which is not hidden from itself.

    Args:
        bridge: where the spans go.
    """

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """A span of the program's own provider starts."""
        with faults.contained("recording the start of a span"):
            self._bridge.start(span, trace.get_current_span(parent_context), ours=False)

    def on_end(self, span: ReadableSpan) -> None:
        """It has ended."""
        self._bridge.on_end(span)


def amend(event: Event) -> None:
    """What is known of a call beside its span, before it is recorded: a replay puts a function of its own here."""


def hide(span: Span, outer: trace.Span) -> None:
    """Lets a span of ours give the identity of the program's own span around it to whoever asks."""
    seen_from_outside = outer.get_span_context()
    span.get_span_context = lambda: seen_from_outside  # type: ignore[method-assign]  # of this one span


def _number(span: Any) -> int | None:
    """What a span is known by: its own identity, whatever it gives out."""
    own = getattr(span, "context", None)
    return None if own is None else own.span_id


def _tell_frames(begun: Open) -> None:
    """The spans around a call tell of it from further away, and so does the handler of a framework."""
    frame = context.frame.get()
    if frame is not None:
        frame.nearer.append(begun.event_id)
    around = begun.parent
    while around is not None:
        if around.ours <= begun.ours:  # ours give way to none of the program's
            around.is_frame = True
        around = around.parent


def _inside_ours(begun: Open) -> bool:
    around = begun.parent
    while around is not None:
        if around.ours and around.kind == "llms":
            return True
        around = around.parent
    return False


def _tell_failure(begun: Open, told: str) -> None:
    """What the exception passes through on its way up is the same failure."""
    around = begun.parent
    while around is not None:
        around.failures.append(told)
        around = around.parent


def _event(reading: Reading) -> Event:
    if reading.kind == "llms":
        event = LLMEvent(params=reading.params or None, returns=reading.returns or None)
        for name in _LLM_FIELDS:
            setattr(event, name, getattr(reading, name))
        return event
    if reading.kind == "tools":
        return ToolEvent(name=reading.name, params=reading.params, returns=reading.returns)
    return ActionEvent(action_type=reading.name, params=reading.params, returns=reading.returns)


def _error(span: ReadableSpan, trigger: Event) -> ErrorEvent:
    """The error of a span that failed, as far as it was told: in an event of its own, or by its status."""
    raised = next((event for event in reversed(span.events) if event.name == "exception"), None)
    told: Any = dict(raised.attributes or {}) if raised is not None else {}
    error_type = told.get("exception.type") or (span.attributes or {}).get("error.type") or "Error"
    return ErrorEvent(
        trigger_event=trigger,
        error_type=str(error_type).rpartition(".")[2],
        details=told.get("exception.message") or span.status.description,
        logs=told.get("exception.stacktrace"),
        init_timestamp=trigger.end_timestamp or trigger.init_timestamp,
    )
