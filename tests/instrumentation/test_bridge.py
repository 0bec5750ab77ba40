"""Laws of what becomes of a span."""

from __future__ import annotations

import os
import random

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Status, StatusCode

import agentops_local
from agentops_local.instrumentation import bridge
from tests.instrumentation.spans import CHAT, Tracing
from tests.sdk.records import Records


@pytest.fixture
def tracing() -> Tracing:
    """A provider of ours, and one of the program."""
    return Tracing()


def said(records: Records) -> list[str]:
    """What the recorded calls have been answered."""
    return [text and text[text.index("content") + 10 : -2] for text in records.column("SELECT completion FROM llms")]


def test_committed_at_its_end(tracing: Tracing, records: Records) -> None:
    """A span's event is in the database when the call that it tells of returns."""
    with tracing.span(CHAT):
        assert records.column("SELECT seq FROM llms") == []
    assert records.row("SELECT model, provider FROM llms") == {"model": "gpt-4o", "provider": "openai"}


def test_the_leaf_wins(tracing: Tracing, records: Records) -> None:
    """Of spans that stand around one another and tell of one call, the innermost is recorded, alone."""
    with tracing.span(CHAT, "framework"), tracing.span({"openinference.span.kind": "LLM"}, "router"):
        tracing.call("leaf")
    assert said(records) == ["leaf"]


def test_the_leaf_outlives_its_frame(tracing: Tracing, records: Records) -> None:
    """A framework's span that ends before the stream inside it has been read is not recorded beside it."""
    with tracing.span(CHAT, "framework"):
        leaf = tracing.ours.start_span("leaf", attributes=CHAT)
    leaf.end()
    assert records.column("SELECT count(*) FROM llms") == [1]


