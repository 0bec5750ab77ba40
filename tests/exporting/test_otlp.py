from __future__ import annotations

import json
import re
from typing import Any

import pytest

from agentops_local.analytics import filters
from agentops_local.event import LLMEvent, ToolEvent
from agentops_local.exporting import triggers
from agentops_local.instrumentation import semconv
from tests.analytics.recording import SECRET, Book, secretive
from tests.exporting.exported import raw


def request(book: Book, sessions: Any = "last", **how: Any) -> dict[str, Any]:
    """The request."""
    found: dict[str, Any] = json.loads(raw(book, sessions, "otlp", **how))
    return found


def spans(book: Book, sessions: Any = "last", **how: Any) -> list[dict[str, Any]]:
    """The spans of a session."""
    (resource,) = request(book, sessions, **how)["resourceSpans"]
    found: list[dict[str, Any]] = resource["scopeSpans"][0]["spans"]
    return found


def attributes(of: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a span or an event."""
    return {one["key"]: next(iter(one["value"].values())) for one in of["attributes"]}


def test_a_trace(book: Book) -> None:
    """A session is one trace whose id is its own, with one root; each event is a span below it or below its parent."""
    state = book.session("tag")
    outer = book.tool(state, "outer")
    book.add(state, ToolEvent(name="inner"), outer)
    book.llm(state, "hello", model="m")
    book.end(state, "Fail", "no luck")
    found = {span["name"]: span for span in spans(book)}
    root = found["session"]
    assert {span["traceId"] for span in found.values()} == {state.id.replace("-", "")}
    assert "parentSpanId" not in root
    assert found["execute_tool outer"]["parentSpanId"] == found["chat m"]["parentSpanId"] == root["spanId"]
    assert found["execute_tool inner"]["parentSpanId"] == found["execute_tool outer"]["spanId"]
    assert len({span["spanId"] for span in found.values()}) == 4
    assert root["status"] == {"code": 2, "message": "no luck"}
    assert int(root["endTimeUnixNano"]) >= int(found["chat m"]["endTimeUnixNano"])


def test_the_encoding(book: Book) -> None:
    """As OTLP/JSON demands, ids are hexadecimal, kinds and codes numbers, and 64-bit integers decimal text."""
    state = book.session()
    book.error(state, book.tool(state, "look"))
    book.llm(state, "hello")
    text = raw(book, state.id, "otlp").decode()
    for span in spans(book):
        assert re.fullmatch("[0-9a-f]{32}", span["traceId"])
        assert re.fullmatch("[0-9a-f]{16}", span["spanId"])
        assert isinstance(span["kind"], int)
        assert span["startTimeUnixNano"].isdecimal()
        assert int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"])
    numbers = re.findall(r'"intValue":([^}]*)}', text)
    assert numbers
    assert all(re.fullmatch(r'"-?\d+"', number) for number in numbers)


def test_calls_say_what_the_conventions_ask(book: Book) -> None:
    """What an LLM call says by the conventions is read back by our own reader of them as it was recorded."""
    state = book.session()
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"q":1}'}}
    talk = [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": [{"type": "text", "text": "see"},
                                     {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "found"},
    ]  # fmt: skip
    book.add(state, LLMEvent(
        prompt=talk, completion="well", model="m", provider="openai", prompt_tokens=9, completion_tokens=3,
        cache_read_tokens=2, cache_write_tokens=1, reasoning_tokens=1, cost=0.5, thread_id="t",
        params={"temperature": 0.5, "max_tokens": 100}, returns={"id": "r1", "finish_reasons": ["length"]},
    ))  # fmt: skip
    (span, _) = spans(book)
    said = attributes(span)
    assert (span["name"], span["kind"], said["gen_ai.operation.name"]) == ("chat m", 3, "chat")
    assert (said["gen_ai.request.temperature"], said["gen_ai.request.max_tokens"]) == (0.5, "100")
    read = semconv.read(said, span["name"])
    assert read.prompt == talk
    picture = {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "AA=="}
    assert json.loads(said["gen_ai.input.messages"])[1]["parts"][1] == picture
    assert (read.completion["content"], read.model, read.provider, read.thread_id) == ("well", "m", "openai", "t")
    names = "prompt_tokens completion_tokens cache_read_tokens cache_write_tokens reasoning_tokens cost".split()
    assert [getattr(read, name) for name in names] == ["9", "3", "2", "1", "1", 0.5]
    assert json.loads(said["gen_ai.output.messages"])[0]["finish_reason"] == "length"


def test_tools_say_what_went_in_and_came_out(book: Book) -> None:
    """A tool call has its arguments and its result."""
    state = book.session()
    book.tool(state, "look", {"q": 1}, ["found"])
    (span, _) = spans(book)
    read = semconv.read(attributes(span), span["name"])
    assert (span["name"], read.name, read.params, read.returns) == ("execute_tool look", "look", {"q": 1}, ["found"])


def test_errors(book: Book) -> None:
    """An error is an exception of the span that it names, which has failed; one that names none is a span that has."""
    state = book.session()
    tool = ToolEvent(name="look")
    book.error(state, tool, "early")  # committed before the event that failed
    book.add(state, tool)
    book.error(state, tool, "late")
    book.error(state, None, "alone")
    found = {span["name"]: span for span in spans(book)}
    assert set(found) == {"execute_tool look", "ValueError", "session"}
    failed = found["execute_tool look"]
    assert failed["status"] == {"code": 2, "message": "early"}
    assert [attributes(event)["exception.message"] for event in failed["events"]] == ["early", "late"]
    assert attributes(failed)["error.type"] == "ValueError"
    assert [attributes(event)["exception.message"] for event in found["ValueError"]["events"]] == ["alone"]


def test_an_error_of_an_error(book: Book) -> None:
    """An error that names another is a span of its own: there is no span that it could be an event of."""
    state = book.session()
    tool = book.tool(state, "look")
    first = book.error(state, tool, "first")
    book.error(state, first, "second")
    found = {span["name"]: span for span in spans(book)}
    assert len(found["execute_tool look"]["events"]) == 1
    assert attributes(found["ValueError"]["events"][0])["exception.message"] == "second"


def test_many_errors(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors are read in pieces, and none is passed over at their ends."""
    monkeypatch.setattr(triggers, "_PIECE", 2)
    state = book.session()
    tool = book.tool(state, "look")
    for number in range(7):
        book.error(state, tool, f"{number}")
    book.change("UPDATE events SET init_us = 5 WHERE kind = 'errors' AND seq % 2 = 0")
    (span, _) = spans(book)
    assert [attributes(event)["exception.message"] for event in span["events"]] == [str(number) for number in range(7)]


def test_without_content(book: Book) -> None:
    """Without content the spans have names and numbers, and nothing that was said."""
    session = secretive(book)
    book.change("UPDATE sessions SET tags = '[]'")
    book.change("UPDATE events SET name = 'named', model = 'm'")
    book.change("UPDATE agents SET name = 'somebody'")
    out = raw(book, session, "otlp", content=False)
    assert SECRET.encode() not in out
    assert b'"gen_ai.usage.input_tokens"' in out
    assert b"gen_ai.input.messages" not in out


def test_several_sessions(book: Book) -> None:
    """Several sessions are several resources of one request, none an empty one."""
    states = [book.session(), book.session()]
    found = request(book, [state.id for state in states])["resourceSpans"]
    named = [attributes(one["resource"])["session.id"] for one in found]
    assert named == [state.id for state in states]
    assert request(book, filters.parse(tags="none")) == {"resourceSpans": []}
