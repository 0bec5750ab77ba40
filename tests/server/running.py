"""A running collector, in this process or in one of its own, and a client that says what a test wants to say.

    with in_process(path) as url: ...              # a thread of this process
    with in_a_process(path) as collector: ...      # collector.url, collector.process, collector.said

Either listens on a free port of loopback when the block begins, and has finished when it ends.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import requests

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "agentops_local.cli"]
BEGAN = "2026-01-31T12:00:00.000000+00:00"
ENDED = "2026-01-31T12:00:01.500000+00:00"


@contextmanager
def in_process(path: Path, **settings: Any) -> Iterator[str]:
    """A collector in a thread of this process; its URL. `settings`: fields of `serve.Settings`."""
    from agentops_local.server.serve import Serving, Settings

    serving = Serving(Settings(path, **{"port": 0, **settings}))
    started = threading.Event()
    thread = threading.Thread(target=serving.run, args=(started.set,), name="collector")
    thread.start()
    try:
        assert started.wait(30)
        yield serving.url
    finally:
        serving.stop()
        thread.join(60)


@dataclass
class Process:
    """A collector in a process of its own."""

    process: subprocess.Popen[str]
    url: str
    said: list[str] = field(default_factory=list)

    def kill(self) -> None:
        """Takes it away, without a word."""
        self.process.kill()
        self.process.wait(30)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Asks it to end; its exit code."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=60)
        self.said += [out, err]
        return self.process.returncode


@contextmanager
def in_a_process(path: Path, *options: str) -> Iterator[Process]:
    """A collector as the command starts it."""
    process = subprocess.Popen(
        [*COMMAND, "--db", str(path), "serve", "--port", "0", *options],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield Process(process, process.stdout.readline().strip())
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=30)


class Answer(NamedTuple):
    """What a collector has answered."""

    status: int
    body: Any
    headers: Any

    @property
    def message(self) -> str:
        """Of a refusal."""
        return str(self.body["message"])


class Api:
    """A client with a key."""

    def __init__(self, url: str, key: str | None = None) -> None:
        self.url = url
        self.key = key or str(uuid4())
        self._http = requests.Session()

    def __enter__(self) -> Api:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def send(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        """One request; bytes and text go as they are, anything else as JSON."""
        data = body if isinstance(body, (bytes, str, type(None))) else json.dumps(body)
        answer = self._http.request(method, self.url + path, data=data, headers=headers or {}, timeout=60)
        try:
            found = answer.json()
        except ValueError:
            found = answer.text
        return Answer(answer.status_code, found, answer.headers)

    def by_key(self, path: str, body: Any = None, method: str = "POST") -> Answer:
        """With the API key."""
        return self.send(method, path, body, {"X-Agentops-Api-Key": self.key})

    def by_token(self, token: str, path: str, body: Any, method: str = "POST") -> Answer:
        """With a token."""
        return self.send(method, path, body, {"Authorization": f"Bearer {token}"})

    def create(self, session_id: str | None = None, **fields: Any) -> Session:
        """A new session."""
        session_id = session_id or str(uuid4())
        said = {"session_id": session_id, "init_timestamp": BEGAN, **fields}
        answer = self.by_key("/v2/create_session", {"session": said})
        assert answer.status == 200, answer
        return Session(self, session_id, answer.body["jwt"])

    def export(self, session_id: str, query: str = "") -> Any:
        """A session whole."""
        answer = self.by_key(f"/v2/sessions/{session_id}/export{query}", method="GET")
        assert answer.status == 200, answer
        return answer.body

    def stats(self, session_id: str) -> Any:
        """What a session amounts to."""
        answer = self.by_key(f"/v2/sessions/{session_id}/stats", method="GET")
        assert answer.status == 200, answer
        return answer.body


class Session(NamedTuple):
    """A session at a collector, as a client has it."""

    api: Api
    id: str
    token: str

    def post(self, path: str, body: Any) -> Answer:
        """A request with its token."""
        return self.api.by_token(self.token, path, body)

    def events(self, *events: Any) -> Answer:
        """Sends events."""
        return self.post("/v2/create_events", {"events": list(events)})

    def update(self, **fields: Any) -> Answer:
        """Changes the session."""
        return self.post("/v2/update_session", {"session": {"session_id": self.id, **fields}})

    def export(self, query: str = "") -> Any:
        """The session whole."""
        return self.api.export(self.id, query)

    def stats(self) -> Any:
        """What it amounts to."""
        return self.api.stats(self.id)


def tool(**fields: Any) -> dict[str, Any]:
    """A tool call as a client sends it."""
    return {
        "id": str(uuid4()), "event_type": "tools", "init_timestamp": BEGAN, "end_timestamp": ENDED, "name": "search",
        "params": {"q": "x"}, "returns": "found", **fields,
    }  # fmt: skip


def llm(**fields: Any) -> dict[str, Any]:
    """An LLM call as a client sends it."""
    return {
        "id": str(uuid4()), "event_type": "llms", "init_timestamp": BEGAN, "end_timestamp": ENDED, "model": "gpt-4o",
        "prompt": [{"role": "user", "content": "hi"}], "completion": {"role": "assistant", "content": "yo"},
        "prompt_tokens": 10, "completion_tokens": 5, "cost": "0.0006", **fields,
    }  # fmt: skip


def error(**fields: Any) -> dict[str, Any]:
    """An error as a client sends it."""
    return {
        "id": str(uuid4()), "event_type": "errors", "timestamp": BEGAN, "error_type": "ValueError", "code": "E1",
        "details": "boom", "logs": "trace", **fields,
    }  # fmt: skip


def action(**fields: Any) -> dict[str, Any]:
    """An action as a client sends it."""
    return {
        "id": str(uuid4()), "event_type": "actions", "init_timestamp": BEGAN, "end_timestamp": ENDED,
        "action_type": "click", "params": "p", "returns": "r", "screenshot": "https://example.com/s.png", **fields,
    }  # fmt: skip
