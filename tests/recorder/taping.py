"""What the recorder's tests share: a recorder with one session, and its calls as any SQLite tool shows them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agentops_local import clock
from agentops_local.event import Event, LLMEvent
from agentops_local.recorder.recorder import Recorder
from agentops_local.recorder.state import SessionState
from agentops_local.serialize import MEDIA_LIMIT, dump
from tests.sdk.records import Records


class Tape(Records):
    """A recorder and a session of it.

    Args:
        file: the database file.
        redact: as for `Recorder`.
    """

    def __init__(self, file: Path, redact: Any = None) -> None:
        super().__init__(file)
        self.recorder = Recorder(file, redact=redact)
        self.state = SessionState(str(clock.new_id()))
        self.recorder.start(self.state)

    def add(self, event: Event, agent_id: str | None = None) -> Event:
        """An event, committed."""
        assert self.recorder.record(self.state, event, agent_id, None)
        return event

    def call(self, prompt: Any, completion: Any = None) -> LLMEvent:
        """An LLM call, committed."""
        event = LLMEvent(prompt=prompt, completion=completion)
        self.add(event)
        return event

    def llm(self, event: Event) -> dict[str, Any]:
        """A call as the view shows it."""
        return self.row("SELECT * FROM llms WHERE id = ?", str(event.id))

    def prompt(self, event: Event) -> Any:
        """The messages of a call, read back."""
        return json.loads(self.llm(event)["prompt"])

    def messages(self) -> int:
        """How many rows the tree of prompts has."""
        return int(self.value("SELECT count(*) FROM messages"))

    def sound(self) -> bool:
        """Whether every row that is pointed at is there."""
        return not self.rows("PRAGMA foreign_key_check")


def shown(value: object) -> str | None:
    """What the view `llms` shall show of a prompt or a completion, by the value as it is now: text as it is, the rest
    as JSON in one spelling, which tells 1 from True and 1.0."""
    if value is None:
        return None
    return spelled(dump(value, MEDIA_LIMIT).decode(), type(value) is str)


def spelled(text: str, is_text: bool = False) -> str:
    """JSON in one spelling; of a text, the text itself."""
    plain = json.loads(text)
    return str(plain) if is_text else json.dumps(plain, sort_keys=True)
