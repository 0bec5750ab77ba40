"""A program that records for a long time: `main(events, steps)`. Events of every kind; conversations that grow and are
dropped; a session and an agent for each hundred events, and agents as objects beside them. It tells its resources at
the beginning and after each step.

AGENTOPS_TEST_LEAK=N seeds a leak: N bytes are kept of each event, which must turn the test red.
"""

from __future__ import annotations

import gc
import os
import threading
from typing import NamedTuple
from uuid import UUID

import psutil

import agentops_local as agentops
from tests.reliability.programs.telling import say

OF_A_SESSION = 100  # events
_leak = int(os.environ.get("AGENTOPS_TEST_LEAK", "0"))
_kept: list[bytes] = []


class Resources(NamedTuple):
    """What a process holds."""

    events: int
    bytes: int  # resident
    objects: int  # that the garbage collector knows
    descriptors: int
    threads: int  # of the system
    databases: int  # descriptors of the database file: one for each connection


def resources(events: int) -> Resources:
    """What this process holds, garbage collected first."""
    gc.collect()
    me = psutil.Process()
    assert threading.enumerate() == [threading.main_thread()]
    databases = [file for file in me.open_files() if file.path.endswith("agentops.db")]
    return Resources(
        events, me.memory_info().rss, len(gc.get_objects()), me.num_fds(), me.num_threads(), len(databases)
    )


@agentops.track_agent(name="helper")
class Helper:
    """An agent that lives for one conversation."""

    @agentops.record_tool("look up")
    def look_up(self, number: int) -> str:
        """A tool call."""
        return "found " * (number * 37 % 200)


def converse(session: int) -> None:
    """The events of one session: a conversation that grows, and what goes on beside it."""
    helper = Helper()
    agent = UUID(agentops.create_agent(f"agent {session}"))
    messages = [{"role": "system", "content": f"You are one of {session % 4}. " + "Mind the details. " * 20}]
    for turn in range(OF_A_SESSION // 5):
        messages.append({"role": "user", "content": f"{session} asks {turn} " + "why? " * (turn * 7 % 40)})
        call = agentops.LLMEvent(prompt=messages, completion=f"{turn} is the answer", model="m", prompt_tokens=turn)
        agentops.record(call)
        messages.append({"role": "assistant", "content": f"{turn} is the answer"})
        helper.look_up(session + turn)
        agentops.record(agentops.ActionEvent(action_type="act", params={"turn": turn}, logs="x" * 300))
        agentops.record(agentops.ToolEvent(name="read", returns="y" * (session * turn % 9000), agent_id=agent))
        agentops.record(agentops.ErrorEvent(trigger_event=call, error_type="Broken", details=f"{turn} broke"))
        if _leak:
            _kept.extend(bytes(_leak) for _ in range(5))


def agents(warm: int, count: int) -> None:
    """Makes agents, and drops them, out of any session."""
    agentops.init(auto_start_session=False)
    for more in (warm, count):
        for _ in range(more):
            Helper()
        say(*resources(more))


def main(events: int, steps: int) -> None:
    """The program."""
    agentops.init(auto_start_session=False)
    done = 0
    say(*resources(0))
    for step in range(1, steps + 1):
        while done < events * step // steps:
            session = agentops.start_session(tags=["soak"])
            assert session is not None
            converse(done // OF_A_SESSION)
            session.end_session("Success")
            done += OF_A_SESSION
        say(*resources(done))
