"""Hostile values through the public functions: whatever a program records, it is told nothing, and every reader of the
database (SQL, the views, the daemon) gets strict JSON."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from time import thread_time
from typing import Any, NoReturn

import hypothesis
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

import agentops_local
from agentops_local.event import ActionEvent, ErrorEvent, Event, LLMEvent, ToolEvent
from agentops_local.serialize import FIELD_LIMIT, MEDIA_LIMIT, dump
from agentops_local.session import Session
from agentops_sync import wire
from agentops_sync.policy import FULL
from tests.clients import forget_client
from tests.fakes.agentops_api import events as server
from tests.reliability.scorecard import Score
from tests.reliability.tools.crash import scaled, seed
from tests.reliability.tools.fighting import Held, anything, labels

EXAMPLES = 500  # of each kind of event
SLOW = 0.05  # seconds of processor time for a value of ordinary size

KINDS: dict[str, tuple[type[Event], dict[str, st.SearchStrategy[Any]]]] = {
    "llms": (
        LLMEvent,
        {
            "prompt": anything | st.lists(anything, max_size=4), "completion": anything, "model": labels,
            "prompt_tokens": labels, "completion_tokens": labels, "cost": labels, "thread_id": labels,
        },
    ),
    "tools": (ToolEvent, {"name": labels, "logs": anything}),
    "actions": (ActionEvent, {"action_type": labels, "logs": anything, "screenshot": anything, "event_type": labels}),
    "errors": (
        ErrorEvent,
        {
            "error_type": labels, "code": labels, "details": anything, "logs": anything,
            "exception": st.none() | anything, "trigger_event": st.none() | anything,
        },
    ),
}  # fmt: skip
COMMON = {
    "params": anything, "returns": anything, "init_timestamp": labels, "end_timestamp": labels, "agent_id": labels,
}  # fmt: skip
PAYLOADS = ("params", "returns", "logs", "screenshot", "details")


def times(count: int) -> Callable[[Any], Any]:
    """So many examples, always the same ones unless AGENTOPS_TEST_SEED says otherwise."""
    settings = hypothesis.settings(
        max_examples=scaled(count), database=None, suppress_health_check=list(HealthCheck), deadline=None
    )
    return lambda test: hypothesis.seed(seed(0))(settings(test))


def strict(text: str | None, limit: int = FIELD_LIMIT) -> Any:
    """The value of a payload; None for none. It must be strict JSON within its limit, of what stores take."""

    def refuse(constant: str) -> NoReturn:
        raise AssertionError(f"{constant} is no JSON")

    if text is None:
        return None
    raw = text.encode()
    assert len(raw) <= limit
    assert "\0" not in text
    assert "\\u0000" not in text.replace("\\\\", "")
    return json.loads(text, parse_constant=refuse)


class Reader:
    """Reads the newest event as SQL does, and as the daemon does."""

    def __init__(self, db: Path) -> None:
        self._connection = sqlite3.connect(f"{db.as_uri()}?mode=ro", uri=True, isolation_level=None)
        self._connection.row_factory = sqlite3.Row

    def close(self) -> None:
        """Lets go of the database."""
        self._connection.close()

    def rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        """The rows of a query."""
        return self._connection.execute(sql, values).fetchall()

    def since(self, seq: int) -> list[sqlite3.Row]:
        """The events after one."""
        return self.rows("SELECT * FROM payloads WHERE seq > ? ORDER BY seq", seq)

    def check(self, row: sqlite3.Row) -> int:
        """An event is readable; how many payloads it has."""
        found = [name for name in PAYLOADS if row[name] is not None]
        for name in found:
            strict(row[name], MEDIA_LIMIT if name == "screenshot" else FIELD_LIMIT)
            ((valid,),) = self.rows("SELECT json_valid(?)", row[name])
            assert valid
        for name in ("name", "model", "thread_id", "code", "trigger_kind", "kind"):
            assert row[name] is None or "\0" not in row[name]
        table = wire.kind_of(row["kind"])
        (shown,) = self.rows(f"SELECT * FROM {table} WHERE seq = ?", row["seq"])
        assert shown["id"] == row["id"]
        count = len(found)
        if table == "llms":
            count += (shown["prompt"] is not None) + (shown["completion"] is not None)
            if row["prompt_form"] == 0:
                strict(shown["prompt"], 5 * MEDIA_LIMIT)
        self._check_body(table, row["seq"])
        return count

    def _check_body(self, table: str, seq: int) -> None:
        """The daemon makes of it a body that the server takes."""
        agents = dict.fromkeys(range(10_000), "0190a000-0000-7000-8000-00000000000a")
        (event,) = wire.events(self._connection, table, [seq], agents, FULL)
        body = strict(event.raw.decode(), 8 * MEDIA_LIMIT)
        kind = server.kind_of(body)
        assert kind == table
        server.validate(kind, server.row_of(kind, body, "0190a000-0000-7000-8000-000000000001"))


@pytest.fixture
def session(project: Path) -> Iterator[Session]:
    """A live session."""
    forget_client()
    client = agentops_local.Client()
    client.configure(auto_start_session=False, env_data_opt_out=True)
    client.initialize()
    logging.getLogger("agentops_local").setLevel(logging.CRITICAL)  # thousands of warnings, each of them due
    started = agentops_local.start_session()
    assert started is not None
    yield started
    forget_client()


@pytest.fixture
def reader(session: Session, project: Path) -> Iterator[Reader]:
    """Eyes on its database."""
    with closing(Reader(project / ".agentops" / "agentops.db")) as reader:
        yield reader


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_any_event(session: Session, reader: Reader, score: Score, kind: str) -> None:
    """Whatever its fields hold, an event is stored once, and no exception reaches the program; its payloads are strict
    JSON within their limits, the views show it, and the daemon makes a request of it that the server takes."""
    make, own = KINDS[kind]
    tried = 0

    @times(EXAMPLES)
    @given(st.fixed_dictionaries({}, optional=COMMON | own).map(Held))
    def record(held: Held) -> None:
        nonlocal tried
        fields = held.value
        (before,) = reader.rows("SELECT max(seq) AS seq FROM events")
        event = make(**fields)
        session.record(event)
        assert event._recorded_in is not None
        rows = reader.since(before["seq"] or 0)
        assert str(event.id) in [row["id"] for row in rows]
        tried += sum(map(reader.check, rows))

    try:
        record()
    finally:
        score.add(tried)


@pytest.mark.slow
def test_any_session(session: Session, reader: Reader, score: Score) -> None:
    """Whatever its tags, agents, video, reason and end state are, a session begins, changes and ends without an
    exception, and the daemon makes requests of its row and its agents."""
    tried = 0
    many = labels | st.lists(labels, max_size=3) | anything
    ends = st.sampled_from(["Success", "Fail"]) | labels

    @times(EXAMPLES)
    @given(st.tuples(many, many, st.booleans(), labels, labels, labels, labels, ends).map(Held))
    def live(held: Held) -> None:
        nonlocal tried
        tags, more, add, name, agent, video, reason, state = held.value
        one = agentops_local.start_session(tags=tags)
        if one is None:  # told: these are no tags
            one = agentops_local.start_session()
        assert one is not None
        (one.add_tags if add else one.set_tags)(more)
        one.create_agent(name, agent)
        one.set_video(video)
        one.end_session(state, reason)
        one.end_session("Success", reason, video)
        (row,) = reader.rows("SELECT * FROM sessions WHERE id = ?", str(one.session_id))
        stored = strict(row["tags"])
        assert all(isinstance(tag, str) for tag in stored)
        assert row["end_us"] is not None
        body = wire.session_body(reader._connection, row["seq"], ended=None, policy=FULL)
        strict(wire.encode(body).decode())
        for agent_row in reader.rows("SELECT id, name FROM agents WHERE session = ?", row["seq"]):
            strict(wire.encode(wire.agent_body(agent_row["id"], agent_row["name"], FULL)).decode())
            tried += 1
        tried += 3 + len(stored)

    try:
        live()
    finally:
        score.add(tried)


@pytest.mark.slow
def test_the_time_that_a_value_takes(score: Score) -> None:
    """A value of ordinary size is made JSON within 50 ms of processor time, however it fights back."""
    tried = 0
    worst = 0.0

    def taken(value: Any) -> float:
        begun = thread_time()
        dump(value)
        return thread_time() - begun

    @times(EXAMPLES)
    @given(anything.map(Held))
    def measure(held: Held) -> None:
        nonlocal tried, worst
        value = held.value
        tried += 1
        seconds = taken(value)
        for _ in range(3):  # a collection of garbage, or its first look at a class, is not the value's
            seconds = seconds if seconds < SLOW else taken(value)
        worst = max(worst, seconds)
        assert seconds < SLOW

    try:
        measure()
    finally:
        print(f"at most {1000 * worst:.1f} ms")
        score.add(tried)


@pytest.mark.parametrize("make", [lambda: "é" * 50_000_000, lambda: [b"\xff" * 10**8, "last"]], ids=["text", "bytes"])
def test_a_hundred_megabytes(session: Session, reader: Reader, score: Score, make: Callable[[], Any]) -> None:
    """A value of 100 MB is cut to its limit wherever it stands, says so, and leaves room for what stands beside it."""
    huge = make()
    session.record(ToolEvent(name=huge, params={"huge": huge, "small": 1}, returns=huge, logs=huge))
    session.record(LLMEvent(prompt=[{"role": "user", "content": huge}], completion=huge, model="m"))
    session.record(ErrorEvent(details=huge, logs=huge, error_type="e"))
    rows = reader.since(0)
    score.add(sum(map(reader.check, rows)))
    assert json.loads(rows[0]["params"])["small"] == 1
    assert "[cut: " in rows[0]["params"]
    assert len(rows) == 3
