"""Recording by the public SDK, and telling of it: a line `ack PID EVENT SESSION` for each event for which `record` has
returned, `refused PID EVENT` for one that a session which has ended did not take.

The line goes to standard output. Where a framework keeps that for itself, AGENTOPS_TEST_ACKS names a file, to the end
of which it is written; either way a line is one write, so that those of many processes stay whole.
"""

from __future__ import annotations

import os
from functools import cache

import agentops_local as agentops

TOLD_IN = "AGENTOPS_TEST_ACKS"


def say(*words: object) -> None:
    """A line for the test."""
    os.write(_out(os.environ.get(TOLD_IN)), (" ".join(map(str, words)) + "\n").encode())


@cache
def _out(file: str | None) -> int:
    return 1 if file is None else os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def tell(event: agentops.Event) -> None:
    """Says what became of an event: only one that was taken knows its session."""
    if event.session_id is None:
        say("refused", os.getpid(), event.id)
    else:
        say("ack", os.getpid(), event.id, event.session_id)


def act(kind: str = "step", session: agentops.Session | None = None, **params: object) -> agentops.ActionEvent:
    """Records an action, in a session or by the package's function, and tells."""
    event = agentops.ActionEvent(action_type=kind, params=params)
    (session or agentops).record(event)
    tell(event)
    return event


def think(writer: str, turn: int) -> agentops.LLMEvent:
    """Records an LLM call of a conversation that grows with the turns, and tells."""
    messages = [{"role": "system", "content": f"You are {writer}."}]
    for step in range(turn + 1):
        messages += [{"role": "user", "content": f"{step}?"}, {"role": "assistant", "content": f"{step}."}]
    event = agentops.LLMEvent(prompt=messages[:-1], completion=messages[-1], model="m", prompt_tokens=turn)
    agentops.record(event)
    tell(event)
    return event
