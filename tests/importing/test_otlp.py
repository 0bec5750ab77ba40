"""Traces of OpenTelemetry, as files in OTLP/JSON."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from agentops_local.exporting import export
from agentops_local.importing import take_in
from tests.analytics.recording import LONG, Book
from tests.importing.looking import query, sound, stored

TRACE = "0190a00000007000800000000000aaaa"
SECOND = 1_000_000_000
BEGIN = 1_769_860_800 * SECOND


def value(given: Any) -> dict[str, Any]:
    """A value of an attribute."""
    if isinstance(given, list):
        return {"arrayValue": {"values": [value(item) for item in given]}}
    kinds = {int: "intValue", float: "doubleValue", bool: "boolValue", str: "stringValue"}
    return {kinds[type(given)]: str(given) if type(given) is int else given}


def attributes(given: dict[str, Any]) -> list[dict[str, Any]]:
    """Attributes as OTLP/JSON has them."""
    return [{"key": key, "value": value(one)} for key, one in given.items()]


def span(number: int, parent: int | None = None, trace: str = TRACE, **more: Any) -> dict[str, Any]:
    """A span; what it says goes into `said`, everything else into itself."""
    said = more.pop("said", {})
    above = {} if parent is None else {"parentSpanId": f"{parent:016x}"}
    return {
        "traceId": trace, "spanId": f"{number:016x}", **above, "name": f"span {number}",
        "startTimeUnixNano": str(BEGIN + number * SECOND), "endTimeUnixNano": str(BEGIN + (number + 1) * SECOND),
        "attributes": attributes(said), **more,
    }  # fmt: skip


def request(*spans: dict[str, Any], **resource: Any) -> dict[str, Any]:
    """An export of some spans."""
    return {
        "resourceSpans": [{"resource": {"attributes": attributes(resource)}, "scopeSpans": [{"spans": list(spans)}]}]
    }


def written(folder: Path, *requests: Any) -> Path:
    """A file of them, one a line."""
    file = folder / "traces.json"
    file.write_text("".join(json.dumps(one) + "\n" for one in requests))
    return file


def parts(role: str, text: str) -> str:
    """A message by the conventions, in a list, as JSON."""
    return json.dumps([{"role": role, "parts": [{"type": "text", "content": text}]}])


CHAT = {
    "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o",
    "gen_ai.usage.input_tokens": 7, "gen_ai.usage.output_tokens": 3, "gen_ai.conversation.id": "thread",
    "gen_ai.input.messages": parts("user", "question"), "gen_ai.output.messages": parts("assistant", "answer"),
}  # fmt: skip
TOOL = {
    "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search",
    "gen_ai.tool.call.arguments": '{"q":"x"}', "gen_ai.tool.call.result": "found",
}  # fmt: skip
AGENT = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "planner"}


def test_a_trace(tmp_path: Path) -> None:
    """A trace is a session: its calls, tools and steps are events with the ids, times and agents of their spans, below
    one another as these are; spans of other things are passed over."""
    other = span(2, 1, said={"http.request.method": "GET"})
    spans = (span(1, said=AGENT, status={"code": 1}), other, span(3, 2, said=CHAT), span(4, 1, said=TOOL))
    db = tmp_path / "otlp.db"
    assert take_in(db, [written(tmp_path, request(*spans, **{"service.name": "bot"}))]).events == 3
    assert query(db, "SELECT id, end_state, tags, (end_us - init_us) / 1000000 FROM sessions") == [
        ("0190a000-0000-7000-8000-00000000aaaa", "Success", '["service:bot"]', 4)
    ]
    ((action, agent),) = query(db, "SELECT id, agent_name FROM actions")
    assert agent == "planner"
    assert query(db, "SELECT provider, model, prompt_tokens, completion_tokens, thread_id, agent_name, parent_id, "
                     "init_timestamp, end_timestamp FROM llms") == [
        ("openai", "gpt-4o", 7, 3, "thread", "planner", action,
         "2026-01-31T12:00:03.000000+00:00", "2026-01-31T12:00:04.000000+00:00")
    ]  # fmt: skip
    ((prompt, completion),) = query(db, "SELECT prompt, completion FROM llms")
    assert json.loads(prompt) == [{"role": "user", "content": "question"}]
    assert json.loads(completion) == {"role": "assistant", "content": "answer"}
    assert query(db, "SELECT name, params, returns, parent_id FROM tools") == [("search", '{"q":"x"}', "found", action)]
    sound(db)


def test_other_families(tmp_path: Path) -> None:
    """The spans of OpenInference and OpenLLMetry are understood; of spans of one call around one another only the
    innermost is the call."""
    inference = {
        "openinference.span.kind": "LLM", "llm.model_name": "m1", "llm.token_count.prompt": 5,
        "llm.input_messages.0.message.role": "user", "llm.input_messages.0.message.content": "q",
    }  # fmt: skip
    llmetry = {"llm.request.type": "chat", "gen_ai.request.model": "m2", "gen_ai.prompt.0.content": "q2",
               "gen_ai.prompt.0.role": "user", "gen_ai.completion.0.content": "a2"}  # fmt: skip
    db = tmp_path / "otlp.db"
    frames = (span(1, said=inference), span(2, 1, said=CHAT), span(3, said=inference), span(4, said=llmetry))
    take_in(db, [written(tmp_path, request(*frames))])
    assert query(db, "SELECT model, prompt_tokens FROM llms ORDER BY seq") == [("gpt-4o", 7), ("m1", 5), ("m2", None)]


def test_a_span_that_failed(tmp_path: Path) -> None:
    """A span that failed is an error as well, which names its event; a root that failed is a session that did."""
    raised = {"name": "exception", "attributes": attributes(
        {"exception.type": "openai.RateLimitError", "exception.message": "slow down", "exception.stacktrace": "at ..."}
    )}  # fmt: skip
    failed: dict[str, Any] = {"status": {"code": 2, "message": "no"}, "events": [raised]}
    db = tmp_path / "otlp.db"
    take_in(db, [written(tmp_path, request(span(1, said=CHAT, **failed)))])
    assert query(db, "SELECT error_type, details, logs, trigger_event_type, trigger_event_id FROM errors") == [
        ("RateLimitError", "slow down", "at ...", "llms", query(db, "SELECT id FROM llms")[0][0])
    ]
    assert query(db, "SELECT end_state, end_state_reason FROM sessions") == [("Fail", "no")]


def test_a_trace_in_pieces(tmp_path: Path) -> None:
    """A trace whose spans come on several lines, in whatever order, is one session, as long as all of them; the same
    file again changes nothing."""
    root = span(1, said=AGENT, endTimeUnixNano=str(BEGIN + 5 * SECOND))
    lines = [request(span(3, 1, said=TOOL)), request(span(5, said=TOOL, trace=TRACE[::-1])), request(root)]
    db = tmp_path / "otlp.db"
    file = written(tmp_path, *lines)
    done = take_in(db, [file])
    assert (done.new_sessions, done.events) == (2, 3)
    assert query(db, "SELECT (end_us - init_us) / 1000000, auto_ended FROM sessions ORDER BY seq") == [(4, 0), (1, 0)]
    before = stored(db)
    assert take_in(db, [file]).is_nothing
    assert stored(db) == before


def test_ids_in_base64(tmp_path: Path) -> None:
    """Ids may come as protobuf's own JSON has bytes."""
    whole = span(1, said=TOOL)
    for name in ("traceId", "spanId"):
        whole[name] = base64.b64encode(bytes.fromhex(whole[name])).decode()
    take_in(tmp_path / "otlp.db", [written(tmp_path, request(whole))])
    assert query(tmp_path / "otlp.db", "SELECT id FROM sessions") == [("0190a000-0000-7000-8000-00000000aaaa",)]


