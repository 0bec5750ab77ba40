"""OTLP/JSON: one ExportTraceServiceRequest, by OpenTelemetry's conventions for generative AI.

A session is a trace with a root span of its own. An LLM call is a `chat` span, a tool call `execute_tool`, anything
else a span by its name. An error is an exception of the span of the event that it names, which has failed then; one
that names none is a span. As OTLP/JSON demands, ids are hexadecimal, enums numbers and 64-bit integers text.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any, BinaryIO
from uuid import UUID

import orjson

from agentops_local.analytics.sessions import tag_list
from agentops_local.exporting import genai
from agentops_local.exporting.choice import Choice, Progress
from agentops_local.exporting.prompts import Messages
from agentops_local.exporting.source import SessionHead, Source
from agentops_local.exporting.texts import loaded, plain
from agentops_local.exporting.triggers import Triggers, triggers

Json = dict[str, Any]

_OUT = 1 << 16  # bytes that are gathered before they are written
_INTERNAL, _CLIENT = 1, 3  # kinds of spans
_OK, _ERROR = 1, 2  # codes of a status
_LATEST_NS = (1 << 64) - 1
_OPERATIONS = ("chat", "text_completion", "generate_content", "embeddings")
# Of a request, what the conventions have a name for; the types are theirs.
_REQUEST = (
    "temperature", "top_p", "top_k", "max_tokens", "frequency_penalty", "presence_penalty", "seed", "stop_sequences",
    "stream",
)  # fmt: skip
_USAGE = {
    "prompt_tokens": "input_tokens", "completion_tokens": "output_tokens",
    "cache_read_tokens": "cache_read.input_tokens", "cache_write_tokens": "cache_creation.input_tokens",
    "reasoning_tokens": "reasoning.output_tokens",
}  # fmt: skip
_ERRORS = "SELECT * FROM events WHERE seq = ?"


def write(source: Source, sessions: Iterator[SessionHead], out: BinaryIO, choice: Choice, progress: Progress) -> None:
    """Writes sessions as one request."""
    out.write(b'{"resourceSpans":[')
    messages = Messages(source.connection, source.texts, genai.message)
    for number, head in enumerate(sessions):
        out.write(b",\n" if number else b"")
        _Trace(source, messages, head, choice).write(out, progress)
    out.write(b"]}\n")


class _Trace:
    """A session as the spans of a trace."""

    def __init__(self, source: Source, messages: Messages, head: SessionHead, choice: Choice) -> None:
        self._source, self._messages, self._head, self._content = source, messages, head, choice.content
        self._trace_id = _trace_id(head.id)
        self._root = _span_id(b"session " + head.id.encode())
        self._last_us = head.row["init_us"]

    def write(self, out: BinaryIO, progress: Progress) -> None:
        """Its resource and spans; the root comes last, for only then its end is known."""
        from agentops_local import __version__

        scope = {"name": "agentops_local", "version": __version__}
        resource = {"attributes": _attributes(self._resource())}
        out.write(b'{"resource":' + orjson.dumps(resource))
        out.write(b',"scopeSpans":[{"scope":' + orjson.dumps(scope) + b',"spans":[')
        gathered = bytearray()
        with triggers(self._source, self._head) as named:
            for event in self._source.events(self._head, self._ahead if self._content else None):
                progress.event()
                self._last_us = max(self._last_us, event["init_us"], event["end_us"] or 0)
                if event["kind"] == "errors" and named.is_told(event["seq"]):
                    continue
                gathered += orjson.dumps(self._span(event, named))
                gathered += b",\n"
                if len(gathered) > _OUT:
                    out.write(gathered)
                    gathered.clear()
        out.write(gathered + orjson.dumps(self._session()) + b"]}]}")

    def _ahead(self, events: list[sqlite3.Row]) -> None:
        self._messages.ahead(events)
        self._source.messages.ahead(events)

    def _resource(self) -> Json:
        hosts = dict.fromkeys(owner["host"] for owner in self._head.owners if owner["host"] is not None)
        return {
            "service.name": "agentops_local",
            "host.name": next(iter(hosts), None) if self._content else None,
            "session.id": self._head.id,
        }

    def _session(self) -> Json:
        row = self._head.row
        end_us = row["end_us"] if row["end_us"] is not None else self._last_us
        status: Json = {"Success": {"code": _OK}, "Fail": {"code": _ERROR}}.get(row["end_state"], {})
        if status and self._content and row["end_state_reason"] is not None and row["end_state"] == "Fail":
            status["message"] = row["end_state_reason"]
        attributes = {
            "session.id": self._head.id, "agentops_local.end_state": row["end_state"],
            "agentops_local.tags": tag_list(row["tags"]) or None,
        }  # fmt: skip
        span = {
            "traceId": self._trace_id, "spanId": self._root, "name": "session", "kind": _INTERNAL,
            **_times(row["init_us"], end_us), "attributes": _attributes(attributes),
        }  # fmt: skip
        return {**span, "status": status} if status else span

    def _span(self, event: sqlite3.Row, named: Triggers) -> Json:
        kind = event["kind"]
        if kind == "llms":
            name, span_kind, said = self._llm(event)
        elif kind == "tools":
            name, span_kind, said = self._tool(event)
        else:
            name, span_kind, said = self._other(event)
        agent_id, agent_name = self._head.agent(event["agent"])
        attributes = {
            **said, "gen_ai.agent.id": agent_id, "gen_ai.agent.name": agent_name, "agentops_local.kind": kind,
            "agentops_local.event.id": str(UUID(bytes=event["id"])), "agentops_local.seq": event["seq"],
        }  # fmt: skip
        span: Json = {
            "traceId": self._trace_id, "spanId": _span_id(event["id"]),
            "parentSpanId": self._root if event["parent"] is None else _span_id(event["parent"]),
            "name": name, "kind": span_kind,
            **_times(event["init_us"], event["end_us"]), "attributes": _attributes(attributes),
        }  # fmt: skip
        failures = [event] if kind == "errors" else self._errors(event, named)
        if failures:
            span["events"] = [self._exception(error) for error in failures]
            message = self._text(failures[0]["details"])
            span["status"] = {"code": _ERROR, **({} if message is None else {"message": message})}
            span["attributes"] += _attributes({"error.type": failures[0]["name"] or "_OTHER"})
        return span

    def _errors(self, event: sqlite3.Row, named: Triggers) -> list[sqlite3.Row]:
        found = [self._source.connection.execute(_ERRORS, (seq,)).fetchone() for seq in named.errors_of(event["id"])]
        return [row for row in found if row is not None]

    def _exception(self, error: sqlite3.Row) -> Json:
        attributes = {
            "exception.type": error["name"], "exception.message": self._text(error["details"]),
            "exception.stacktrace": self._text(error["logs"]), "agentops_local.code": error["code"],
        }  # fmt: skip
        return {"timeUnixNano": _ns(error["init_us"]), "name": "exception", "attributes": _attributes(attributes)}

    def _llm(self, event: sqlite3.Row) -> tuple[str, int, Json]:
        params = self._object(event["params"])
        returns = self._object(event["returns"])
        operation = params.get("operation")
        operation = operation if operation in _OPERATIONS else "chat"
        asked = params.get("model") if isinstance(params.get("model"), str) else event["model"]
        cost = event["cost_pusd"]
        said: Json = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": event["provider"],
            "gen_ai.request.model": asked,
            "gen_ai.response.model": event["model"],
            "gen_ai.conversation.id": event["thread_id"],
            **{f"gen_ai.request.{name}": params.get(name) for name in _REQUEST},
            "gen_ai.response.id": returns.get("id"),
            "gen_ai.response.finish_reasons": returns.get("finish_reasons"),
            **{f"gen_ai.usage.{theirs}": event[ours] for ours, theirs in _USAGE.items()},
            "gen_ai.usage.cost": None if cost is None else cost / 1e12,
            "agentops_local.cost.source": event["cost_source"],
        }
        if self._content:
            said |= {
                "gen_ai.input.messages": self._input(event), "gen_ai.output.messages": self._output(event, returns),
                "gen_ai.tool.definitions": _json(params.get("tools")),
            }  # fmt: skip
        return f"{operation} {asked}" if asked else operation, _CLIENT, said

    def _input(self, event: sqlite3.Row) -> str | None:
        if event["prompt_form"] is None:
            return None
        if event["prompt_form"] == 0:
            return f"[{self._messages.prompt(event['prompt']).text}]"
        node = self._messages.node(event["prompt"])
        return None if node is None else f"[{node.text}]"

    def _output(self, event: sqlite3.Row, returns: Json) -> str | None:
        node = self._source.messages.node(event["completion"]) if event["completion_form"] is not None else None
        if node is None:
            return None
        value = loaded(node.text)
        reasons = returns.get("finish_reasons")
        reasons = reasons if isinstance(reasons, list) else []
        answers = value if isinstance(value, list) else [value]
        made = []
        for number, answer in enumerate(answers):
            one = genai.shaped(answer if isinstance(answer, dict) else {"role": "assistant", "content": answer})
            reason = reasons[number] if number < len(reasons) else "stop"
            made.append({**one, "finish_reason": one.get("finish_reason") or str(reason)})
        return orjson.dumps(made).decode()

    def _tool(self, event: sqlite3.Row) -> tuple[str, int, Json]:
        name = event["name"]
        said: Json = {
            "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": name,
            "gen_ai.tool.call.arguments": self._json(event["params"]),
            "gen_ai.tool.call.result": self._json(event["returns"]), "agentops_local.logs": self._text(event["logs"]),
        }  # fmt: skip
        return f"execute_tool {name}" if name else "execute_tool", _INTERNAL, said

    def _other(self, event: sqlite3.Row) -> tuple[str, int, Json]:
        said: Json = {f"agentops_local.{name}": self._json(event[name]) for name in ("params", "returns")}
        if event["kind"] != "errors":  # there they are the exception's
            said |= {f"agentops_local.{name}": self._text(event[name]) for name in ("logs", "screenshot")}
        return str(event["name"] or event["kind"]), _INTERNAL, said

    def _json(self, payload: object) -> str | None:
        return self._source.texts.raw(payload) if self._content else None

    def _text(self, payload: object) -> str | None:
        return plain(self._json(payload))

    def _object(self, payload: object) -> Json:
        value = loaded(self._json(payload))
        return value if isinstance(value, dict) else {}


def _json(value: object) -> str | None:
    return None if value is None else orjson.dumps(value).decode()


def _trace_id(session_id: str) -> str:
    """The id of the session; of one that is no UUID, its hash: a trace id has 16 bytes that are not all zero."""
    try:
        found = UUID(session_id)
        if found.int:
            return found.hex
    except ValueError:
        pass
    return blake2b(session_id.encode(), digest_size=16).hexdigest()


def _span_id(event_id: bytes) -> str:
    """8 bytes of the hash of an id. Not a part of the id: of a UUID that grows with time the first half is a clock."""
    return blake2b(event_id, digest_size=8).hexdigest()


def _ns(us: int) -> str:
    return str(min(max(us * 1000, 0), _LATEST_NS))


def _times(begin_us: int, end_us: int | None) -> Json:
    end_us = begin_us if end_us is None else max(begin_us, end_us)
    return {"startTimeUnixNano": _ns(begin_us), "endTimeUnixNano": _ns(end_us)}


def _attributes(values: Json) -> list[Json]:
    return [{"key": key, "value": _value(value)} for key, value in values.items() if value is not None]


def _value(value: object) -> Json:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value(one) for one in value]}}
    return {"stringValue": value if isinstance(value, str) else orjson.dumps(value).decode()}
