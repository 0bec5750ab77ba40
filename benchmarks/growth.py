"""What recording one event costs in a full database, beside the same in a new one.

The full database is filled in bulk, in the schema of ours and in the order in which events would have come: 1,000
events a session; of ten, four LLM calls with two new messages each, four tools, an action and an error. Then both are
recorded to by the real recorder, taking turns every 20 events: calls of a tool (1 kB), and the turns of conversations.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from uuid import UUID

import agentops_local
from agentops_local import ToolEvent
from agentops_local.session import Session
from benchmarks.common import Pair, Row, Texts, options, session, show, surroundings, timed, workplace
from benchmarks.floor import checkpoint, compact, count
from benchmarks.record import CHUNK, conversation, llm, tool_event

SESSION = 1000  # events of a session, filled and committed at once
_START_US = 1_700_000_000_000_000
_STEP_US = 50_000  # between two events

_EVENT = """
INSERT INTO events (session, id, kind, owner, agent, init_us, end_us, name, params, returns, model, prompt, prompt_form,
                    completion, completion_form, prompt_tokens, completion_tokens, logs, code, details)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_MESSAGE = "INSERT INTO messages (id, parent, hash, content) VALUES (?, ?, ?, ?)"


def fill(path: Path, events: int) -> None:
    """Writes this many events and their messages. The file was made by the recorder and is closed."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        # Nothing reads it meanwhile, and nothing is lost that could not be filled again.
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        top = connection.execute("SELECT coalesce(max(id), 0) FROM messages").fetchone()[0]
        revision = connection.execute("SELECT max(revision) FROM sessions").fetchone()[0]
        texts = Texts()
        for number in range(events // SESSION):
            connection.execute("BEGIN")
            revision += 1
            at = _START_US + number * SESSION * _STEP_US
            session_seq, owner, agent = _ground(connection, revision, at)
            messages: list[Row] = []
            rows = list(_events(texts, (session_seq, owner, agent), at, top, messages))
            connection.executemany(_MESSAGE, messages)
            connection.executemany(_EVENT, rows)
            top += len(messages)
            connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")


def _ground(connection: sqlite3.Connection, revision: int, at: int) -> tuple[int, int, int]:
    session_id = str(UUID(bytes=_id(at, 0)))
    insert = connection.execute
    number = insert(
        "INSERT INTO sessions (id, revision, init_us, end_us, end_state) VALUES (?, ?, ?, ?, 'Success')",
        (session_id, revision, at, at + SESSION * _STEP_US),
    ).lastrowid
    owner = insert(
        "INSERT INTO owners (session, pid, started, boot, host, program, start_us, end_us, exit) "
        "VALUES (?, 4711, ?, 'a boot', 'a host', 'agent.py', ?, ?, 'end')",
        (number, f"ticks:{revision}", at, at + SESSION * _STEP_US),
    ).lastrowid
    agent = insert(
        "INSERT INTO agents (session, id, name, revision) VALUES (?, ?, 'Default Agent', "
        "(SELECT coalesce(max(revision), 0) + 1 FROM agents))",
        (number, session_id),
    ).lastrowid
    return int(number or 0), int(owner or 0), int(agent or 0)


def _id(at: int, number: int) -> bytes:
    """A UUID version 7 of this time; its random part is the same in each run."""
    random = blake2b(b"%d %d" % (at, number), digest_size=10).digest()
    return (
        (at // 1000).to_bytes(6, "big")
        + bytes((0x70 | random[0] & 0x0F, random[1], 0x80 | random[2] & 0x3F))
        + random[3:]
    )


def _events(texts: Texts, ground: tuple[int, int, int], at: int, top: int, messages: list[Row]) -> Iterator[Row]:
    """The events of a session; their messages are put into `messages`, numbered from `top` + 1."""
    session_seq, owner, agent = ground
    # Making 2 million texts would take longer than writing them: sessions differ, events of one share some texts.
    params, returns = map(compact, tool_event(texts))
    said = [compact(texts.message("assistant", 500, 1000)) for _ in range(16)]
    parent: int | None = None
    for number in range(SESSION):
        now = at + number * _STEP_US
        head = (session_seq, _id(now, number), _KINDS[number % 10], owner, agent, now, now + _STEP_US // 2)
        kind = head[2]
        if kind == "llms":
            node = 0
            if number % 200 == 0:
                parent = None  # a new conversation
            for offset in (0, 1):
                node = top + len(messages) + 1
                content = said[(number + offset) % 16]
                chained = parent is not None and node == parent + 1
                digest = (
                    None if chained else blake2b(f"{now} {content}".encode(), digest_size=16).digest()
                )  # unlike any
                messages.append((node, parent, digest, content))
                parent = node
            yield (*head, None, None, None, "gpt-4o", node - 1, 0, node, 2, 1200, 150, None, None, None)
        elif kind == "errors":
            yield (*head, "ValueError", None, None, *[None] * 7, compact("x" * 600), None, compact("no such flight"))
        else:
            yield (*head, "search_flights", params, returns, *[None] * 10)


_KINDS = ("llms", "tools", "llms", "tools", "actions", "llms", "tools", "llms", "tools", "errors")


def measure(folder: Path, events: int, rounds: int, each: int) -> dict[str, object]:
    """Fills one of two databases and records to both."""
    new, full = folder / "new.db", folder / "full.db"
    session(full).end_session("Success")
    _close()
    begun = time.perf_counter()
    fill(full, events)
    os.sync()  # what the filling left in memory is on the disk before anything is timed
    filled = time.perf_counter() - begun
    size, stored = full.stat().st_size, count(full)
    with closing(sqlite3.connect(full)) as connection:
        payload = connection.execute(
            "SELECT sum(coalesce(length(params), 0) + coalesce(length(returns), 0) + coalesce(length(logs), 0) "
            "+ coalesce(length(details), 0)) + (SELECT sum(length(content)) FROM messages) FROM events"
        ).fetchone()[0]
    both = session(full), session(new)
    texts = Texts()
    pairs = {"tool": Pair(), "llm_conversation": Pair()}
    for _ in range(rounds):
        for name, pair in pairs.items():
            pair.add(*_round(name, both, texts, each, (full, new)))
    for each_session in both:
        each_session.end_session("Success")
    assert count(full) == stored + sum(pair.events for pair in pairs.values())
    return {
        "events": stored, "file_bytes": size, "bytes_per_event": round(size / stored),
        "payload_bytes_per_event": round(payload / stored), "fill_seconds": round(filled, 1),
        **{
            name: {
                "ratio_p50": round(pair.ratio(0.5), 3), "full_p50_us": round(pair.ours(0.5), 1),
                "new_p50_us": round(pair.floor(0.5), 1), "ratio_p99": round(pair.ratio(0.99), 3),
                "full_p99_us": round(pair.ours(0.99), 1), "new_p99_us": round(pair.floor(0.99), 1),
                "events": pair.events,
            }
            for name, pair in pairs.items()
        },
    }  # fmt: skip


def _round(
    name: str, both: tuple[Session, Session], texts: Texts, events: int, files: tuple[Path, Path]
) -> tuple[list[int], list[int]]:
    times: tuple[list[int], list[int]] = ([], [])
    checkpoint(*files)
    for number in range(events // CHUNK):
        for side in (0, 1) if number % 2 else (1, 0):
            times[side].extend(timed(both[side].record, _chunk(name, texts)))
        if number % 10 == 9:
            checkpoint(*files)
    return times


def _chunk(name: str, texts: Texts) -> list[Row]:
    if name == "tool":
        pairs = [tool_event(texts) for _ in range(CHUNK)]
        return [(ToolEvent(name="search_flights", params=params, returns=returns),) for params, returns in pairs]
    return [(llm(*call),) for call in conversation(texts)]


def _close() -> None:
    """Closes the database that the recorder has made, so that it can be filled by other means."""
    for recorder in agentops_local.Client()._recorders.values():
        recorder.close()


def main() -> None:
    """Measures and prints what was found."""
    parser = options(__doc__)
    parser.add_argument("--events", type=int, default=2_000_000, help="in the full database")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--each", type=int, default=1000, help="events recorded in a round, of each kind to each file")
    given = parser.parse_args()
    with workplace(given.dir) as folder:
        found = measure(folder, given.events, given.rounds, given.each)
    if given.json:
        print(json.dumps(found))
        return
    print(f"record() in a full database beside a new one, µs. {surroundings()}")
    print(
        f"\n{found['events']:,} events, {found['bytes_per_event']:,} bytes of file an event, "
        f"{found['payload_bytes_per_event']:,} of them payloads and messages; filled in {found['fill_seconds']} s"
    )
    show(
        "full beside new",
        ("", "ratio p50", "full p50", "new p50", "ratio p99", "full p99", "new p99", "events"),
        [(name, *figures.values()) for name, figures in found.items() if isinstance(figures, dict)],
    )


if __name__ == "__main__":
    main()
