"""The storm of `chaos.py` with a real collector at the other end, and the fault proxy between it and a real daemon.

Both are killed at any moment: a collector's answer is a promise, so what it accepted must be there after its death. Its
database has the tables of the one that was recorded into, and is compared with that row by row.
"""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from tests.reliability.tools.chaos import TIMING, Run
from tests.reliability.tools.faultproxy import FaultProxy
from tests.server.running import in_a_process
from tests.sync.running import PATIENCE, Running, environment, query

FAULTS: tuple[Any, ...] = (
    "drop", {"fault": "drop", "forwarded": True}, "lost", "cut_request", "cut_answer", "close", "stale", "twice",
    {"fault": "late", "seconds": 0.2}, {"fault": "slow", "seconds": 0.2}, "informational", "proxy_auth", "slow_down",
    "portal", {"fault": "portal", "forwarded": True}, "garbage", {"fault": "garbage", "forwarded": True},
    "page", {"fault": "page", "status": 504, "forwarded": True}, "truncated", "longer", "shorter", "bad_chunks",
    "not_http",
)  # fmt: skip
RATE = 0.4  # of the requests; more than there, for these are fewer
SESSIONS = 20
KILLS = 3

_ROWS = "SELECT session_id, kind, id, coalesce(params, '') || coalesce(details, '') FROM payloads"
_STATES = "SELECT p.session_id, p.id, u.state FROM uploads u JOIN payloads p ON p.seq = u.event"
_SESSION_ROWS = "SELECT id, end_state, end_state_reason, tags FROM sessions WHERE id <> '' ORDER BY id"
_AGENTS = "SELECT s.id, a.id, a.name FROM agents a JOIN sessions s ON s.seq = a.session ORDER BY 1, 2"
_UNSETTLED = """
SELECT (SELECT count(*) FROM events) - (SELECT count(*) FROM uploads WHERE state = 'done')
     + (SELECT count(*) FROM batches WHERE state = 'sent')
     + (SELECT count(*) FROM deliveries WHERE state <> 'present' OR NOT ended_sent)
"""


class Figures(NamedTuple):
    """What came of one storm. Of `unsettled` to `unfinished` each has to be 0.

    Attributes:
        unsettled: events, requests and sessions that are open half a minute after the faults have ended.
        altered: rows with another content than the event's, or of no event.
        given_up: events that were declared dead or uncertain.
        unfinished: sessions and agents that are not there as they are here.
    """

    seed: int
    events: int
    requests: int
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

    @property
    def wrong(self) -> dict[str, int]:
        """What has to be 0, and is not."""
        names = ("unsettled", "lost", "doubled", "altered", "given_up", "false_done", "unfinished")
        return {name: getattr(self, name) for name in names if getattr(self, name)}


def storm(folder: Path, seed: int, events: int, kills: int = KILLS, rate: float = RATE) -> Figures:
    """One of them, in an empty folder."""
    begun = time.monotonic()
    chance = random.Random(seed)
    db, there = folder / "agentops.db", folder / "collector" / "agentops.db"
    env = environment(db, str(uuid4()), AGENTOPS_SYNC_TIMING=TIMING)
    with FaultProxy("http://127.0.0.1:9") as proxy:  # nobody is there yet

        def daemon() -> Running:
            words = ("run", "--db", str(db), "--endpoint", proxy.url)
            return Running(*words, env=env, log=folder / "agentops-sync.log")

        proxy.chaos(rate, seed, FAULTS)
        run = Run(db, chance, SESSIONS)
        killed = 0
        piece = events // (kills + 1)
        for _ in range(kills):
            run.record(piece)
            with in_a_process(there) as collector, daemon() as running:
                proxy.upstream = collector.url
                enough = len(proxy.seen) + chance.randint(10, 60)
                running.becomes(lambda: len(proxy.seen) >= enough, 4.0)  # noqa: B023 - called at once
                time.sleep(chance.uniform(0, 0.02))
                killed += 1
                if chance.random() < 0.5:
                    collector.kill()
                    killed += 1
        run.record(events - kills * piece)
        run.end()
        with in_a_process(there) as collector, daemon() as running:
            proxy.upstream = collector.url
            running.becomes(lambda: query(db, _UNSETTLED) == [(0,)], 5.0)
            proxy.chaos(0)
            settled = running.becomes(lambda: query(db, _UNSETTLED) == [(0,)], PATIENCE / 2)
            unsettled = 0 if settled else query(db, _UNSETTLED)[0][0]
            assert running.stop() == 0, running.log[-3000:]
            assert collector.stop() == 0, collector.said
        log = (folder / "agentops-sync.log").read_text(errors="replace")
        assert "Traceback" not in log, log[-3000:]
        faults = sum(seen.fault is not None for seen in proxy.seen)
        counts = (run.events, len(proxy.seen), faults, killed, time.monotonic() - begun, unsettled)
    return Figures(seed, *counts, **_compared(db, there))


def _compared(db: Path, there: Path) -> dict[str, int]:
    mine = {(session, kind, id): _marker(text) for session, kind, id, text in query(db, _ROWS)}
    rows = query(there, _ROWS)
    theirs = {(session, kind, id): _marker(text) for session, kind, id, text in rows}
    ids = {(session, id) for session, _, id in theirs}
    states = query(db, _STATES)
    return {
        "lost": len(mine.keys() - theirs.keys()),
        "doubled": len(rows) - len(theirs),
        "altered": sum(mine.get(name) != text for name, text in theirs.items()),
        "given_up": sum(state in ("dead", "uncertain") for _, _, state in states),
        "false_done": sum(state == "done" and (session, id) not in ids for session, id, state in states),
        "unfinished": _differing(db, there, _SESSION_ROWS) + _differing(db, there, _AGENTS),
    }


def _marker(text: str) -> str:
    """What makes an event itself, in whichever wrapping: an action's parameters travel as text."""
    try:
        read = json.loads(text)
    except ValueError:
        return text
    if isinstance(read, dict):
        return str(read["text"])
    return read if read == text else _marker(read)


def _differing(db: Path, there: Path, sql: str) -> int:
    mine, theirs = ({tuple(map(_read, row)) for row in query(one, sql)} for one in (db, there))
    return len(mine ^ theirs)


def _read(value: Any) -> Any:
    return json.dumps(json.loads(value)) if isinstance(value, str) and value.startswith("[") else value
