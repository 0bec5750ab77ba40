"""The real client, agentops 0.3.26 of the package index, against the collector."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.cli.calling import call
from tests.server.running import Api, in_a_process

VERSION = "0.3.26"
# A program of a user, which knows nothing of us. It prints what it recorded.
PROGRAM = """
import json
import sys

import agentops
from agentops import ActionEvent, ErrorEvent, LLMEvent, ToolEvent, record_tool, track_agent
from agentops.event import Event

url, key = sys.argv[1:]
session = agentops.init(
    api_key=key, endpoint=url, default_tags=["classic"], instrument_llm_calls=False, auto_start_session=True,
    max_wait_time=100,
)


@track_agent(name="researcher")
class Researcher:
    @record_tool("lookup")
    def lookup(self, what):
        return f"found {what}"


@record_tool("breaks")
def breaks():
    raise ZeroDivisionError("division by zero")


researcher = Researcher()
researcher.lookup("tides")
try:
    breaks()
except ZeroDivisionError:
    pass
prompt = [{"role": "user", "content": "When is high tide?"}]
completion = {"role": "assistant", "content": "At noon."}
llm = LLMEvent(
    prompt=prompt, completion=completion, model="gpt-4o", prompt_tokens=12, completion_tokens=4, cost=0.0012,
    params={"temperature": float("nan")},
)
tool = ToolEvent(name="searchWeb", params={"q": "tides"}, returns=["a", "b"], logs={"a": 1})
action = ActionEvent(action_type="click", params={"x": 1}, screenshot="http://example.com/s.png")
error = ErrorEvent(trigger_event=tool, error_type="Timeout", code="E1", details="no answer")
for event in (llm, tool, action, error, Event(event_type="apis", returns="ok"), llm):
    agentops.record(event)
agentops.add_tags(["more"])
analytics = session.get_analytics()
agentops.end_session("Success", "all is well", video="https://example.com/v.mp4")
print(
    json.dumps(
        {
            "session": str(session.session_id),
            "agent": researcher.agentops_agent_id,
            "ids": {"llms": str(llm.id), "tools": str(tool.id), "actions": str(action.id), "errors": str(error.id)},
            "analytics": analytics,
        }
    )
)
"""

# In one group, for each worker would install its own; and slow, for it is fetched.
pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]


@pytest.fixture(scope="session")
def classic(request: pytest.FixtureRequest) -> Path:
    """The Python of an environment that has the classic client and nothing of ours; kept from run to run."""
    assert request.config.cache is not None
    name = f"agentops-{VERSION}-python{sys.version_info.major}.{sys.version_info.minor}"
    folder = Path(request.config.cache.mkdir(name)) / "env"
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    ready = folder / "ready"
    if not ready.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True, timeout=120)
        # Its own requirements leave setuptools out, though it loads pkg_resources in some places.
        pip = [
            str(python),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--retries",
            "1",
            "--timeout",
            "30",
            f"agentops=={VERSION}",
        ]
        done = subprocess.run(pip, capture_output=True, text=True, timeout=500)
        if done.returncode:
            pytest.skip(f"agentops {VERSION} cannot be installed: {done.stderr.strip().splitlines()[-1:]}")
        ready.touch()
    return python


@pytest.fixture(scope="session")
def run(classic: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a program recorded with the classic client, and what the collector exports of it."""
    folder = tmp_path_factory.mktemp("classic")
    path, key = folder / "agentops.db", str(uuid4())
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AGENTOPS_", "PYTHON"))}
    with in_a_process(path) as collector, Api(collector.url, key) as api:
        done = subprocess.run(
            [str(classic), "-c", PROGRAM, f"{collector.url}/", key],
            cwd=folder,
            env=env,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout.splitlines()[-1])
        return {
            **said, "export": api.export(said["session"], "?columns=all"), "stats": api.stats(said["session"]),
            "errors": done.stderr, "path": path,
        }  # fmt: skip


def test_the_session_is_as_it_was_ended(run: dict[str, Any]) -> None:
    """The session arrives with its tags, its host, its video and its end."""
    session = run["export"]["session"]
    assert json.loads(session["tags"]) == ["classic", "more"]
    assert (session["end_state"], session["end_state_reason"]) == ("Success", "all is well")
    assert (session["video"], session["end_timestamp"] is not None) == ("https://example.com/v.mp4", True)
    # Of its SDK it tells nothing where modules are loaded while it looks: the check for a newer version does that.
    assert session["host_env"]["OS"]["Hostname"]


def test_every_event_is_there_once(run: dict[str, Any]) -> None:
    """Every event that the program recorded is there once, with what it held, also one recorded twice."""
    found = run["export"]
    assert [row["id"] for row in found["llms"]] == [run["ids"]["llms"]]
    (llm,) = found["llms"]
    assert llm["prompt"] == {"type": "chatml", "messages": [{"role": "user", "content": "When is high tide?"}]}
    assert llm["completion"] == {"type": "chatml", "messages": {"role": "assistant", "content": "At noon."}}
    assert (llm["model"], llm["prompt_tokens"], llm["completion_tokens"], llm["cost"]) == ("gpt-4o", 12, 4, 0.0012)
    assert llm["params"] == '{"temperature":"NaN"}'
    tools = {row["name"]: row for row in found["tools"]}
    assert set(tools) == {"lookup", "searchWeb"}
    assert tools["lookup"]["returns"] == "found tides"
    assert (tools["searchWeb"]["id"], tools["searchWeb"]["params"]) == (run["ids"]["tools"], '{"q":"tides"}')
    assert (tools["searchWeb"]["returns"], tools["searchWeb"]["logs"]) == ('["a","b"]', '{"a":1}')
    actions = {row["kind"]: row for row in found["actions"]}
    assert set(actions) == {"actions", "apis"}
    assert (actions["actions"]["action_type"], actions["actions"]["screenshot"]) == (
        "click",
        "http://example.com/s.png",
    )
    assert actions["apis"]["returns"] == "ok"
    errors = {row["error_type"]: row for row in found["errors"]}
    assert set(errors) == {"ZeroDivisionError", "Timeout"}
    assert (errors["Timeout"]["code"], errors["Timeout"]["details"]) == ("E1", "no answer")
    assert errors["Timeout"]["id"] == run["ids"]["errors"]
    assert "Traceback" in errors["ZeroDivisionError"]["logs"]


def test_what_the_client_computes_agrees(run: dict[str, Any]) -> None:
    """The cost that the client shows at its end, which is ours, agrees with what we count."""
    assert "Cost: $0.001200" in run["errors"]
    assert run["stats"]["events"] == 7
    assert (run["stats"]["errors"], run["stats"]["cost"]) == (2, 0.0012)


def test_the_client_has_nothing_to_complain_of(run: dict[str, Any]) -> None:
    """The client was answered as it wants to be: it logs its statistics, links and that it is old, and no failure."""
    usual = ("Session Stats", "Session Replay", "is out of date")
    said = [line for line in run["errors"].splitlines() if "AgentOps" in line]
    assert [line for line in said if not any(words in line for words in usual)] == []


def test_the_commands_read_what_it_sent(run: dict[str, Any]) -> None:
    """The commands show a session of the classic client like any other."""
    (session,) = call("sessions", "--json", "--db", run["path"]).json
    assert (session["session_id"], session["status"], session["errors"]) == (run["session"], "ended", 2)
    agents = call("show", "last", "--json", "--db", run["path"]).json["session"]["agents"]
    assert [agent for agent in agents if agent["name"] == "researcher"]
