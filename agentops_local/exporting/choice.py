"""What is chosen for an export, and how far it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

TABLES = ("events", "llms", "tools", "actions", "errors", "sessions")


@dataclass(frozen=True)
class Choice:
    """How sessions are written.

    Attributes:
        single: one session was asked for by name, so v2 is an object and not a list.
        content: False leaves out what the program said, heard and handed over: ids, times, names and numbers stay.
        table: which one, where a format has tables.
        each_message_once: JSON Lines with messages apart from the events.
    """

    single: bool = False
    content: bool = True
    table: str = "events"
    each_message_once: bool = False


@dataclass
class Progress:
    """How far an export is.

    Attributes:
        sessions, events: how many are written.
        heard: called now and then with the number of events.
    """

    sessions: int = 0
    events: int = 0
    heard: Callable[[int], None] | None = None

    def event(self) -> None:
        """Another event is written."""
        self.events += 1
        if self.heard is not None and not self.events & 255:
            self.heard(self.events)
