"""A database of a million events, as a team's agents would have made it in 60 days.

5,000 sessions, one of them of 20,000 events, several at a time, so that their events lie between one another; some
never ended. It is written in bulk, in the order of the commits, by the recorder's rules: what it holds is sound for
`agentops-local doctor` and every reader. The same seed and end give the same rows, but for the file's own id.

    python -m benchmarks.million PATH [--events 1000000] [--sessions 5000] [--largest 20000] [--seed 1]
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from agentops_local.store.connection import open_or_create
from benchmarks.common import Row, show, surroundings
from benchmarks.floor import compact
from benchmarks.runs import AGENTS, COLUMNS, KINDS, MODELS, Run, Tree
from benchmarks.speech import Speech, Times

DAY_US = 86_400_000_000
DAYS = 60
_PIECE = 50_000  # events of one transaction
_PACE_US = 6_000_000  # more than an event takes, with the pause after it
_TAGS = (
    "prod", "staging", "dev", "nightly", "eval", "smoke", "support", "booking", "research", "billing", "vip", "beta",
    "canary", "retry", "batch", "chat", "voice", "mobile", "web", "internal",
)  # fmt: skip
_HOSTS = ("worker-1", "worker-2", "laptop-ana", "ci-runner")
_LANGUAGES = ("en",) * 21 + ("zh",) * 2 + ("ar",) * 2

_SESSION = """
INSERT INTO sessions (seq, id, revision, init_us, tags, environment, moment) VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_END = """
UPDATE sessions SET end_us = ?, end_state = ?, end_state_reason = ?, auto_ended = ?, revision = ? WHERE seq = ?
"""
_OWNER = """
INSERT INTO owners (seq, session, pid, started, boot, host, program, start_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_LEAVE = "UPDATE owners SET end_us = ?, exit = ? WHERE session = ?"
_AGENT = "INSERT INTO agents (seq, session, id, name, revision) VALUES (?, ?, ?, ?, ?)"
_MESSAGE = "INSERT INTO messages (id, parent, hash, content) VALUES (?, ?, ?, ?)"
_BLOB = "INSERT INTO blobs (id, hash, text) VALUES (?, ?, ?)"
_EVENT = f"INSERT INTO events ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"


class Plan(NamedTuple):
    """A session to come."""

    begins_us: int
    events: int


class Filler:
    """Writes sessions after those that are there.

    Args:
        connection: for writing, to a database of ours.
        seed: other contents for another number.
    """

    def __init__(self, connection: sqlite3.Connection, seed: int) -> None:
        self._connection = connection
        self._speech = Speech(seed)
        self._random = random.Random(seed + 1)  # noqa: S311 - no secret
        self._times = Times(self._random)
        self._session, self._owner, self._agent = map(self._top, ("sessions", "owners", "agents"))
        self._event = self._top("events")
        self._revision = self._top("sessions", "revision")
        roots = dict(connection.execute("SELECT hash, id FROM messages WHERE parent IS NULL AND hash IS NOT NULL"))
        blobs = dict(connection.execute("SELECT hash, id FROM blobs"))
        self._tree = Tree(self._top("messages", "id"), self._top("blobs", "id"), roots, blobs)
        self._new: dict[str, list[Row]] = {
            statement: [] for statement in (_SESSION, _OWNER, _AGENT, _BLOB, _MESSAGE, _EVENT, _LEAVE, _END)
        }
        self._new[_BLOB], self._new[_MESSAGE] = self._tree.texts, self._tree.messages

    def _top(self, table: str, column: str = "seq") -> int:
        return int(self._connection.execute(f"SELECT coalesce(max({column}), 0) FROM {table}").fetchone()[0])

    def fill(self, plans: Sequence[Plan]) -> None:
        """Writes these sessions; they are in the order in which they begin."""
        self._environments()
        events = self._new[_EVENT]
        for row in self._events(plans):
            events.append(row)
            if len(events) == _PIECE:
                self._write()
        self._write()

    def _events(self, plans: Sequence[Plan]) -> Iterator[Row]:
        """The events of all sessions, in the order in which they are committed."""
        running: list[tuple[int, int, Run]] = []
        waiting = list(reversed(plans))
        while running or waiting:
            if waiting and (not running or waiting[-1].begins_us < running[0][0]):
                run = self._begin(waiting.pop())
                heapq.heappush(running, (run.now, run.session, run))
                continue
            run = running[0][2]
            self._event += 1
            yield run.step(self._event)
            if run.left:
                heapq.heapreplace(running, (run.now, run.session, run))
            else:
                heapq.heappop(running)
                self._end(run)

    def _begin(self, plan: Plan) -> Run:
        rnd = self._random
        self._session += 1
        session, at = self._session, plan.begins_us
        host = min(int(rnd.expovariate(0.8)), len(_HOSTS) - 1)
        tags = rnd.sample(_TAGS, k=min(4, int(rnd.expovariate(0.6))))
        id_ = UUID(int=(at // 1000 << 80) | 0x7 << 76 | rnd.getrandbits(12) << 64 | 0x2 << 62 | rnd.getrandbits(62))
        self._revision += 1
        moment = compact({"CPU": {"CPU Usage": rnd.randint(1, 99)}})
        self._new[_SESSION].append((session, str(id_), self._revision, at, json.dumps(tags), host + 1, moment))
        owners = []
        for _ in range(1 + int(rnd.expovariate(1.4))):
            self._owner += 1
            who = (rnd.randint(300, 60_000), f"ticks:{at // 10_000 % 10**9}", f"boot-{host}-{at // (9 * DAY_US)}")
            self._new[_OWNER].append((self._owner, session, *who, _HOSTS[host], "agent.py", at))
            owners.append(self._owner)
        agents = []
        for name in (AGENTS[0], *rnd.sample(AGENTS[1:], k=min(4, int(rnd.expovariate(0.7))))):
            self._agent += 1
            agent_id = str(id_ if name == AGENTS[0] else UUID(int=rnd.getrandbits(128), version=4))
            self._new[_AGENT].append((self._agent, session, agent_id, name, self._agent))
            agents.append((self._agent, name))
        language, model = rnd.choice(_LANGUAGES), min(int(rnd.expovariate(0.6)), len(MODELS) - 1)
        return Run(
            self._speech, self._times, self._tree, session, owners, agents, language, model, plan.events, at + 20_000
        )

    def _end(self, run: Run) -> None:
        chance = self._random.random()
        if chance < 0.03:
            return  # its processes died, or were on another machine
        self._revision += 1
        state, reason = "Success", None
        if chance > 0.75:
            state = "Fail" if chance > 0.87 else "Indeterminate"
            reason = "the customer gave up" if chance > 0.95 else None
        self._new[_LEAVE].append((run.now, "error" if chance > 0.98 else "end", run.session))
        self._new[_END].append((run.now, state, reason, chance > 0.96, self._revision, run.session))

    def _environments(self) -> None:
        for number, host in enumerate(_HOSTS):
            lasting = {"Host Machine": {"OS": "Linux", "Hostname": host}, "CPU": {"Total cores": 2 << number}}
            self._connection.execute(
                "INSERT OR IGNORE INTO environments (id, fingerprint, host_env) VALUES (?, ?, ?)",
                (number + 1, f"bench-{host}", compact(lasting)),
            )

    def _write(self) -> None:
        """All rows that have been made, in one transaction."""
        self._connection.execute("BEGIN IMMEDIATE")
        for statement, rows in self._new.items():
            self._connection.executemany(statement, rows)
            rows.clear()
        self._connection.execute("COMMIT")


def plan(events: int, sessions: int, largest: int, begin_us: int, end_us: int, seed: int) -> list[Plan]:
    """Sessions of such sizes as they have, most of them short and within working hours."""
    rnd = random.Random(seed)  # noqa: S311 - no secret
    sizes = [rnd.lognormvariate(0, 1.1) for _ in range(sessions - bool(largest))]
    scale = (events - largest) / sum(sizes)
    counts = [min(max(2, int(size * scale)), largest or events) for size in sizes]
    while (missing := events - largest - sum(counts)) != 0:
        place = rnd.randrange(len(counts))
        counts[place] = max(2, counts[place] + max(-counts[place] // 2, min(missing, counts[place])))
    counts += [largest] * bool(largest)
    found = []
    for count in counts:
        latest = max(begin_us, end_us - count * _PACE_US)
        day, hour = rnd.randrange(max(1, (latest - begin_us) // DAY_US)), rnd.gauss(14, 3.5) % 24
        begins = begin_us + day * DAY_US + int(hour * 3600e6)
        found.append(Plan(begins if begins < latest else begin_us + int(rnd.random() * (latest - begin_us)), count))
    return sorted(found)


def build(
    path: Path, events: int = 1_000_000, sessions: int = 5_000, largest: int = 20_000, seed: int = 1,
    end_us: int | None = None,
) -> dict[str, float]:  # fmt: skip
    """Makes the database.

    Args:
        path: where; there must be no such file.
        end_us: when the last of it happened; midnight of today (UTC), if not given.

    Returns:
        What was made.
    """
    if path.exists():
        raise SystemExit(f"{path} is there already: remove it, or name another file")
    begun = time.perf_counter()
    end_us = midnight_us() if end_us is None else end_us
    with closing(open_or_create(path, wal=True)) as connection:
        # Nothing reads it meanwhile, and nothing is lost that could not be made again.
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -400000", "foreign_keys = OFF"):
            connection.execute(f"PRAGMA {pragma}")
        Filler(connection, seed).fill(plan(events, sessions, largest, end_us - DAYS * DAY_US, end_us, seed))
        connection.execute("PRAGMA journal_mode = WAL")
    seconds = time.perf_counter() - begun
    return {**measured(path), "seconds": seconds}


def more(path: Path, events: int, sessions: int, seed: int = 2) -> None:
    """Lets so many events follow, in new sessions, within a day after the last: what a reader has to catch up with."""
    with closing(open_or_create(path, wal=True)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        last = int(connection.execute("SELECT max(end_us) FROM events").fetchone()[0])
        Filler(connection, seed).fill(plan(events, sessions, 0, last + 1, last + DAY_US, seed))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def measured(path: Path) -> dict[str, float]:
    """What a database holds, and how large it is."""
    with closing(sqlite3.connect(path)) as connection:
        kinds = dict(connection.execute("SELECT kind, count(*) FROM events GROUP BY kind"))
        found = {
            table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("sessions", "owners", "agents", "messages", "blobs")
        }
    events = sum(kinds.values())
    size = path.stat().st_size
    shares = {kind: round(kinds.get(kind, 0) / events, 3) for kind in KINDS}
    return {"events": events, **found, "file_bytes": size, "bytes_per_event": round(size / events), **shares}


def midnight_us() -> int:
    """The last midnight, UTC."""
    now = datetime.now(timezone.utc)
    return int(now.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()) * 1_000_000


def main() -> None:
    """Makes the database and prints what it came to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--sessions", type=int, default=5_000)
    parser.add_argument("--largest", type=int, default=20_000, help="events of the largest session")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--end", type=datetime.fromisoformat, help="when it ends, ISO 8601 (default: midnight, UTC)")
    given = parser.parse_args()
    end_us = None if given.end is None else int(given.end.timestamp()) * 1_000_000
    found = build(given.path, given.events, given.sessions, given.largest, given.seed, end_us)
    print(f"{given.path}. {surroundings()}")
    show("what it holds", ("", ""), found.items())


if __name__ == "__main__":
    main()
