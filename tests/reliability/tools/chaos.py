"""Uploading through a storm: a recorded run, a look-alike that fails at random, a daemon that is killed at random.

The run is recorded by the real recorder, piece by piece while the daemon, a real process, uploads it. A share of the
requests fails in every way a network and a server can, some events make the batch fail that they travel in, and the
daemon is killed at any instruction. Then the faults end, the rest is uploaded, and what the look-alike holds is
compared with what was recorded. The look-alike is asked itself, and the comparison shares no code with the daemon's.
"""

from __future__ import annotations

import json
import random
import time
from base64 import urlsafe_b64decode
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple

import agentops_local
from agentops_local import ActionEvent, ErrorEvent, LLMEvent, ToolEvent
from agentops_local.session import Session
from tests.clients import forget_client
from tests.fakes.agentops_api import AgentOpsAPI
from tests.fakes.wire import Answer, Request
from tests.sync.running import PATIENCE, Running, query

RATE = 0.28  # of the requests meet a fault
LATE = 0.2  # seconds after which a request is done whose answer nobody waits for any more
FAULTS: tuple[Any, ...] = (
    "reset_before", "reset_after", "lost_answer", {"fault": "hang", "seconds": 0.2, "times": None},
    {"fault": "late", "delay": LATE, "times": None}, "502_before", "502_after", "html_200", "429", "cut_body",
)  # fmt: skip
# As in life, only shorter: what is late must be done before the daemon takes it for settled, with room for a busy
# machine; above all errors, which would be doubled.
TIMING = (
    "settle=0.8,settle_errors=1.2,backoff=0.02,longest=0.2,poison=0.3,late_end=1,poll=0.05,running=1,connect=2,read=1"
)
SESSIONS = 12
POISONED = 0.02  # of the events
KILLS = 6

_BAD = {500: "the poison that breaks the server", 400: "the poison that its store refuses"}
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_KINDS = ("llms", "tools", "actions", "errors")

_STATES = """
SELECT p.session_id, u.kind, CASE u.kind WHEN 'errors' THEN p.init_us ELSE p.id END, u.state,
       coalesce(p.params, '') || coalesce(p.details, '')
FROM uploads u JOIN payloads p ON p.seq = u.event
"""
# What is not settled although it could be: good events, requests, sessions, their ends.
_UNSETTLED = """
SELECT (SELECT count(*) FROM events) - (SELECT count(*) FROM uploads)
     + (SELECT count(*) FROM uploads u JOIN payloads p ON p.seq = u.event WHERE u.state IN ('pending', 'flying')
        AND coalesce(p.params, '') || coalesce(p.details, '') NOT LIKE '%the poison that%')
     + (SELECT count(*) FROM batches WHERE state = 'sent')
     + (SELECT count(*) FROM deliveries WHERE state <> 'present' OR NOT ended_sent)
"""


class Figures(NamedTuple):
    """What came of one storm. Of `unsettled` to `excess` each has to be 0.

    Attributes:
        stormy: requests until the faults ended.
        faults: those of them that met one.
        unsettled: good events, requests and sessions whose state is open half a minute after the faults have ended.
        lost: good events that the server does not hold.
        doubled: rows of the server beyond one for each event.
        altered: rows that are another event's, or nobody's.
        given_up: good events that were declared dead or uncertain.
        false_done: events that the ledger calls done and the server does not hold.
        unfinished: sessions whose row, agents or end are not there.
        drift: by which the server's statistics count too much.
        excess: by which they are wrong beyond what requests that its store refused explain.
    """

    seed: int
    events: int
    poisoned: int
    requests: int
    stormy: int
    faults: int
    kills: int
    seconds: float
    unsettled: int
    lost: int
    doubled: int
    altered: int
    given_up: int
    false_done: int
    unfinished: int
    excess: int
    drift: int

    @property
    def wrong(self) -> dict[str, int]:
        """What has to be 0, and is not."""
        names = ("unsettled", "lost", "doubled", "altered", "given_up", "false_done", "unfinished", "excess")
        return {name: getattr(self, name) for name in names if getattr(self, name)}


# The run ------------------------------------------------------------------------------------------------------------


class Run:
    """Sessions that are recorded piece by piece, and end."""

    def __init__(self, db: Path, chance: random.Random, sessions: int) -> None:
        forget_client()
        self._chance = chance
        agentops_local.init(db=db, auto_start_session=False)
        started = [agentops_local.start_session(tags=[f"session {number}"]) for number in range(sessions)]
        self._sessions = [session for session in started if session is not None]
        self.poisoned = 0
        self.events = 0

    def record(self, count: int) -> None:
        """Records so many events, of all sessions."""
        for _ in range(count):
            session = self._chance.choice(self._sessions)
            text = f"event {self.events}"
            if self._chance.random() < POISONED:
                text += f": {_BAD[self._chance.choice((500, 400))]}"
                self.poisoned += 1
            self.events += 1
            self._record(session, text)

    def _record(self, session: Session, text: str) -> None:
        kind = self._chance.choices(_KINDS, (40, 35, 10, 15))[0]
        if kind == "llms":
            prompt = [{"role": "user", "content": text * self._chance.randint(1, 40)}]
            session.record(
                LLMEvent(
                    prompt=prompt, completion={"role": "assistant", "content": "Well."}, model="gpt-4o",
                    prompt_tokens=30, completion_tokens=2, params={"text": text},
                )
            )  # fmt: skip
        elif kind == "tools":
            session.record(ToolEvent(name="search", params={"text": text}, returns=[1, 2]))
        elif kind == "actions":
            session.record(ActionEvent(action_type="click", params={"text": text}))
        else:
            session.record(ErrorEvent(error_type="Timeout", code="504", details=text))

    def end(self) -> None:
        """Ends every session."""
        for session in self._sessions:
            session.end_session("Success", "the run is over")
        forget_client()