def test_a_wrong_span_is_named(tmp_path: Path) -> None:
    """A span without an id or a time is named by its place, and left out."""
    wrong = ({**span(2), "spanId": "xyz"}, {**span(3), "startTimeUnixNano": "soon"}, {**span(4), "attributes": 3})
    done = take_in(tmp_path / "otlp.db", [written(tmp_path, request(span(1, said=TOOL), *wrong))])
    place = "line 1.resourceSpans[0].scopeSpans[0].spans"
    assert [(one[1], one[2].split(" ")[0]) for one in done.wrong] == [
        (f"{place}[1]", "spanId"), (f"{place}[2]", "startTimeUnixNano"), (f"{place}[3]", "attributes"),
    ]  # fmt: skip
    assert (done.events, done.skipped) == (1, 3)


def test_our_own_export(book: Book, tmp_path: Path) -> None:
    """Of our own export as traces the events have their ids, kinds, agents and parents again, and the session its tags
    and its end."""
    state = book.session("a tag")
    tool = book.tool(state, params={"q": LONG}, returns="found")
    book.llm(state, "system", "question", cost="0.5")
    book.action(state, "step", ["a"])
    book.error(state, tool, "broken")
    book.error(state, None, "alone")
    book.end(state, "Fail", "broken")
    export(book.path, None, "otlp", tmp_path / "out.json")
    db = tmp_path / "otlp.db"
    assert take_in(db, [tmp_path / "out.json"]).skipped == 0
    for sql in (
        "SELECT id, name, params, returns, agent_id, agent_name FROM tools", "SELECT id, prompt, model, cost FROM llms",
        "SELECT id, action_type, params FROM actions", "SELECT id, tags, end_us, end_state FROM sessions",
        "SELECT error_type, details, trigger_event_id FROM errors ORDER BY seq",
    ):  # fmt: skip
        assert query(db, sql) == query(book.path, sql)


def test_without_opentelemetry(tmp_path: Path) -> None:
    """Traces are taken in where OpenTelemetry is not installed: nothing of it is loaded."""
    file = written(tmp_path, request(span(1, said=CHAT)))
    code = (
        "import sys; from agentops_local.importing import take_in; take_in(sys.argv[1], [sys.argv[2]]); "
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    line = [sys.executable, "-c", code, str(tmp_path / "otlp.db"), str(file)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[2])
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
