"""What must be in the database, as plain Python has it: the model that the state machine compares the database with.

It knows the laws of the documentation and nothing of the implementation: no table, no transaction, no cache.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

BROKE = "BrokenPlayer: it broke"
ENDED_ALONE = "its process ended without end_session()"


class End(NamedTuple):
    """How a session ended; `alone`: with its last process, nobody said so."""

    state: str
    reason: str | None
    alone: bool


@dataclass
class Session:
    """A session.

    Attributes:
        agents: names by id, those that the program made.
        owners: of each process that recorded to it, how it said goodbye: 'end', 'error' or, not yet or never, None.
    """

    id: str
    tags: list[str]
    end: End | None = None
    video: str | None = None
    agents: dict[str, str] = field(default_factory=dict)
    owners: dict[int, str | None] = field(default_factory=dict)

    def finish(self, end: End) -> None:
        """An end. The first that a program declares stands; one that came by itself yields to it."""
        before = self.end
        if before is None or (before.alone and not (end.alone and before.state == "Fail")):
            self.end = end


@dataclass
class Process:
    """A process.

    Attributes:
        started: sessions that it began.
        running: those that it has not ended.
    """

    pid: int
    started: set[str] = field(default_factory=set)
    running: set[str] = field(default_factory=set)


@dataclass
class Model:
    """All of it.

    Attributes:
        sessions: by id, in the order in which they began.
        events: what was given to record, by event id, in the order of their commits.
        erased: events that are gone, with their sessions or because a backup was restored that did not hold them.
        behind: sessions of which a server may know more, since a backup from before was restored.
    """

    sessions: dict[str, Session] = field(default_factory=dict)
    events: dict[str, dict[str, Any]] = field(default_factory=dict)
    processes: dict[int, Process] = field(default_factory=dict)
    erased: dict[str, dict[str, Any]] = field(default_factory=dict)
    behind: set[str] = field(default_factory=set)

    def writes(self, pid: int, session: str) -> Session:
        """A process changes something of a session, and so is one of its owners."""
        found = self.sessions[session]
        found.owners.setdefault(pid, None)
        return found

    # What processes do ------------------------------------------------------------------------------------------------

    def start(self, pid: int, session: str, tags: Iterable[str]) -> None:
        """A session begins."""
        self.sessions[session] = Session(session, list(dict.fromkeys(tags)))
        self.writes(pid, session)
        self.processes[pid].started.add(session)
        self.processes[pid].running.add(session)

    def join(self, pid: int, session: str, tags: Iterable[str]) -> None:
        """A process takes part in a session that is there."""
        process = self.processes[pid]
        if session not in process.running:
            process.started.discard(session)  # it is another's now: it has ended it before
            process.running.add(session)
            self.writes(pid, session)
        if tags:
            self.tag(pid, session, tags, add=True)

    def record(self, pid: int, session: str, event: dict[str, Any]) -> None:
        """An event."""
        self.writes(pid, session)
        self.events[event["id"]] = {**event, "session": session, "pid": pid}

    def tag(self, pid: int, session: str, tags: Iterable[str], add: bool) -> None:
        """Tags."""
        found = self.writes(pid, session)
        found.tags = list(dict.fromkeys([*(found.tags if add else ()), *tags]))

    def agent(self, pid: int, session: str, name: str, id: str) -> None:
        """An agent, or another name for one."""
        self.writes(pid, session).agents[id] = name

    def video(self, pid: int, session: str, video: str) -> None:
        """A video."""
        self.writes(pid, session).video = video

    def end(self, pid: int, session: str, state: str, reason: str | None, video: str | None) -> None:
        """A process ends a session. The video counts for as much as the end does."""
        found = self.writes(pid, session)
        found.owners[pid] = found.owners[pid] or "end"
        end = End(state, reason, alone=False)
        found.finish(end)
        if video is not None and found.end is end:
            found.video = video
        self.processes[pid].running.discard(session)

    def fork(self, pid: int, child: int) -> None:
        """A child, with its own copy of everything. What its parent began it did not."""
        self.processes[child] = Process(child, set(), set(self.processes[pid].running))

    def leave(self, pid: int, broken: bool) -> None:
        """A process ends as programs do."""
        process = self.processes.pop(pid)
        for id in process.running & set(self.sessions):
            session = self.sessions[id]
            if pid not in session.owners:
                continue  # it never recorded anything there
            session.owners[pid] = session.owners[pid] or ("error" if broken else "end")
            alone = not any(bye is None and owner in self.processes for owner, bye in session.owners.items())
            if broken and (alone or id in process.started):
                session.finish(End("Fail", BROKE, alone=True))
            elif alone:
                session.finish(End("Indeterminate", ENDED_ALONE, alone=True))

    def die(self, pid: int) -> None:
        """A process is gone without a word."""
        del self.processes[pid]

    def erase(self, session: str) -> None:
        """A session is erased, with all that was its own."""
        del self.sessions[session]
        gone = {id: event for id, event in self.events.items() if event["session"] == session}
        self.events = {id: event for id, event in self.events.items() if id not in gone}
        self.erased |= gone

    def restored(self, backup: Model) -> Model:
        """What a backup makes of this, in which nobody records any more."""
        found = copy.deepcopy(backup)
        found.processes = {}
        found.erased = {id: event for id, event in {**self.erased, **self.events}.items() if id not in found.events}
        found.behind |= self.behind | {id for id, was in found.sessions.items() if self.sessions.get(id) != was}
        return found

    # What may be done -------------------------------------------------------------------------------------------------

    def is_over(self, session: Session) -> bool:
        """Whether it has ended, or all of its processes are gone."""
        return session.end is not None or not any(
            bye is None and pid in self.processes for pid, bye in session.owners.items()
        )

    def erasable(self) -> list[str]:
        """Sessions that are over, and to which nobody can record any more."""
        held = {id for process in self.processes.values() for id in process.running}
        return [id for id, session in self.sessions.items() if id not in held and self.is_over(session)]