# The storm ----------------------------------------------------------------------------------------------------------


def storm(folder: Path, seed: int, events: int, kills: int = KILLS, rate: float = RATE) -> Figures:
    """One of them, in an empty folder."""
    begun = time.monotonic()
    chance = random.Random(seed)
    db = folder / "agentops.db"
    with AgentOpsAPI(actions_work=True) as server, _refusals(server) as refused:
        for status, marker in _BAD.items():
            server.poison(marker, status)
        server.chaos(rate, seed=seed, faults=FAULTS, reads=True)
        run = Run(db, chance, SESSIONS)
        pieces = [events // (kills + 1)] * kills
        for piece in pieces:
            run.record(piece)
            with Running.on(db, server, timing=TIMING) as daemon:  # killed at the end of the block
                enough = len(server.requests) + chance.randint(1, 30)
                daemon.becomes(lambda: len(server.requests) >= enough, 1.5)  # noqa: B023 - called at once
                time.sleep(chance.uniform(0, 0.02))
        run.record(events - sum(pieces))
        run.end()
        with Running.on(db, server, timing=TIMING) as daemon:
            daemon.becomes(lambda: query(db, _UNSETTLED) == [(0,)], 4.0)
            stormy = len(server.requests)
            server.chaos(0)
            settled = daemon.becomes(lambda: query(db, _UNSETTLED) == [(0,)], PATIENCE / 2)
            unsettled = 0 if settled else query(db, _UNSETTLED)[0][0]
            code = daemon.stop()
        server.settle()
        log = db.with_name("agentops-sync.log").read_text(errors="replace")
        assert code == 0, log[-3000:]
        assert "Traceback" not in log, log[-3000:]
        faults = sum(request.fault is not None for request in server.requests)
        counts = (run.poisoned, len(server.requests), stormy, faults, kills, time.monotonic() - begun, unsettled)
        return Figures(seed, run.events, *counts, **_compared(db, server, refused))


@contextmanager
def _refusals(server: AgentOpsAPI) -> Iterator[Counter[str]]:
    """Counts, by session, the events of requests that reached the server's store and were refused there: each of
    them is in its statistics, and none in its tables."""
    refused: Counter[str] = Counter()
    handle = server.api.handle

    def watched(request: Request) -> Answer:
        answer = handle(request)
        if request.name == "create_events" and answer.status == 400:
            token = request.headers["authorization"].split(".")[1]
            session = json.loads(_decoded(token))["session_id"]
            refused[session] += len(request.json()["events"])
        return answer

    server.api.__dict__["handle"] = watched
    try:
        yield refused
    finally:
        del server.api.__dict__["handle"]


def _decoded(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


# The comparison -----------------------------------------------------------------------------------------------------


def _compared(db: Path, server: AgentOpsAPI, refused: Counter[str]) -> dict[str, int]:
    store = server.store()
    there: Counter[tuple] = Counter()
    texts: dict[tuple, str] = {}
    for kind in _KINDS:
        for row in store[kind]:
            name = (row["session_id"], kind, _instant(row["timestamp"]) if kind == "errors" else row["id"])
            there[name] += 1
            texts[name] = str(row["details"] if kind == "errors" else row["params"])
    found = dict.fromkeys(("lost", "doubled", "altered", "given_up", "false_done"), 0)
    for session, kind, own, state, text in query(db, _STATES):
        name = (session, kind, own)
        bad = "the poison that" in text
        times = there.pop(name, 0)
        found["lost"] += not bad and not times
        found["doubled"] += max(0, times - 1)
        found["altered"] += times > 0 and _text(texts[name]) != _text(text)
        found["given_up"] += not bad and state in ("dead", "uncertain")
        found["false_done"] += state == "done" and not times
    found["altered"] += there.total()  # rows of nobody
    return found | _sessions_compared(db, store, refused)


def _sessions_compared(db: Path, store: dict[str, Any], refused: Counter[str]) -> dict[str, int]:
    rows: Counter[str] = Counter(row["session_id"] for kind in _KINDS for row in store[kind])
    sessions = {row["id"]: row for row in store["sessions"]}
    agents = {(row["session_id"], row["id"]) for row in store["agents"]}
    ours = {
        (session, agent)
        for session, agent in query(db, "SELECT s.id, a.id FROM agents a JOIN sessions s ON s.seq = a.session")
    }
    unfinished = len(ours - agents)
    for id, tags, reason in query(db, "SELECT id, tags, end_state_reason FROM sessions"):
        row = sessions.get(id, {})
        unfinished += (row.get("end_state"), row.get("end_state_reason")) != ("Success", reason)
        unfinished += row.get("tags") is None or json.loads(row["tags"]) != json.loads(tags)
    drift = excess = 0
    for stats in store["stats"]:
        more = stats["events"] - rows[stats["session_id"]]
        drift += more
        excess += abs(more - refused[stats["session_id"]])
    return {"unfinished": unfinished, "drift": drift, "excess": excess}


def _text(value: str) -> str:
    """The marker of an event, in whichever wrapping."""
    try:
        read = json.loads(value)
    except ValueError:
        return value
    return str(read["text"]) if isinstance(read, dict) else str(read)


def _instant(stamp: str) -> int:
    """Microseconds since the epoch."""
    whole, _, fraction = stamp.partition("+")[0].partition(".")
    moment = datetime.fromisoformat(whole).replace(tzinfo=timezone.utc)
    return (moment - _EPOCH) // timedelta(microseconds=1) + int((fraction + "000000")[:6])
