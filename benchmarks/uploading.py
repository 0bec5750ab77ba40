"""What the benchmarks of uploading share: a run to upload, the daemon in this process, servers that accept everything.

Nothing here reads the user's own keys or settings: the daemon gets a key and an environment of the benchmark's.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import agentops_local
from agentops_local import ActionEvent, ErrorEvent, Event, ToolEvent
from agentops_sync.client import JSON, Outcome, Request, Transport, Verdict
from agentops_sync.daemon import PARALLEL, Daemon
from agentops_sync.instance import Settings, serving
from agentops_sync.timing import SystemClock
from agentops_sync.uploader import Uploader
from benchmarks.common import Texts
from benchmarks.record import conversation, llm, tool_event

KEY = "11111111-2222-4333-8444-555555555555"
NOWHERE = "http://127.0.0.1:9"  # an endpoint that is never called
SESSIONS = 12
TURNS = 20  # of a conversation; then the next begins

# Of ten events, as in benchmarks.growth.
_KINDS = ("llms", "tools", "llms", "tools", "actions", "llms", "tools", "llms", "tools", "errors")


def record_run(path: Path, events: int, sessions: int = SESSIONS) -> None:
    """Records a run: so many events in so many sessions, side by side, all ended. Of ten events four are turns of
    conversations that grow, four are tools, one is an action, one an error."""
    agentops_local.init(db=path, auto_start_session=False)
    begun = [agentops_local.start_session() for _ in range(sessions)]
    makers = [mixed(Texts(number)) for number in range(sessions)]
    for number in range(events):
        session = begun[number % sessions]
        assert session is not None
        session.record(next(makers[number % sessions]))
    for session in begun:
        assert session is not None
        session.end_session("Success")
    close_recorders()


def mixed(texts: Texts) -> Iterator[Event]:
    """Events without end, as `record_run` has them."""
    calls: Iterator[Event] = iter(())
    while True:
        for kind in _KINDS:
            if kind == "llms":
                event = next(calls, None)
                if event is None:
                    calls = iter([llm(*call) for call in conversation(texts, TURNS)])
                    event = next(calls)
                yield event
            elif kind == "tools":
                params, returns = tool_event(texts)
                yield ToolEvent(name="search_flights", params=params, returns=returns)
            elif kind == "actions":
                yield ActionEvent(action_type="book", params={"flight": texts.text(40)}, returns=texts.text(200))
            else:
                yield ErrorEvent(error_type="ValueError", details=texts.text(60), logs=texts.text(600))


def close_recorders() -> None:
    """Closes what the recorders of this process have open, so that the file can be copied, or filled by other means."""
    for recorder in agentops_local.Client()._recorders.values():
        recorder.close()


# The daemon --------------------------------------------------------------------------------------------------------


@contextmanager
def uploading(path: Path, endpoint: str = NOWHERE, transport: Transport | None = None) -> Iterator[list[Uploader]]:
    """An uploader for a database, as the command line makes it.

    Args:
        transport: instead of HTTP.
    """
    environ = {"AGENTOPS_LOCAL_CREDENTIALS": str(path.with_name("no credentials"))}
    with serving(Settings((str(path),), endpoint, KEY, environ), transport) as uploaders:
        yield uploaders


def daemon(uploaders: Sequence[Uploader], parallel: int = PARALLEL) -> Daemon:
    """A daemon by the machine's own clocks."""
    return Daemon(uploaders, SystemClock(), uploaders[0].timing, parallel)


def drain(path: Path, endpoint: str = NOWHERE, transport: Transport | None = None, parallel: int = PARALLEL) -> None:
    """What `agentops-sync once` does."""
    with uploading(path, endpoint, transport) as uploaders:
        daemon(uploaders, parallel).run(until_idle=True)


class Acceptor:
    """A server that accepts everything, in this process.

    Attributes:
        requests: how many it was asked.
        size: bytes of their bodies.
    """

    def __init__(self) -> None:
        self.requests = self.size = 0
        self._lock = threading.Lock()

    def send(self, request: Request) -> Outcome:
        """Accepts a request."""
        with self._lock:
            self.requests += 1
            self.size += len(request.body or b"")
        answer: JSON = "Success"
        if request.path.endswith("create_session"):
            answer = {"jwt": f"token of {json.loads(request.body or b'')['session']['session_id']}"}
        elif request.path.endswith(("update_session", "reauthorize_jwt")):
            answer = {"jwt": "token"}
        return Outcome(Verdict.OK, 200, answer)
