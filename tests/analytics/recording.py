"""What the tests of the reading side have recorded: through the recorder itself, one call an event."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from agentops_local import clock
from agentops_local.analytics.erase import Erased, Eraser
from agentops_local.analytics.owners import Status
from agentops_local.event import ActionEvent, ErrorEvent, Event, LLMEvent, ToolEvent
from agentops_local.recorder import writes
from agentops_local.recorder.recorder import Recorder
from agentops_local.recorder.state import SessionState

ROOT = Path(__file__).parents[2]
DB = Path(".agentops/agentops.db")
OVER = frozenset({Status.ENDED, Status.DIED})
ANY = frozenset(Status)
SECRET = "hunter2-do-not-keep"  # noqa: S105 - it is none
LONG = f"{SECRET} " * 300  # long enough for a blob


class Book:
    """A database of the project, and a process (this one) that records to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recorder = Recorder(path)

    def session(self, *tags: str, name: str | None = None, began: int | None = None) -> SessionState:
        """A session that has begun."""
        state = SessionState(name or str(clock.new_id()), tags=list(tags))
        state.init_us = clock.now_us() if began is None else began
        self.recorder.start(state)
        return state

    def add(self, state: SessionState, event: Event, parent: Event | None = None) -> Event:
        """An event, committed."""
        event.end_timestamp = event.end_timestamp or clock.now_iso()
        assert self.recorder.record(state, event, None, parent.id.bytes if parent else None)
        return event

    def llm(
        self, state: SessionState, *prompt: str, completion: str = "yes", cost: str | None = None, model: str = "m"
    ) -> Event:
        """An LLM call with the messages of a chat."""
        messages = [{"role": "user", "content": text} for text in prompt]
        price = None if cost is None else Decimal(cost)
        return self.add(state, LLMEvent(prompt=messages, completion=completion, model=model, cost=price,
                                        prompt_tokens=10, completion_tokens=2))  # fmt: skip

    def tool(self, state: SessionState, name: str = "search", params: object = None, returns: object = None) -> Event:
        """A tool call."""
        return self.add(state, ToolEvent(name=name, params=params, returns=returns))

    def action(self, state: SessionState, name: str = "act", params: object = None) -> Event:
        """An action."""
        return self.add(state, ActionEvent(action_type=name, params=params))

    def error(self, state: SessionState, trigger: Event | None = None, text: str = "no") -> Event:
        """An error."""
        return self.add(state, ErrorEvent(trigger_event=trigger, exception=ValueError(text)))

    def timed(self, event: Event, began: int, took: int) -> Event:
        """An event that began and took some microseconds."""
        event.init_timestamp, event.end_timestamp = clock.to_iso(began), clock.to_iso(began + took)
        return event

    def end(self, state: SessionState, how: str = "Success", reason: str | None = None, at: int | None = None) -> str:
        """The end of a session; its id."""
        state.end_us, state.end_state, state.end_state_reason = at or clock.now_us(), how, reason
        self.recorder.change(writes.end(state))
        return state.id

    def close(self) -> None:
        """Closes the database; the next event opens it again."""
        self.recorder.close()

    def rows(self, sql: str, *values: object) -> list[tuple]:
        """The rows of a query, as any program would ask it."""
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(sql, values).fetchall()

    def change(self, sql: str, *values: object) -> None:
        """What some other program has done to the tables."""
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute(sql, values)

    def check(self) -> None:
        """The database is sound."""
        assert self.rows("PRAGMA integrity_check") == [("ok",)]
        assert self.rows("PRAGMA foreign_key_check") == []


@pytest.fixture
def book(project: Path) -> Iterator[Book]:
    """An empty database of the project."""
    found = Book(project / DB)
    yield found
    found.close()


def start(code: str, *args: object, **how: Any) -> subprocess.Popen[str]:
    """A program of its own, in this folder; it has the name `ao`."""
    line = [sys.executable, "-c", "import agentops_local as ao\n" + textwrap.dedent(code), *map(str, args)]
    return subprocess.Popen(line, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True, **how)


def run(code: str, *args: object) -> str:
    """What a program prints."""
    with start(code, *args, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        said, complained = program.communicate(timeout=60)
    assert not program.returncode, complained
    return said


def died(book: Book, *events: str) -> str:
    """The id of a session whose process died in the midst of it, after some actions."""
    code = """
    import os, sys
    s = ao.init(default_tags=["died"])
    for name in sys.argv[1:]:
        s.record(ao.ActionEvent(action_type=name))
    print(s.session_id, flush=True)
    os._exit(0)  # without a word
    """
    return run(code, *events).strip()


def folder_holds(book: Book, secret: str) -> list[str]:
    """The files beside the database, and itself, in which a text stands. Read by another program: to open and close
    the database here would take away the locks that this process holds on it."""
    code = """
    import json, sys
    from pathlib import Path
    files = [file for file in Path(sys.argv[1]).rglob("*") if file.is_file()]
    print(json.dumps(sorted(file.name for file in files if sys.argv[2].encode() in file.read_bytes())))
    """
    found: list[str] = json.loads(run(code, book.path.parent, secret))
    return found


def erase(book: Book, *sessions: str, erasable: frozenset[Status] = OVER, rewrite: bool = False) -> Erased:
    """Erases sessions, from beginning to end."""
    with closing(Eraser(book.path, erasable, rewrite=rewrite)) as eraser:
        for session in sessions:
            eraser.erase(session)
        return eraser.finish()


def secretive(book: Book, rounds: int = 1) -> str:
    """A session that holds the secret wherever text may stand; its id."""
    state = book.session(SECRET)
    state.agent_names["0197a1b2-0000-7000-8000-000000000001"] = SECRET
    for number in range(rounds):
        book.llm(state, "a system prompt", f"{SECRET} {number}", LONG, completion=f"{SECRET}!", model=SECRET)
        tool = book.tool(state, SECRET, {SECRET: LONG}, [SECRET, number])
        book.action(state, SECRET, SECRET)
        book.error(state, tool, SECRET)
    book.change("UPDATE sessions SET video = ?, moment = ? WHERE id = ?", SECRET, f'"{SECRET}"', state.id)
    return book.end(state, "Fail", SECRET)
