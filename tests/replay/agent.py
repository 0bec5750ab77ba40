"""An agent that speaks HTTP itself, and what was recorded of it."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agentops_local.event import ErrorEvent, LLMEvent
from agentops_local.replay.running import Outcome, Wishes, replay
from tests.analytics.recording import ROOT, Book

NOWHERE = "http://127.0.0.1:9/v1"  # where nobody listens

_BEGINNING = """
import json, os, sys, urllib.request

def post(path, body, url={url!r}):
    request = urllib.request.Request(url + path, json.dumps(body).encode(), {{"content-type": "application/json"}})
    with urllib.request.urlopen(request) as response:
        return json.load(response)

def ask(*said, **more):
    messages = [{{"role": "user", "content": one}} if isinstance(one, str) else one for one in said]
    return post("/chat/completions", {{"model": "m", "messages": messages, **more}})["choices"][0]["message"]["content"]
"""


class Agent:
    """Programs that make LLM calls, replayed.

    Args:
        book: where the session is recorded whose calls they get.
        capture: hears them.
    """

    def __init__(self, book: Book, capture: pytest.CaptureFixture[str]) -> None:
        self.book = book
        self.state = book.session()
        self._capture = capture

    def recorded(self, prompt: Any, completion: object, error: tuple[str, str] | None = None, **more: Any) -> str:
        """A call that was recorded; the id of its event."""
        said = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        given = {"model": "m", "prompt_tokens": 10, "completion_tokens": 2, **more}
        event = self.book.add(self.state, LLMEvent(prompt=said, completion=completion, **given))
        if error is not None:
            self.book.add(self.state, ErrorEvent(trigger_event=event, error_type=error[0], details=error[1]))
        return str(event.id)

    def program(self, code: str, url: str = NOWHERE) -> list[str]:
        """A program that may `ask`."""
        file = Path("agent.py")
        file.write_text(_BEGINNING.format(url=url) + textwrap.dedent(code), encoding="utf-8")
        return [sys.executable, str(file)]

    def replay(self, code: str, url: str = NOWHERE, environ: Any = None, **wishes: Any) -> tuple[Outcome, list[str]]:
        """Replays a program: what came of it, and what it printed, by line."""
        return self.run(self.program(code, url), environ, **wishes)

    def run(self, command: Sequence[str], environ: Any = None, **wishes: Any) -> tuple[Outcome, list[str]]:
        """The same, of a command."""
        import os

        self.book.close()
        self._capture.readouterr()
        given = Wishes(**{"overrides": {}, **wishes})
        prepared = {**os.environ, "PYTHONPATH": str(ROOT), **(environ or {})}
        outcome = replay(self.book.path, self.state.id, command, given, prepared)
        out, err = self._capture.readouterr()
        assert "Traceback" not in err, err
        return outcome, out.splitlines()


@pytest.fixture
def agent(book: Book, capfd: pytest.CaptureFixture[str]) -> Agent:
    """A session to record in, and programs to replay with it."""
    return Agent(book, capfd)
