from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

import agentops_local as agentops
from agentops_local.client import Client
from agentops_local.session import Session
from tests.sdk.records import Programs, Records

SECRET = "hunter2canary"  # noqa: S105 - what must not be found
PATTERN = re.compile(SECRET)
LONG = f"{'x' * 3000} {SECRET} {'y' * 3000}"  # long enough to be stored apart

# Each puts the secret into one field.
FIELDS: dict[str, Callable[[], agentops.Event]] = {
    "params": lambda: agentops.ActionEvent(params={"a": [SECRET]}),
    "params, key": lambda: agentops.ActionEvent(params={SECRET: 1}),
    "params, long": lambda: agentops.ActionEvent(params={"a": LONG}),
    "returns": lambda: agentops.ActionEvent(returns=f"the word is {SECRET}."),
    "logs": lambda: agentops.ActionEvent(logs=SECRET),
    "screenshot": lambda: agentops.ActionEvent(screenshot=f"https://example.org/?token={SECRET}"),
    "action_type": lambda: agentops.ActionEvent(action_type=SECRET),
    "tool name": lambda: agentops.ToolEvent(name=SECRET),
    "tool logs": lambda: agentops.ToolEvent(logs={"a": SECRET}),
    "prompt, text": lambda: agentops.LLMEvent(prompt=f"say {SECRET}"),
    "prompt, list": lambda: agentops.LLMEvent(prompt=[{"role": "user", "content": [{"text": SECRET}]}]),
    "prompt, long": lambda: agentops.LLMEvent(prompt=[{"role": "user", "content": LONG}]),
    "completion, text": lambda: agentops.LLMEvent(completion=SECRET),
    "completion, message": lambda: agentops.LLMEvent(
        completion={"role": "assistant", "tool_calls": [{"function": {"arguments": f'{{"a": "{SECRET}"}}'}}]}
    ),
    "model": lambda: agentops.LLMEvent(model=SECRET),
    "details, text": lambda: agentops.ErrorEvent(details=SECRET),
    "details, table": lambda: agentops.ErrorEvent(details={"a": SECRET}),
    "exception": lambda: agentops.ErrorEvent(exception=ValueError(SECRET)),
    "error_type": lambda: agentops.ErrorEvent(error_type=SECRET),
    "code": lambda: agentops.ErrorEvent(code=SECRET),
    "error logs": lambda: agentops.ErrorEvent(logs=f"Traceback\n  {SECRET}"),
    "trigger": lambda: agentops.ErrorEvent(trigger_event=agentops.ToolEvent(params=SECRET)),
}


def begin(redact: object) -> Session:
    """A session whose recordings are redacted."""
    session = agentops.init(redact=redact)
    assert session is not None
    return session


@pytest.mark.parametrize("field", FIELDS)
def test_rules_reach_every_field(records: Records, field: str) -> None:
    """What a rule names is nowhere in the database, whichever field of an event it stood in; the rest is."""
    begin(PATTERN).record(FIELDS[field]())
    assert SECRET.encode() not in records.text()
    assert b"[redacted]" in records.text()
    assert records.value("SELECT count(*) > 0 FROM events") == 1


@pytest.mark.parametrize("field", FIELDS)
def test_without_rules_it_is_all_there(records: Records, field: str) -> None:
    """Without rules nothing is taken away, so the absence above proves something."""
    session = agentops.init()
    assert session is not None
    session.record(FIELDS[field]())
    assert SECRET.encode() in records.text()


def test_rules_reach_decorated_calls(records: Records) -> None:
    """Arguments, results, items and errors of decorated calls are redacted, tracebacks included."""
    begin(PATTERN)

    @agentops.record_tool()
    def work(word: str, fail: bool = False) -> str:
        if fail:
            raise ValueError(f"no {word}")
        return word

    @agentops.record_action()
    def items() -> Any:
        yield SECRET

    work(SECRET)
    list(items())
    with pytest.raises(ValueError, match=SECRET):
        work(SECRET, fail=True)
    assert SECRET.encode() not in records.text()
    row = records.row("SELECT details, logs FROM errors")
    assert row["details"] == "no [redacted]"
    assert "ValueError: no [redacted]" in row["logs"]


def test_rules_reach_the_reason(records: Records) -> None:
    """The reason of the end is redacted."""
    begin(PATTERN).end_session("Fail", f"because of {SECRET}")
    assert records.value("SELECT end_state_reason FROM sessions") == "because of [redacted]"
    assert SECRET.encode() not in records.text()


def test_rules_reach_the_crash(programs: Programs, records: Records) -> None:
    """The text of the exception that ends a program is redacted."""
    source = f"""
    import re
    import agentops_local as agentops
    agentops.init(redact=re.compile({SECRET!r}))
    raise ValueError("because of {SECRET}")
    """
    programs.run(source, code=1)
    assert records.value("SELECT end_state_reason FROM sessions") == "ValueError: because of [redacted]"
    assert SECRET.encode() not in records.text()


