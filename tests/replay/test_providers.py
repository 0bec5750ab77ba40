"""The real libraries: recorded against a server, replayed without one."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.cli.calling import COMMAND, environment
from tests.fakes.llm import Answer, LLMServer, Usage
from tests.fakes.llm.script import Failure, Request
from tests.sdk.records import Records

CALL = ("c1", "weather", '{"city": "Rome"}')
PROGRAM = [sys.executable, "-m", "tests.replay.programs.providers"]


def answer(request: Request) -> Answer:
    """A call of the tool, once; then words."""
    text = json.dumps(request.body)
    usage = Usage(40, 12, cache_read=8, reasoning=2)
    if "sunny" in text or "In words" in text:
        return Answer("It is sunny in Rome, \u2600 21 degrees.", usage=usage)
    return Answer("Let me look.", (CALL,), usage)


class Refusing(LLMServer):
    """Refuses one question, whoever asks it."""

    def __enter__(self) -> Refusing:
        super().__enter__()
        take = self.script.next

        def next_step(request: Request) -> tuple[Answer | Failure, int]:
            step, number = take(request)
            if "Say no." in json.dumps(request.body):
                return Failure(429, {"retry-after-ms": "1"}), number
            return step, number

        self.script.next = next_step  # type: ignore[method-assign]  # of this one script
        return self


def run(*line: str, url: str) -> tuple[Any, str]:
    """What the program printed, and what was said on stderr."""
    done = subprocess.run([*line, *PROGRAM], env=environment(LLM=url), capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    # Cohere's library tells the headers as well, which are not recorded.
    return json.loads(re.sub(r"headers: \{.*?\}, ", "", done.stdout)), done.stderr


_RECORDED = """
SELECT prompt, completion, model, provider, prompt_tokens, completion_tokens, cache_read_tokens, reasoning_tokens
FROM llms WHERE session_id = ? ORDER BY seq
"""


def test_every_library_sees_what_it_saw(project: Path) -> None:
    """Replayed without a server, each provider's library gives the program what it gave it: answers whole, streamed and
    asynchronous, calls of tools, tokens and failures. No connection is tried, and the replay is recorded as its origin
    was, but that nothing is paid for it."""
    with Refusing() as server:
        server.answer_with(answer)
        was, _ = run(*COMMAND, "run", "--session", "new", "--", url=server.url)
        port = int(server.url.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)) as listener:
        listener.settimeout(0)
        now, told = run(*COMMAND, "replay", "last", "--offline", "--complete", "--", url=f"http://127.0.0.1:{port}")
        try:
            listener.accept()
        except BlockingIOError:
            tried = 0
        else:
            tried = 1
    different = [(name, way, was[name][way], now[name][way])
                 for name in was for way in was[name] if was[name][way] != now[name][way]]  # fmt: skip
    assert different == []
    assert tried == 0
    assert "instead of" not in told
    records = Records(project / ".agentops" / "agentops.db")
    origin, copy = records.column("SELECT id FROM sessions ORDER BY seq")
    assert [said(row) for row in records.rows(_RECORDED, copy)] == [
        said(row) for row in records.rows(_RECORDED, origin)
    ]
    assert records.column("SELECT DISTINCT cost FROM llms WHERE session_id = ?", copy) == [0]


def said(row: dict) -> dict:
    """A row without the ids that the Responses API gives to what it says, which are not recorded."""
    text = re.sub(r'"(id|logprobs)":("[^"]*"|null|\[\]),?', "", str(row["prompt"]))
    return {**row, "prompt": text}
