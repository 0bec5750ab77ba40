"""The real runs once more, as calls of OpenAI's library to a server that answers as the model did then."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import agentops_local
from benchmarks.common import ready
from benchmarks.real_runs import Call, Run, end_state, events, load
from tests.fakes.llm import Answer, Request, Usage

MODEL = "gpt-4o"


def calls(run: Run) -> list[Call]:
    """The LLM calls of a run."""
    return [what for what in events(run) if isinstance(what, Call)]


def usage(prompt: list[Any], completion: Any) -> Usage:
    """What the server counts for a call: the same whenever it is asked."""
    size = len(json.dumps(prompt)) // 4
    return Usage(input=size, output=len(json.dumps(completion)) // 4, cache_read=size // 3)


class Model:
    """Answers a call of a run as the recording does.

    Attributes:
        strange: requests whose prompt was not the recorded one.
    """

    def __init__(self, runs: list[Run]) -> None:
        self._answers = {
            (f"run:{number}", len(call.prompt)): call for number, run in enumerate(runs) for call in calls(run)
        }
        self.strange: list[str] = []

    def __call__(self, request: Request) -> Answer:
        """What the model said then."""
        messages = request.body["messages"]
        call = self._answers[request.body["user"], len(messages)]
        if messages != call.prompt:
            self.strange.append(request.body["user"])
        said = call.completion
        asked = tuple(
            (one["id"], one["function"]["name"], one["function"]["arguments"]) for one in said.get("tool_calls") or ()
        )
        return Answer(said["content"], asked, usage(call.prompt, said))


def drive(file: str, db: str, url: str, part: int, parts: int) -> int:
    """One process: every `parts`-th run, a session each; every other call is a stream. Returns how many it made."""
    os.environ["AGENTOPS_LOCAL_STRICT"] = "1"
    runs = load(Path(file))
    agentops_local.init(db=db, auto_start_session=False)
    import openai

    ready()
    made = 0
    with openai.OpenAI(base_url=url, api_key="k") as client:
        create: Any = client.chat.completions.create
        for number in range(part, len(runs), parts):
            agentops_local.start_session(tags=[f"run:{number}"])
            for index, call in enumerate(calls(runs[number])):
                settings: Any = {"model": MODEL, "messages": call.prompt, "user": f"run:{number}"}
                if index % 2:
                    options = {"include_usage": True}
                    list(create(**settings, stream=True, stream_options=options))
                else:
                    create(**settings)
                made += 1
            agentops_local.end_session(end_state(runs[number]))
    return made