def test_keys_are_rules(records: Records) -> None:
    """The name of a key hides its value, in any spelling and at any depth; a list of rules holds together."""
    session = begin(["password", PATTERN])
    session.record(agentops.ActionEvent(params={"Password": "x1y2z3", "deep": [{"passWord": "x1y2z3", "a": SECRET}]}))
    params = json.loads(records.value("SELECT params FROM actions"))
    assert params == {"Password": "[redacted]", "deep": [{"passWord": "[redacted]", "a": "[redacted]"}]}


def test_the_usual_secrets(records: Records) -> None:
    """The rule "secrets" knows the usual ones."""
    session = begin("secrets")
    key = "sk-" + "abcd1234" * 4
    session.record(agentops.LLMEvent(prompt=f"my key is {key}", params={"api_key": "plain"}))
    assert records.row("SELECT prompt, params FROM llms") == {
        "prompt": "my key is [redacted]",
        "params": '{"api_key":"[redacted]"}',
    }


def test_a_function_is_a_rule(records: Records) -> None:
    """A function is given plain data, and what it returns is stored."""
    seen = []

    def rule(value: object) -> object:
        seen.append(value)
        return {"only": "this"}

    begin(rule).record(agentops.ActionEvent(params={"a": (1, 2)}))
    assert seen == [{"a": [1, 2]}]
    assert records.value("SELECT params FROM actions") == '{"only":"this"}'


@pytest.mark.parametrize("field", FIELDS)
def test_a_failing_rule_stores_nothing(records: Records, monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    """When a rule fails, what it was given is not stored; the event is, and the program goes on."""
    monkeypatch.setenv("AGENTOPS_LOCAL_STRICT", "0")

    def fail(value: object) -> object:
        raise RuntimeError("the rule is broken")

    session = begin(fail)
    session.record(FIELDS[field]())
    session.end_session("Fail", f"because of {SECRET}")
    assert SECRET.encode() not in records.text()
    assert b"redaction failed" in records.text()
    assert records.value("SELECT count(*) > 0 FROM events") == 1
    assert records.value("SELECT end_state FROM sessions") == "Fail"


def test_the_program_s_own_data_stays(records: Records) -> None:
    """Redaction changes nothing of the program's: not what it recorded, not what its functions get and return."""
    begin(["password", PATTERN])
    given = {"password": "x1y2z3", "words": [SECRET]}

    @agentops.record_action()
    def work(table: dict[str, Any]) -> dict[str, Any]:
        assert table == given
        return table

    assert work(given) is given
    event = agentops.ActionEvent(params=given)
    agentops.record(event)
    assert event.params is given
    assert given == {"password": "x1y2z3", "words": [SECRET]}


def test_a_growing_conversation_is_redacted(records: Records) -> None:
    """A conversation that grows is redacted turn by turn, also where an earlier turn is recognised."""
    session = begin(PATTERN)
    messages: list[dict[str, str]] = []
    for turn in range(4):
        messages.append({"role": "user", "content": f"{turn} {SECRET}"})
        session.record(agentops.LLMEvent(prompt=list(messages), completion=f"{turn} {SECRET}"))
        messages.append({"role": "assistant", "content": f"{turn} {SECRET}"})
    assert SECRET.encode() not in records.text()
    last = json.loads(records.column("SELECT prompt FROM llms ORDER BY seq")[-1])
    assert [message["content"] for message in last] == [f"{turn} [redacted]" for turn in (0, 0, 1, 1, 2, 2, 3)]


@pytest.mark.parametrize("rule", [7, b"bytes", re.compile(b"bytes"), re.compile(""), ["ok", 7], ""])
def test_a_rule_that_is_none(caplog: pytest.LogCaptureFixture, rule: object) -> None:
    """A rule that cannot be one is told when it is given, and payloads are left out until there is one that can."""
    agentops.configure(redact=PATTERN)
    agentops.configure(redact=rule)
    assert "redact" in caplog.text
    withhold = Client().config.redactor()
    assert withhold is not None
    assert "left out" in str(withhold({"any": "thing"}))
    agentops.configure(redact=PATTERN)
    assert Client().config.redact is PATTERN


def test_a_refused_rule_does_not_open_the_door(records: Records) -> None:
    """A program that asked for redaction is not recorded without it, though its rules could not be understood."""
    session = agentops.init(redact=[SECRET, 7])
    assert session is not None
    session.record(agentops.ActionEvent(params={SECRET: "x1y2z3"}))
    assert b"x1y2z3" not in records.text()
