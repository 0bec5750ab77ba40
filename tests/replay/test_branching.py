"""Other answers, and the provider from some call on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fakes.llm import Answer, LLMServer
from tests.replay.agent import Agent

CHAIN = """
first = ask("one")
print(first, flush=True)
print(ask("one", {"role": "assistant", "content": first}, "two"))
"""


@pytest.fixture
def chain(agent: Agent) -> Agent:
    """A conversation of two calls."""
    agent.recorded("one", "1")
    messages = [("user", "one"), ("assistant", "1"), ("user", "two")]
    agent.recorded([{"role": role, "content": content} for role, content in messages], "2")
    return agent


def test_another_answer(chain: Agent, project: Path) -> None:
    """A call can be answered otherwise; what the program asks then was not recorded, and stops it."""
    (project / "answer.txt").write_text("uno\n")
    outcome, said = chain.replay(CHAIN, overrides={"1": project / "answer.txt"})
    assert (outcome.code, said) == (3, ["uno"])
    assert outcome.tally.end is not None
    assert {"-1", "+uno"} <= set(outcome.tally.end["diff"])


@pytest.mark.parametrize("wishes", [{"is_live": True}, {"start": "2"}])
def test_another_answer_goes_on_with_the_provider(chain: Agent, project: Path, wishes: dict) -> None:
    """After another answer the program goes on with the provider, where that is allowed."""
    (project / "answer.txt").write_text("uno")
    with LLMServer() as server:
        server.answer(Answer("due"))
        outcome, said = chain.replay(CHAIN, server.openai, overrides={"1": project / "answer.txt"}, **wishes)
        assert [len(request.body["messages"]) for request in server.requests] == [3]
    assert (outcome.code, said) == (0, ["uno", "due"])
    assert (outcome.tally.answered, outcome.tally.passed) == (1, 1)
    assert [number for number, _ in outcome.tally.left] == ([2] if "is_live" in wishes else [])


def test_a_message_as_an_answer(agent: Agent, project: Path) -> None:
    """A file may hold a message with calls of tools; JSON that is no message is text. An event is named by its id."""
    event, _ = agent.recorded("hi", "hello"), agent.recorded("data", "none")
    call = {"id": "c9", "type": "function", "function": {"name": "look", "arguments": '{"x": 1}'}}
    (project / "call.json").write_text(json.dumps({"role": "assistant", "content": None, "tool_calls": [call]}))
    (project / "data.json").write_text('{"content": 5}')
    code = """
    answer = post("/chat/completions", {"messages": [{"role": "user", "content": "hi"}]})["choices"][0]
    print(answer["message"]["tool_calls"][0] == %r, answer["finish_reason"], ask("data"))
    """
    files = {event: project / "call.json", "2": project / "data.json"}
    assert agent.replay(code % call, overrides=files)[1] == ['True tool_calls {"content": 5}']


def test_the_provider_from_a_call_on(chain: Agent) -> None:
    """The calls before a number are answered from the recording, and those from there on by the provider, although
    they were recorded."""
    with LLMServer() as server:
        server.answer(Answer("zwei"))
        outcome, said = chain.replay(CHAIN, server.openai, start="2")
    assert (outcome.code, said) == (0, ["1", "zwei"])
    assert len(server.requests) == 1


def test_no_provider_before_that(chain: Agent) -> None:
    """A request that differs before that call stops the program, and is not sent."""
    with LLMServer() as server:
        outcome, _ = chain.replay("ask('other')", server.openai, start="2")
    assert outcome.code == 3
    assert server.requests == []
