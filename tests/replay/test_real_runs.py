"""Real conversations of an agent with its tools, through all that a replay does with them."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest

from agentops_local.analytics.reading import reading
from agentops_local.event import LLMEvent
from agentops_local.replay.conversation import items
from agentops_local.replay.formats import recognised, reply
from agentops_local.replay.formats.asked import Asked
from agentops_local.replay.recording import calls
from agentops_local.replay.tape import Orders, Tape
from benchmarks.real_runs import Call, data_file, events, load
from tests.analytics.recording import Book

RUNS = int(os.environ.get("AGENTOPS_LOCAL_REAL_RUNS", "6"))


@pytest.mark.skipif(data_file() is None, reason="the real runs are not here")
def test_real_runs(book: Book, tmp_path: Path) -> None:
    """Real conversations, asked for in any order, get the very messages that were recorded, each of them once."""
    file = data_file()
    assert file is not None
    asked = [step for run in load(file)[:RUNS] for step in events(run) if isinstance(step, Call)]
    state = book.session()
    for call in asked:
        book.add(state, LLMEvent(prompt=call.prompt, completion=call.completion, model="gpt-4o"))
    book.close()
    tape, orders = Tape(tmp_path / "tape.db"), Orders(state.id)
    with reading(book.path) as connection:
        tape.write(calls(connection, state.id))
    random.Random(7).shuffle(asked)
    answers = []
    for call in asked:
        body = json.dumps({"model": "gpt-4o", "messages": call.prompt}).encode()
        request = recognised("POST", "https://api.openai.com/v1/chat/completions", {}, body)
        assert isinstance(request, Asked)
        taken = tape.take(items(request.prompt), {"model": "gpt-4o"}, orders, is_once=False)
        assert taken is not None
        answers.append(json.loads(b"".join(reply(taken[1], request).chunks))["choices"][0]["message"])
    # A conversation that began alike several times went on in several ways, and those were asked for in any order.
    assert sorted(map(said, answers)) == sorted(said(call.completion) for call in asked)
    assert tape.tally().left == []


def said(message: dict) -> str:
    """What a message says."""
    return json.dumps([message.get("content"), message.get("tool_calls")], sort_keys=True)
