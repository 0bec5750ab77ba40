"""The program and its surroundings."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests.fakes.llm import LLMServer
from tests.replay.agent import Agent


def test_exit_code_and_what_is_left(agent: Agent) -> None:
    """The exit code is the program's own; the calls that it did not ask for are told."""
    events = [agent.recorded(name, name.upper()) for name in "abc"]
    outcome, said = agent.replay("print(ask('b')); sys.exit(7)")
    assert (outcome.code, said) == (7, ["B"])
    assert outcome.tally.left == [(1, events[0]), (3, events[2])]


@pytest.mark.skipif(os.name != "posix", reason="only POSIX ends programs by signals")
def test_a_signal(agent: Agent) -> None:
    """A program that dies by a signal gives the exit code that a shell gives it."""
    agent.recorded("hi", "hello")
    assert agent.replay("import signal; os.kill(os.getpid(), signal.SIGKILL)")[0].code == 128 + 9


RECORDING = """
import agentops_local
session = agentops_local.init(tags=["mine"])
session.record(agentops_local.ActionEvent(action_type=ask("hi")))
agentops_local.end_session("Success")
other = agentops_local.start_session()
other.end_session("Success")
"""


def test_a_replay_is_a_session(agent: Agent) -> None:
    """A replay is recorded as a new session that names its origin, and so is every session that the program begins; the
    origin stays as it is."""
    agent.recorded("hi", "hello")
    outcome, _ = agent.replay(RECORDING)
    rows = agent.book.rows("SELECT id, tags FROM sessions WHERE id <> ? ORDER BY seq", agent.state.id)
    assert rows[0][0] == outcome.session
    assert [set(json.loads(tags)) - {"mine"} for _, tags in rows] == [{"replay", f"replay of {agent.state.id}"}] * 2
    assert agent.book.rows("SELECT count(*) FROM events WHERE session = 1") == [(1,)]
    assert agent.book.rows("SELECT action_type FROM actions") == [("hello",)]


def test_a_replay_may_leave_no_trace(agent: Agent) -> None:
    """If it is not to be recorded, the database stays as it is."""
    agent.recorded("hi", "hello")
    outcome, _ = agent.replay(RECORDING, is_recorded=False)
    assert (outcome.code, outcome.session) == (0, None)
    assert agent.book.rows("SELECT count(*) FROM sessions") == [(1,)]


def test_a_stopped_replay_says_so(agent: Agent) -> None:
    """The session of a program that was stopped has failed, and says why."""
    agent.recorded("hi", "hello")
    outcome, _ = agent.replay("import agentops_local\nagentops_local.init()\nask('other')")
    (row,) = agent.book.rows("SELECT end_state, end_state_reason FROM sessions WHERE id = ?", outcome.session)
    assert row == ("Fail", "replay: the program asked what was not recorded")


def test_other_requests(agent: Agent) -> None:
    """Requests that are no LLM calls go where they are sent; offline, none does."""
    agent.recorded("hi", "hello")
    with LLMServer() as server:
        code = f"""
        try:
            post("/tools/search", {{"messages": ["no model"]}}, {server.url!r})
        except urllib.error.HTTPError as error:
            print(error.code)
        """
        assert agent.replay(code)[1] == ["404"]
        outcome, said = agent.replay(code, is_offline=True)
    assert (outcome.code, said) == (3, [])
    assert outcome.tally.end is not None
    assert "--offline allows no request" in outcome.tally.end["problem"]


def test_traces_are_dropped(agent: Agent) -> None:
    """What a provider's console would be told of the run is taken from the program, and not sent."""
    agent.recorded("hi", "hello")
    code = """
    with urllib.request.urlopen("https://api.openai.com/v1/traces/ingest", b"{}") as response:
        print(response.status, ask("hi"))
    """
    assert agent.replay(code, is_offline=True)[1] == ["204 hello"]


def test_offline_by_whatever_means(agent: Agent) -> None:
    """Offline, no connection leaves the machine, whoever makes it; one within it is nobody else's."""
    agent.recorded("hi", "hello")
    inside = "import socket; s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname())\n"
    assert agent.replay(inside + "print('inside')", is_offline=True)[1] == ["inside"]
    outcome, said = agent.replay("import socket; socket.create_connection(('192.0.2.1', 80))", is_offline=True)
    assert (outcome.code, said) == (3, [])


def test_the_users_own_sitecustomize(agent: Agent, tmp_path: Path) -> None:
    """A `sitecustomize` that the program's Python would load is loaded."""
    agent.recorded("hi", "hello")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "sitecustomize.py").write_text("import builtins; builtins.own = __name__")
    path = os.pathsep.join([str(tmp_path / "own"), *filter(None, sys.path)])
    assert agent.replay("print(own, ask('hi'))", environ={"PYTHONPATH": path})[1] == ["sitecustomize hello"]


HTTP = """
import asyncio, httpx, requests
URL = {url!r} + "/chat/completions"
BODY = {{"model": "m", "messages": [{{"role": "user", "content": "long"}}], "stream": True}}

def text(lines):
    data = [line.removeprefix("data: ") for line in lines if line.startswith("data: {{")]
    return "".join(json.loads(one)["choices"][0]["delta"].get("content") or "" for one in data)

async def asked():
    async with httpx.AsyncClient() as client, client.stream("POST", URL, json=BODY) as response:
        return text([line async for line in response.aiter_lines()])

with httpx.stream("POST", URL, json=BODY) as response:
    print(text(response.iter_lines()))
print(asyncio.run(asked()))
with requests.post(URL, json=BODY, stream=True) as response:
    print(text(response.iter_lines(decode_unicode=True)))
try:
    with httpx.stream("POST", URL, json={{**BODY, "messages": [{{"role": "user", "content": "cut"}}]}}) as response:
        found = []
        for line in response.iter_lines():
            found.append(line)
except httpx.RemoteProtocolError:
    print("cut after", text(found))
try:
    httpx.post(URL, json={{**BODY, "messages": [{{"role": "user", "content": "late"}}]}})
except httpx.ReadTimeout:
    print("late")
"""


def test_streams_of_every_client(agent: Agent) -> None:
    """A stream comes in pieces that make the recorded text, by each HTTP library; one that broke off breaks off after
    the same text, and what was waited for in vain is so again."""
    text = "A  text\nwith \u00fcml\u00e4uts,\n\nlines and   spaces. "
    for _ in range(3):
        agent.recorded("long", text)
    agent.recorded("cut", "so far", ("APIConnectionError", "Connection error."))
    agent.recorded("late", None, ("APITimeoutError", "Request timed out."))
    command = agent.program("from client import *")
    Path("client.py").write_text("import json\n" + HTTP.format(url="http://127.0.0.1:9/v1"), encoding="utf-8")
    outcome, said = agent.run(command)
    assert outcome.code == 0
    assert said == [*text.splitlines() * 3, "cut after so far", "late"]
