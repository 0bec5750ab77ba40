from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from agentops_local.event import LLMEvent
from tests.analytics.recording import Book
from tests.cli.calling import call, execute, on_terminal

AGENT = """
import json, sys, urllib.request
for question in sys.argv[1:]:
    body = {"messages": [{"role": "user", "content": question}]}
    request = urllib.request.Request("http://127.0.0.1:9/v1/chat/completions", json.dumps(body).encode())
    with urllib.request.urlopen(request) as response:
        print(json.load(response)["choices"][0]["message"]["content"])
"""


@pytest.fixture
def recorded(book: Book) -> str:
    """The id of a session with two calls."""
    Path("agent.py").write_text(AGENT)
    state = book.session()
    for question in ("one", "two"):
        book.add(state, LLMEvent(prompt=question, completion=question.upper(), model="m"))
    book.close()
    return state.id


def test_a_replay(recorded: str) -> None:
    """`replay` runs a program with the recorded answers; stdout is the program's alone, and a line on stderr says how
    many calls were answered."""
    said = execute("replay", "last", "--", sys.executable, "agent.py", "one", "two")
    assert (said.code, said.out) == (0, "ONE\nTWO\n")
    assert said.err == "agentops-local replay: 2 of 2 recorded calls answered\n"


def test_calls_left_over(recorded: str) -> None:
    """Calls that were not asked for are named; with --complete, wherever it stands before the command, they make the
    exit code 4."""
    for line in (["replay", "--complete", recorded[:8]], ["replay", recorded, "--complete"]):
        said = call(*line, "--", sys.executable, "agent.py", "two")
        assert said.code == 4
        assert "1 of 2 recorded calls answered; not asked for: 1" in said.err
    assert call("replay", "last", "--", sys.executable, "agent.py", "two").code == 0


def test_a_difference(recorded: str) -> None:
    """A request that was not recorded makes the exit code 3, and the difference is shown; in colours on a terminal."""
    line = ("replay", "last", "--", sys.executable, "agent.py", "one", "tw\033[31mo")
    said = execute(*line)
    assert (said.code, said.out) == (3, "ONE\n")
    assert "stopped: call 2 is not asked for as it was recorded" in said.err
    assert "\n-two\n+tw\N{REPLACEMENT CHARACTER}[31mo\n" in said.err
    if os.name == "posix":
        assert "\033[31m-two\033[0m" in on_terminal(*line).out


def test_wrong_use(recorded: str) -> None:
    """What was mistyped is told with exit code 2, and what cannot be done with 1."""
    assert call("replay", "last").code == 2
    assert "there is no file 'nothing.txt'" in call("replay", "last", "--override", "1=nothing.txt", "--", "x").err
    assert call("replay", "last", "--override", "1", "--", "x").code == 2
    assert call("replay", "last", "--from", "9", "--", "x").code == 2
    assert call("replay", "ffff", "--", "x").code == 1
    assert call("replay", "last", "--", "no-such-program").code == 1
