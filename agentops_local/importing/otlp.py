"""Traces in OTLP/JSON, as OpenTelemetry's collector and SDKs write them to files: the spans of LLM calls, tools, agents
and frameworks, by the names that the instrumentation knows (see `agentops_local.instrumentation.families`).

A trace is a session: its id has 16 bytes, as a UUID. What our own export adds to the conventions (ids, kinds, tags) is
understood. Spans of other things (HTTP, databases) are passed over; what is
below them stands below what is above them. Spans of a trace may come on many lines: each line adds to the session.
"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as NoBase64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from agentops_local.enums import EndState
from agentops_local.importing import checks
from agentops_local.importing.checks import Wrong
from agentops_local.importing.parsing import Bad, Found, parse
from agentops_local.importing.told import Event, Session, Told, Whole, said
from agentops_local.importing.v2 import end_state
from agentops_local.instrumentation import families
from agentops_local.instrumentation.reading import Reading
from agentops_local.recorder.ground import DEFAULT_AGENT

_ERROR = frozenset({2, "STATUS_CODE_ERROR"})
_OK = frozenset({1, "STATUS_CODE_OK"})
_OURS = "agentops_local."  # what our own export says beyond the conventions
_ARGUMENTS, _RESULT = "gen_ai.tool.call.arguments", "gen_ai.tool.call.result"
_TOKENS = ("prompt_tokens", "completion_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
# What attributes of any shape may lead to.
_MISSHAPEN = (Wrong, TypeError, ValueError, LookupError, AttributeError)

Said = Mapping[str, Any]


def is_one(value: object) -> bool:
    """Whether a value looks like an export of traces."""
    return isinstance(value, dict) and ("resourceSpans" in value or "resource_spans" in value)


def read(found: Iterator[Found]) -> Iterator[Told]:
    """The traces of each value of a file."""
    for one in found:
        if isinstance(one, Bad):
            yield one
            continue
        traces: dict[UUID, _Trace] = {}
        try:
            for place, row, resource in _spans(one.value, one.place):
                try:
                    span = _Span(row)
                except Wrong as error:
                    yield Bad(place, str(error))
                    continue
                traces.setdefault(span.trace, _Trace(span.trace, resource)).spans[span.id] = span
        except Wrong as error:
            yield Bad(one.place, str(error))
        for trace in traces.values():
            yield from trace.told(one.place)


def _spans(value: object, place: str) -> Iterator[tuple[str, Said, Said]]:
    """The spans of an export, each with its place and the attributes of what it is of."""
    body = checks.mapping(value, "an export")
    name = "resourceSpans" if "resourceSpans" in body else "resource_spans"
    for number, group in enumerate(checks.items(body.get(name), name)):
        there = checks.mapping(group, name)
        resource = _attributes(checks.mapping(there.get("resource") or {}, "resource").get("attributes"))
        scopes = next((key for key in ("scopeSpans", "scope_spans") if key in there), "scopeSpans")
        for second, scope in enumerate(checks.items(there.get(scopes), scopes)):
            for third, span in enumerate(checks.items(checks.mapping(scope, scopes).get("spans"), "spans")):
                here = f"{place}.{name}[{number}].{scopes}[{second}].spans[{third}]"
                yield here, checks.mapping(span, "a span"), resource


class _Span:
    """A span.

    Attributes:
        kind: of the event that it becomes; None: of none.
        is_ours: whether our own export has made it.
    """

    def __init__(self, row: Said) -> None:
        self.trace = UUID(bytes=_id(row, "traceId", 16))
        self.id = _id(row, "spanId", 8)
        self.parent = _id(row, "parentSpanId", 8) if row.get("parentSpanId") else None
        self.name = checks.text(row.get("name")) or ""
        self.begin_us = _nanoseconds(row, "startTimeUnixNano")
        self.end_us = _nanoseconds(row, "endTimeUnixNano") if row.get("endTimeUnixNano") else self.begin_us
        self.attributes = _attributes(row.get("attributes"))
        status = checks.mapping(row.get("status") or {}, "status")
        self.code, self.message = status.get("code"), status.get("message")
        self.raised = next((_attributes(event.get("attributes"))
                            for event in reversed(checks.items(row.get("events"), "events"))
                            if isinstance(event, dict) and event.get("name") == "exception"), None)  # fmt: skip
        self.kind = checks.text(self.attributes.get(_OURS + "kind")) or families.kind(self.attributes)
        self.is_ours = _OURS + "kind" in self.attributes
        own = self.attributes.get(_OURS + "event.id")
        self.event_id = checks.uuid(own, "the id of the event") or checks.derived(self.trace, self.id.hex())


@dataclass
class _Trace:
    """The spans of a trace, as far as one value of the file has them."""

    id: UUID
    resource: Said
    spans: dict[bytes, _Span] = field(default_factory=dict)
    frames: set[bytes] = field(default_factory=set)

    def told(self, place: str) -> Iterator[Told]:
        """The session, if any of the spans tells of something that is recorded."""
        frames = self.frames = self._frames()
        spans = [span for span in self.spans.values() if span.kind is not None and span.id not in frames]
        if not spans:
            return
        try:
            session = self._session()
        except Wrong as error:
            yield Bad(f"{place}, trace {self.id.hex}", str(error))
            return
        spans.sort(key=lambda span: span.begin_us)
        events: list[Event] = []
        wrong: list[Bad] = []
        for span in spans:
            try:
                events += self._events(span)
            except _MISSHAPEN as error:  # noqa: PERF203 - the others are taken in
                wrong.append(Bad(f"{place}, span {span.id.hex()}", str(error)))
        yield Whole(session, events, wrong)

    def _session(self) -> Session:
        every = self.spans.values()
        root = next((span for span in every if span.parent is None), None)
        state = EndState.INDETERMINATE
        if root is not None:
            state = EndState.FAIL if root.code in _ERROR else EndState.SUCCESS if root.code in _OK else state
        service = self.resource.get("service.name")
        tags = [] if service is None else [f"service:{checks.text(service)}"]
        if root is not None and _OURS + "end_state" in root.attributes:
            state = EndState(end_state(root.attributes[_OURS + "end_state"]))
            tags = [str(tag) for tag in checks.items(root.attributes.get(_OURS + "tags"), "tags")]
        return Session(
            str(self.id), min(span.begin_us for span in every), max(span.end_us for span in every),
            auto_ended=int(root is None), end_state=state.value,
            end_state_reason=None if root is None else checks.text(root.message) or None,
            tags=tags,
            agents=[(str(checks.derived(self.id, "agent")), DEFAULT_AGENT)],
        )  # fmt: skip

    def _above(self, span: _Span) -> Iterator[_Span]:
        seen = {span.id}
        while span.parent is not None and span.parent in self.spans and span.parent not in seen:
            span = self.spans[span.parent]
            seen.add(span.id)
            yield span

    def _frames(self) -> set[bytes]:
        """LLM spans around others: they tell of the same call, from further away."""
        return {
            above.id for span in self.spans.values() if span.kind == "llms"
            for above in self._above(span) if above.kind == "llms"
        }  # fmt: skip

    def _events(self, span: _Span) -> list[Event]:
        """The event of a span, and the error that it ended with."""
        reading = _read(span)
        above = next((one for one in self._above(span) if one.kind is not None and one.id not in self.frames), None)
        parent = None if above is None else above.event_id.bytes
        agent_id, agent_name = self._agent(span)
        kind = span.kind or reading.kind
        event = Event(
            id=span.event_id.bytes, kind=kind, init_us=span.begin_us, agent=agent_id, agent_name=agent_name,
            columns={"end_us": span.end_us, "parent": parent, **_columns(reading)},
            payloads=checks.payloads({"params": reading.params or None, "returns": _present(reading.returns)},
                                     "params", "returns"),
            messages=_messages(reading) if kind == "llms" else None,
        )  # fmt: skip
        if kind == "errors":  # one that stands alone, of our own export
            return [replace(self._error(span, event), id=event.id)]
        return [event, self._error(span, event)] if span.code in _ERROR else [event]

    def _error(self, span: _Span, event: Event) -> Event:
        told = span.raised or {}
        name = told.get("exception.type") or span.attributes.get("error.type") or "Error"
        details = {"details": told.get("exception.message") or span.message, "logs": told.get("exception.stacktrace")}
        return Event(
            id=checks.derived(self.id, span.id.hex(), "error").bytes, kind="errors", init_us=span.end_us,
            agent=event.agent, agent_name=event.agent_name,
            columns={
                "name": str(name).rpartition(".")[2], "end_us": span.end_us, "parent": event.columns["parent"],
                "trigger_id": None if event.kind == "errors" else event.id,
                "trigger_kind": None if event.kind == "errors" else event.kind,
            },
            payloads=checks.payloads(details, "details", "logs"),
        )  # fmt: skip

    def _agent(self, span: _Span) -> tuple[str, str]:
        """The agent in whose span it is."""
        told, name = span.attributes.get("gen_ai.agent.id"), span.attributes.get("gen_ai.agent.name")
        if isinstance(told, str) and name and span.is_ours:
            return str(checks.the_uuid(told, "gen_ai.agent.id")), str(name)
        for one in (span, *self._above(span)):
            name = checks.text(families.agent(one.attributes, one.name))
            if name:
                return str(checks.derived(self.id, "agent", name)), name
        return str(checks.derived(self.id, "agent")), DEFAULT_AGENT


def _read(span: _Span) -> Reading:
    """A span as what it says."""
    found = families.read(span.attributes, span.name)
    if found is None:  # an action, or an error that stands alone, of our own export
        return Reading("actions", span.name, params=_json(span, "params"), returns=_json(span, "returns"))
    if found.kind == "tools" and span.is_ours:
        found.params, found.returns = _json(span, _ARGUMENTS), _json(span, _RESULT)
    return found


def _json(span: _Span, name: str) -> Any:
    """What an attribute of our own export says: JSON, of a text as well."""
    text = span.attributes.get(name if "." in name else _OURS + name)
    try:
        return None if text is None else parse(str(text).encode())
    except ValueError:
        return text


def _columns(reading: Reading) -> dict[str, Any]:
    if reading.kind != "llms":
        return {"name": checks.text(reading.name)}
    cost = checks.money(reading.cost, "cost")
    return {
        "provider": checks.text(reading.provider), "model": checks.text(reading.model),
        "thread_id": checks.text(reading.thread_id),
        **{name: checks.count(getattr(reading, name), name) for name in _TOKENS},
        "cost_pusd": cost, "cost_source": None if cost is None else "reported",
        "prompt_form": None if reading.prompt is None else 0 if isinstance(reading.prompt, list) else 1,
        "completion_form": None if reading.completion is None else 2 if isinstance(reading.completion, str) else 1,
    }  # fmt: skip


def _messages(reading: Reading) -> Any:
    prompt, completion = reading.prompt, reading.completion
    given: Sequence[object] = prompt if isinstance(prompt, list) else () if prompt is None else (prompt,)
    if isinstance(completion, str):
        completion = {"role": "assistant", "content": completion}
    return said(tuple(map(checks.encode, given)), None if completion is None else checks.encode(completion))


def _present(value: object) -> object:
    return None if value == {} else value


def _id(row: Said, name: str, size: int) -> bytes:
    """The id of a trace or a span: hexadecimal, as OTLP/JSON has it, or base64, as protobuf's own JSON has bytes."""
    text = row.get(name)
    found = b""
    if isinstance(text, str):
        try:
            found = bytes.fromhex(text) if len(text) == 2 * size else b64decode(text, validate=True)
        except (ValueError, NoBase64):
            pass
    if len(found) != size or not any(found):
        raise Wrong(f"{name} {text!r} is no id of {size} bytes in hexadecimal digits")
    return found


def _nanoseconds(row: Said, name: str) -> int:
    """A time in microseconds."""
    value = row.get(name)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 25:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 1 << 63:
        raise Wrong(f"{name} {value!r} is no number of nanoseconds since 1970")
    return value // 1000


def _attributes(given: object) -> dict[str, Any]:
    """Attributes as plain values, by their names."""
    found = {}
    for one in checks.items(given, "attributes"):
        row = checks.mapping(one, "an attribute")
        found[str(row.get("key"))] = _value(row.get("value"))
    return found


def _value(given: object) -> Any:
    kinds = checks.mapping(given or {}, "the value of an attribute")
    for kind, value in kinds.items():
        if kind == "intValue":
            return int(value) if isinstance(value, (int, str)) and str(value).lstrip("-").isdigit() else value
        if kind == "arrayValue":
            return [_value(item) for item in checks.items(checks.mapping(value or {}, kind).get("values"), kind)]
        if kind == "kvlistValue":
            return _attributes(checks.mapping(value or {}, kind).get("values"))
        if kind == "bytesValue":
            return checks.text(value)
        if kind == "stringValue" and not isinstance(value, str):
            raise Wrong(f"stringValue {value!r} is no text")
        return value
    return None
