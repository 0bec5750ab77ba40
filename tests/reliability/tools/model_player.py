"""The inner side of the state machine: processes that record what they are told, through the library's public face.

`main` is a nursery: it has loaded everything, has recorded nothing, and for every line `PORT DB` on its standard input
it forks a player, as a preloading server forks its workers. A player connects to that port of this machine, says who it
is, and obeys one order a line, in JSON. It can be told to fork; the child connects by itself and is a player like any
other. Any order can carry `die_at`: then the process is killed after that many calls within our code, and the other
side hears what it had said until then.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any
from uuid import UUID

from agentops_local import serialize
from agentops_local.client import Client
from agentops_local.event import ActionEvent, ErrorEvent, Event, LLMEvent, ToolEvent
from agentops_local.session import Session
from tests.reliability.tools.inside import after_call, die, say

_TYPES: dict[str, type[Event]] = {"llms": LLMEvent, "tools": ToolEvent, "actions": ActionEvent, "errors": ErrorEvent}
_SUBREAPER = 36  # prctl(2), PR_SET_CHILD_SUBREAPER


class BrokenPlayer(BaseException):
    """What ends a process that is to end with an uncaught exception; also a child, which is forked in the midst of an
    order to its parent."""


class Player:
    """A process, the sessions it takes part in, and the line to whoever gives it orders."""

    def __init__(self, port: int, db: str) -> None:
        self._port = port
        self._db = db
        self._sessions: dict[str, Session] = {}
        self._events: dict[str, Event] = {}  # those it has recorded, for errors that they trigger
        self._connect()

    def _connect(self) -> None:
        line = socket.create_connection(("127.0.0.1", self._port))
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._line = line.makefile("rwb")
        line.close()  # the file holds it open
        self._say(pid=os.getpid())

    def _say(self, **words: object) -> None:
        self._line.write(json.dumps(words).encode() + b"\n")
        self._line.flush()

    def serve(self) -> None:
        """Obeys until it is told to leave, or nobody is there any more."""
        for line in self._line:
            order = json.loads(line)
            name = order.pop("do")
            if name == "leave":
                return self._leave(order["how"])
            call = order.pop("die_at", 0)
            ended = after_call(call, die) if call else None
            try:
                answer = getattr(self, name)(**order)
            except Exception:  # noqa: BLE001 - told to the test, which fails by it
                answer = {"fault": traceback.format_exc()}
            if ended is not None:
                ended()
            self._say(answer=answer)
        return None

    def _leave(self, how: str) -> None:
        """Ends as programs do: main returns, an exception is not caught, or without a goodbye."""
        if how == "error":
            sys.excepthook = lambda *_: None  # it is no news
            raise BrokenPlayer("it broke")
        if how == "os._exit":
            os._exit(0)
        sys.exit()

    # Orders -----------------------------------------------------------------------------------------------------------

    def start(self, tags: list[str]) -> str:
        """Starts a session; its id."""
        return self._keep(self._client().start_session(tags))

    def join(self, session: str, tags: list[str]) -> str:
        """Takes part in a session of another process."""
        return self._keep(self._client().start_session(tags, session))

    def record(self, session: str, events: list[dict[str, Any]], acks: bool = False) -> int:
        """Records events, one after the other; with `acks` it says so of each."""
        for fields in events:
            event = self._event(**fields)
            self._sessions[session].record(event)
            assert (event._recorded_in == session) == self._sessions[session].is_running
            if acks:
                self._say(ack=str(event.id))
        return len(events)

    def tag(self, session: str, tags: list[str], add: bool) -> None:
        """Adds or sets tags."""
        found = self._sessions[session]
        (found.add_tags if add else found.set_tags)(tags)

    def agent(self, session: str, name: str, id: str) -> str | None:
        """Makes an agent known, or renames it."""
        return self._sessions[session].create_agent(name, id)

    def video(self, session: str, video: str) -> None:
        """Sets the video."""
        self._sessions[session].set_video(video)

    def end(self, session: str, state: str, reason: str | None, video: str | None) -> str | None:
        """Ends a session."""
        return self._sessions[session].end_session(state, reason, video)

    def close(self) -> None:
        """Closes the database; the next order opens it again."""
        for recorder in self._client()._recorders.values():
            recorder.close()

    def fork(self) -> int:
        """Forks; the child's pid."""
        pid = os.fork()
        if not pid:
            sys.setprofile(None)
            self._line.close()
            self._connect()
            self.serve()
            sys.exit()  # the test is gone
        return pid

    # ------------------------------------------------------------------------------------------------------------------

    def _client(self) -> Client:
        client = Client()
        if not client.is_initialized:
            client.configure(db=self._db, auto_start_session=False, env_data_opt_out=True)
            client.initialize()
        return client

    def _keep(self, session: Session | None) -> str:
        assert session is not None
        id = str(session.session_id)
        self._sessions[id] = session
        return id

    def _event(self, kind: str, id: str, trigger: Any = None, **fields: Any) -> Event:
        if trigger is not None:  # an event of its own, or one yet to be recorded
            found = self._events.get(trigger) if isinstance(trigger, str) else self._event(**trigger)
            fields["trigger_event"] = found
        event = _TYPES[kind](id=UUID(id), **fields)
        self._events[id] = event
        return event


def _adopt_orphans() -> None:
    """Has the children of players that are killed come to the nursery, which lets no dead process lie about."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


def main() -> None:
    """Forks a player for each line."""
    _adopt_orphans()
    serialize.dump(object())  # loads the encoder
    say("ready")
    silence = os.open(os.devnull, os.O_RDWR)
    for line in sys.stdin:
        port, db = line.split()
        if os.fork() == 0:
            os.dup2(silence, 0)
            os.dup2(silence, 1)
            sys.argv[:] = [str(Path(db).with_name("player"))]
            Player(int(port), db).serve()
            return
