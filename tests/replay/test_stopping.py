"""What ends a program, and how."""

from __future__ import annotations

import os
import venv
from pathlib import Path

import pytest

from agentops_local.errors import WrongUse
from agentops_local.replay.running import NotReplayable
from tests.replay.agent import Agent

STUBBORN = """
import atexit
atexit.register(print, "at the end")
print("before")
while True:
    try:
        ask("hi, there")
    except BaseException:
        print("caught")
    finally:
        print("finally")
"""


def test_nothing_keeps_a_program_from_being_stopped(agent: Agent) -> None:
    """A request that was not recorded ends the program with 3 whatever it has around its calls; what it printed before
    is there, and nothing of it runs any more."""
    event = agent.recorded("hi, you", "hello")
    outcome, said = agent.replay(STUBBORN)
    assert (outcome.code, said) == (3, ["before"])
    end = outcome.tally.end
    assert end is not None
    assert (end["number"], end["event"]) == (1, event)
    assert end["diff"] == ["--- recorded", "+++ asked", "@@ -1,2 +1,2 @@", " [user]", "-hi, you", "+hi, there"]


def test_a_thread_stops_the_program(agent: Agent) -> None:
    """So it does in a thread whose exceptions nobody asks for."""
    agent.recorded("hi", "hello")
    code = """
    import threading
    thread = threading.Thread(target=ask, args=("other",))
    thread.start()
    thread.join()
    print("went on")
    """
    outcome, said = agent.replay(code)
    assert (outcome.code, said) == (3, [])


def test_a_child_stops_its_parent(agent: Agent) -> None:
    """A child process that asks what was not recorded ends the program that does not look at its children."""
    agent.recorded("hi", "hello")
    code = """
    import signal, subprocess, threading
    if sys.argv[1:]:
        ask("other")
    subprocess.run([sys.executable, __file__, "child"])
    print("waits", flush=True)
    threading.Event().wait()
    """
    outcome, said = agent.replay(code)
    assert (outcome.code, said) == (3, ["waits"])


def test_one_call_more(agent: Agent) -> None:
    """A program that asks once more than was recorded is stopped, and its question shown."""
    agent.recorded("hi", "hello")
    outcome, said = agent.replay("print(ask('hi'), flush=True); ask('hi', 'again')")
    assert (outcome.code, said) == (3, ["hello"])
    assert outcome.tally.end is not None
    assert "once more" in outcome.tally.end["problem"]
    assert "+again" in outcome.tally.end["diff"]


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("post('/embeddings', {'model': 'm', 'input': 'hi'})", "what such a call returns is not recorded"),
        ("urllib.request.urlopen('https://api.openai.com/v1/models')", "GET https://api.openai.com/v1/models"),
        ("import socket; socket.create_connection(('api.anthropic.com', 443))", "speaks to api.anthropic.com"),
        ("ask('odd')", "completion is no message"),
        ("ask('unknown')", "failed with Odd"),
    ],
)
def test_what_cannot_be_answered(agent: Agent, code: str, told: str) -> None:
    """An LLM call that cannot be answered stops the program and says why: it never reaches the network, by whatever
    library it is made."""
    agent.recorded("odd", [[1]])
    agent.recorded("unknown", None, ("Odd", "no"))
    outcome, said = agent.replay(f"{code}\nprint('went on')")
    assert (outcome.code, said) == (3, [])
    assert outcome.tally.end is not None
    assert told in outcome.tally.end["problem"]


def test_a_fault_of_the_replay_lets_nothing_through(agent: Agent) -> None:
    """A replay that fails itself stops the program."""
    agent.recorded("hi", "hello")
    outcome, _ = agent.replay(
        """
        import sqlite3
        tape = sqlite3.connect(os.environ["AGENTOPS_LOCAL_REPLAY"])
        tape.execute("UPDATE calls SET answer = 'no JSON'")
        tape.commit()
        print(ask("hi"))
        """
    )
    assert outcome.code == 3
    assert outcome.tally.end is not None
    assert "the replay itself failed" in outcome.tally.end["problem"]


@pytest.mark.skipif(os.name != "posix", reason="the environment's Python has another place")
def test_a_python_without_us(agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python that has no agentops_local may run in a replay, and must not connect to anything."""
    agent.recorded("hi", "hello")
    venv.create(tmp_path / "bare", symlinks=True)
    python = str(tmp_path / "bare" / "bin" / "python")
    code = "import sys; print('runs', flush=True); import socket; socket.create_connection(('127.0.0.1', 9))"
    outcome, said = agent.run([python, "-c", code], {"PYTHONPATH": ""})
    assert (outcome.code, said) == (3, ["runs"])


def test_wrong_use(agent: Agent) -> None:
    """A session without LLM calls, a program that is not there and wishes that cannot be fulfilled are told at once."""
    with pytest.raises(NotReplayable, match="no LLM calls"):
        agent.replay("print(1)")
    agent.recorded("hi", "hello")
    with pytest.raises(NotReplayable, match="nowhere cannot be started"):
        agent.run(["nowhere"])
    with pytest.raises(WrongUse, match="'7' is no call of the session"):
        agent.replay("", start="7")
    with pytest.raises(WrongUse, match="--offline allows no connection"):
        agent.replay("", is_live=True, is_offline=True)