def test_calls_one_after_the_other(tracing: Tracing, records: Records) -> None:
    """Calls in one span are one event each."""
    with tracing.span({"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "planner"}, "agent"):
        tracing.call("one")
        tracing.call("two")
    assert said(records) == ["one", "two"]


def test_ours_win_over_the_programs(tracing: Tracing, records: Records) -> None:
    """A call that the program's own instrumentor sees as well is recorded once, from our span, whichever is inside."""
    with tracing.span(CHAT, "theirs", users=True):
        tracing.call("ours inside")
    with tracing.span(CHAT, "ours") as ours:
        tracing.call("theirs inside", users=True)
        ours.set_attribute("gen_ai.response.model", "gpt-4o-2024-08-06")
    assert records.column("SELECT model FROM llms") == ["gpt-4o", "gpt-4o-2024-08-06"]
    assert said(records)[0] == "ours inside"


def test_only_the_programs(tracing: Tracing, records: Records) -> None:
    """A call that only the program's own instrumentor sees is recorded from its span."""
    tracing.call("theirs", users=True)
    assert said(records) == ["theirs"]


def test_other_spans(tracing: Tracing, records: Records) -> None:
    """A span that tells of no agent, model or tool is not recorded, and what is inside it belongs to what is around."""
    with (
        tracing.span({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"}, "tool"),
        tracing.span({"http.request.method": "GET"}, "GET /", users=True),
    ):
        tracing.call("inside")
    tool, call = records.value("SELECT id FROM tools"), records.row("SELECT parent_id FROM llms")
    assert call == {"parent_id": tool}
    assert records.column("SELECT count(*) FROM payloads") == [2]


def test_below_a_decorated_function(tracing: Tracing, records: Records) -> None:
    """A call in a decorated function, in the span of an agent, belongs to the function."""

    @agentops_local.record_action("step")
    def step() -> None:
        tracing.call("inside")

    with tracing.span({"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "planner"}, "agent"):
        step()
    assert records.column("SELECT parent_id FROM llms") == records.column(
        "SELECT id FROM actions WHERE action_type = 'step'"
    )


def test_the_agent_of_a_framework(tracing: Tracing, records: Records) -> None:
    """What happens in the span of an agent is that agent's; the same name in one session is one agent."""
    for _ in range(2):
        with tracing.span({"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "planner"}, "agent"):
            tracing.call("inside")
    tracing.call("outside")
    assert records.column("SELECT agent_name FROM llms ORDER BY seq") == ["planner", "planner", "Default Agent"]
    assert records.column("SELECT count(*) FROM agents WHERE name = 'planner'") == [1]


def test_the_session_of_its_start(tracing: Tracing, records: Records) -> None:
    """A span belongs to the session in which it started, also when it ends where another is active."""
    first = agentops_local.start_session()
    second = agentops_local.start_session()
    assert first is not None
    assert second is not None
    with first:
        span = tracing.ours.start_span("call", attributes=CHAT)
    with second:
        span.end()
    assert records.column("SELECT session_id FROM llms") == [str(first.session_id)]


def test_a_failure_counts_once(tracing: Tracing, records: Records) -> None:
    """An exception that passes through several spans is one error, at the innermost; each span is recorded."""
    with (
        pytest.raises(ValueError, match="no"),
        tracing.span({"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "planner"}, "agent"),
        tracing.span(CHAT),
    ):
        raise ValueError("no")
    error = records.row("SELECT error_type, details, trigger_event_type, logs FROM errors")
    assert (error["error_type"], error["details"], error["trigger_event_type"]) == ("ValueError", "no", "llms")
    assert "Traceback" in error["logs"]
    assert records.column("SELECT count(*) FROM payloads") == [3]


def test_a_failure_told_by_its_status(tracing: Tracing, records: Records) -> None:
    """A span that only says that it failed, and how, is an error with these words."""
    with tracing.span({**CHAT, "error.type": "openai.RateLimitError"}) as span:
        span.set_status(Status(StatusCode.ERROR, "slow down"))
    assert records.row("SELECT error_type, details FROM errors") == {
        "error_type": "RateLimitError",
        "details": "slow down",
    }


def test_spans_that_never_end(tracing: Tracing, records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of open spans only so many are remembered, the newest."""
    monkeypatch.setattr(bridge, "MOST_OPEN", 3)
    spans = [tracing.ours.start_span(str(number), attributes=CHAT) for number in range(5)]
    assert len(tracing.bridge._open) == 3
    for span in spans:
        span.end()
    assert records.column("SELECT count(*) FROM llms") == [3]


@pytest.mark.parametrize(
    ("variable", "value"),
    [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_SAMPLER", "always_off"), ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "2"),
     ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "3")],
)  # fmt: skip
def test_nothing_in_the_environment_switches_it_off(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch, records: Records
) -> None:
    """Every span is recorded whole, whatever OpenTelemetry's settings say of the program's own; these stay."""
    monkeypatch.setenv(variable, value)
    tracing = Tracing()
    with tracing.span({**CHAT, **{f"gen_ai.prompt.variable.{number}": "x" * 100 for number in range(200)}}) as span:
        span.set_attribute("gen_ai.usage.input_tokens", 7)
        span.set_attribute("gen_ai.response.model", "a long name of a model")
    call = records.row("SELECT model, prompt_tokens FROM llms")
    assert call == {"model": "a long name of a model", "prompt_tokens": 7}
    assert os.environ[variable] == value


def test_as_if_it_were_not_there(tracing: Tracing) -> None:
    """Inside a call the program's own spans, and the headers that go out, belong to the program's span around it."""
    with tracing.span({}, "outer", users=True) as outer, tracing.span(CHAT):
        assert trace.get_current_span().get_span_context() == outer.get_span_context()
        with tracing.span({}, "inner", users=True) as inner:
            assert isinstance(inner, ReadableSpan)
            assert inner.parent is not None
            assert inner.parent.span_id == outer.get_span_context().span_id
    with tracing.span(CHAT):
        assert not trace.get_current_span().get_span_context().is_valid
        with tracing.span({}, "root", users=True) as root:
            assert isinstance(root, ReadableSpan)
            assert root.parent is None


def test_the_programs_chance_is_its_own(tracing: Tracing) -> None:
    """A seeded program draws the same numbers with our spans as without."""
    random.seed(7)
    without = [random.random() for _ in range(3)]
    random.seed(7)
    with_spans = []
    for _ in range(3):
        tracing.call("x")
        with_spans.append(random.random())
    assert with_spans == without


def test_switched_off(tracing: Tracing, records: Records) -> None:
    """A bridge that is switched off records nothing more, not even of spans that had started before."""
    span = tracing.ours.start_span("call", attributes=CHAT)
    tracing.bridge.is_on = False
    span.end()
    tracing.call("later")
    assert records.column("SELECT count(*) FROM llms") == [0]
    assert otel_context.get_current() == {}
