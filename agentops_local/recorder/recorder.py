"""The recorder: what the SDK says happened, committed to the database before the call returns."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from agentops_local.event import Event
from agentops_local.forks import import_whole
from agentops_local.pricing.book import Book
from agentops_local.recorder import writes
from agentops_local.recorder.payload import Encoded
from agentops_local.recorder.prompts import PromptTree
from agentops_local.recorder.state import SessionState
from agentops_local.serialize import dump
from agentops_local.store.database import Database

if TYPE_CHECKING:
    from agentops_local.redact import Redactor

T = TypeVar("T")


class Recorder:
    """Writes sessions and events of this process to one database.

    Args:
        path: the database file.
        power: whether every event survives a power cut, not only the end of the process.
        redact: applied to every payload before it is encoded; None stores them as they are.
    """

    def __init__(self, path: Path, power: bool = False, redact: Redactor | None = None) -> None:
        self.database = Database(path, power)
        self._redact = redact
        self._tree = PromptTree(redact)
        self._book = Book()

    def record(self, state: SessionState, event: Event, agent_id: str | None, parent: bytes | None) -> bool:
        """Commits an event to a session.

        Args:
            agent_id: UUID text of its agent; None for the session's default agent.
            parent: the 16 bytes of the id of the event in the course of which it happened.

        Returns:
            True once it is committed; False if it is kept in memory for now.
        """
        write = writes.event_write(
            state, event, agent_id, parent, self._redact, self._tree, self.database.epoch, self._book
        )
        done = self.database.write(write)
        if done and isinstance(write, writes.LLMWrite):
            write.remember()
        return done

    def start(self, state: SessionState) -> bool:
        """Commits a session's row, power-durable."""
        return self.database.write(writes.SessionWrite(state), power=True)

    def change(self, write: writes.SessionWrite) -> object:
        """Commits a change of a session, power-durable."""
        self.database.write(write, power=True)
        return write.result

    def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Runs a short query."""
        return self.database.read(query)

    def price(self, session_id: str) -> None:
        """Prices the calls of a session that are not priced yet."""
        import_whole("agentops_local.pricing.catch_up")
        from agentops_local.pricing.access import OfProgram
        from agentops_local.pricing.catch_up import catch_up

        catch_up(OfProgram(self.database), session=session_id)

    def close(self) -> None:
        """Writes what waits and closes the database; the next event opens it again."""
        self.database.close()

    def encode(self, value: object) -> Encoded:
        """A value as it is now, to be recorded in an event later."""
        return Encoded(dump(value, redact=self._redact))

    def text(self, value: str) -> str:
        """A text of the session's own (the reason of its end) as it may be stored."""
        return value if self._redact is None else self._redact.text(value)
