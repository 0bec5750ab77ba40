"""What of a program's requests is an LLM call, and how answers are written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentops_local.analytics.reading import reading
from agentops_local.event import LLMEvent
from agentops_local.replay.answer import Answer, Failure, Said, ToolCall
from agentops_local.replay.formats import FORMATS, may_be, recognised, reply
from agentops_local.replay.formats.asked import Asked
from agentops_local.replay.player import Player
from agentops_local.replay.recording import calls
from agentops_local.replay.tape import Orders, Tape
from tests.replay.agent import Agent

CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "q"}]}
BODIES: dict[str, dict[str, Any]] = {
    "https://azure.example/openai/deployments/d/chat/completions?api-version=1": CHAT,
    "http://localhost:1234/v1/responses": {"model": "m", "input": "q"},
    "https://gateway.example/anthropic/v1/messages": {**CHAT, "max_tokens": 5},
    "https://x.example/v1beta/models/m:generateContent": {"contents": [{"parts": [{"text": "q"}]}]},
    "https://x.example/v2/chat": CHAT,
    "http://localhost:11434/api/chat": CHAT,
}
SAID = Said(
    "some words and more", (ToolCall("c1", "look", '{"x": 1}'), ToolCall("c2", "see", "{}")), "hm", None, "length"
)
ANSWER = Answer("event", "model", None, (SAID,), {"prompt_tokens": 7, "completion_tokens": 3})


def asked(url: str, is_stream: bool = False) -> Asked:
    """A request as the call that it is."""
    body = json.dumps({**BODIES[url], "stream": is_stream}).encode()
    address = url.replace(":generateContent", ":streamGenerateContent?alt=sse") if is_stream else url
    found = recognised("POST", address, {}, body)
    assert isinstance(found, Asked)
    return found


@pytest.mark.parametrize(("url", "name"), list(zip(BODIES, [one.name for one in FORMATS], strict=True)))
def test_a_call_is_known_by_its_format(url: str, name: str) -> None:
    """Each format is known at any address, and asks what it asks."""
    found = asked(url)
    assert found.format == name
    assert "q" in json.dumps(found.prompt)
    assert found.model == "m"


@pytest.mark.parametrize(
    ("method", "url", "body"),
    [
        ("POST", "https://discord.example/channels/1/messages", CHAT),
        ("POST", "https://survey.example/responses", {"answers": [1]}),
        ("POST", "https://shop.example/api/chat", {"text": "hi"}),
        ("POST", "https://search.example/embeddings/of/flowers", {"model": "m"}),
        ("GET", "https://x.example/v1/chat/completions", CHAT),
    ],
)
def test_others_are_none(method: str, url: str, body: dict) -> None:
    """A request that only looks like an LLM call is none."""
    assert recognised(method, url, {}, json.dumps(body).encode()) is None


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ("https://api.openai.com/v1/images/edits", {}),
        ("https://me.openai.azure.com/openai/files", {}),
        ("https://eu-aiplatform.googleapis.com/v1/x:predict", {}),
        ("https://bedrock-runtime.eu-west-1.amazonaws.com/model/m/converse", {}),
        ("http://localhost/v1/embeddings", {}),
        ("http://localhost/v1/chat/completions", {"content-encoding": "gzip"}),
    ],
)
def test_what_cannot_be_answered_is_known_too(url: str, headers: dict[str, str]) -> None:
    """A call of a model that cannot be answered is not taken for another request."""
    assert may_be("POST", url)
    assert isinstance(recognised("POST", url, headers, b'{"model": "m"}'), str)


@pytest.mark.parametrize("url", BODIES)
def test_whole_and_in_pieces(url: str) -> None:
    """An answer says the same whole and as a stream: its words, its calls of tools and its tokens."""
    pieces = b"".join(reply(ANSWER, asked(url, is_stream=True)).chunks).decode()
    whole = b"".join(reply(ANSWER, asked(url)).chunks).decode()
    assert "some words and more" in whole
    positions = [pieces.index(f'"{word}') for word in ("some ", "words ", "and ", "more")]
    assert positions == sorted(positions)
    for text in (whole, pieces):
        assert "look" in text
        assert "see" in text
        assert text.index("look") < text.index("see")


@pytest.mark.parametrize("url", BODIES)
def test_a_refusal(url: str) -> None:
    """A call that was refused is refused with the same status and words."""
    failure = Failure("RateLimitError", "slow down", 429)
    made = reply(Answer("event", None, None, (), failure=failure), asked(url))
    assert made.status == 429
    assert "slow down" in made.chunks[0].decode()


def test_what_was_answered_costs_nothing(agent: Agent, tmp_path: Any) -> None:
    """Where some calls go to the provider, those that were answered from the recording cost nothing, and no others."""
    agent.recorded("one", "1")
    agent.book.close()
    tape = Tape(tmp_path / "tape.db")
    with reading(agent.book.path) as connection:
        tape.write(calls(connection, agent.state.id))
    tape.order(Orders(agent.state.id, is_live=True))
    player = Player(tape.path)
    body = json.dumps({"messages": [{"role": "user", "content": "one"}]}).encode()
    answered = player.respond("POST", "http://x/v1/chat/completions", {}, lambda: body)
    passed = player.respond("POST", "http://x/v1/chat/completions", {}, lambda: body)
    assert (answered is not None, passed) == (True, None)
    events = [LLMEvent(prompt=[{"role": "user", "content": text}]) for text in ("one", "two")]
    for event in events:
        player.amend(event)
    assert [event.cost for event in events] == [0, None]
