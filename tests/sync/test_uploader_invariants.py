"""What holds at every moment, whatever the server does."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import Counter
from contextlib import closing
from typing import Any

import pytest

from agentops_sync.client import Outcome, Request
from agentops_sync.daemon import Daemon
from agentops_sync.timing import SystemClock
from tests.fakes.agentops_api import AgentOpsAPI
from tests.sync.conftest import Machines
from tests.sync.driving import MAKERS, Machine, action, error, ids_there, llm, posts, tool


def sizes(machine: Machine) -> list[tuple[str, int, int]]:
    """Of each request with events: the kind, how many, and its bytes."""
    found = []
    for _, request, _ in machine.sent:
        if request.path == "/v2/create_events":
            events = json.loads(request.body or b"")["events"]
            (kind,) = {event["event_type"] for event in events}
            found.append((kind, len(events), len(request.body or b"")))
    return found


def test_what_is_sent_is_written_down_before(machine: Machine, api: AgentOpsAPI) -> None:
    """Before the first byte of a request with events leaves, its batch and the marks of its events are committed, and
    no event is done."""
    seen: list[Any] = []

    def look(request: Request) -> Outcome | None:
        if request.path == "/v2/create_events":
            with closing(sqlite3.connect(f"{machine.file.as_uri()}?mode=ro", uri=True)) as other:
                id, events, bytes_ = other.execute(
                    "SELECT id, events, bytes FROM batches WHERE state = 'sent' ORDER BY id DESC LIMIT 1"
                ).fetchone()
                marks = other.execute("SELECT event, state FROM uploads WHERE batch = ?", (id,)).fetchall()
            assert marks == [(event, "flying") for event in json.loads(events)]
            assert bytes_ == len(request.body or b"")
            seen.append(len(marks))
        return None

    machine.hooks.append(look)
    session = machine.session()
    for number in range(30):
        for make in MAKERS.values():
            session.record(make(number))
    api.fault("502_before", path="create_events", nth=2)
    api.fault("lost_answer", path="create_events", nth=4)
    machine.drain()
    assert sum(seen) >= 120
    assert machine.states() == {"done": 120}


def test_a_creation_is_written_down_before(machine: Machine) -> None:
    """Before a session is created there, that it may have been is committed, with the moment by both clocks."""

    def look(request: Request) -> Outcome | None:
        if request.path == "/v2/create_session":
            now = machine.clock.now()
            row = machine.delivery()
            assert (row["state"], row["sent_us"], row["sent_mono_us"], row["boot"]) == ("creating", *now)
            machine.hooks.clear()
        return None

    machine.hooks.append(look)
    machine.session()
    machine.drain()
    assert machine.hooks == []
    assert machine.delivery()["state"] == "present"


def test_one_kind_a_request(machine: Machine) -> None:
    """A request holds events of one kind, at most 25, in the order of their commits."""
    session = machine.session()
    for number in range(60):
        for make in (llm, tool, action, error):
            session.record(make(number))
    machine.drain()
    assert Counter((kind, count) for kind, count, _ in sizes(machine)) == {
        (kind, count): times for kind in MAKERS for count, times in ((25, 2), (10, 1))
    }
    for kind in MAKERS:
        numbers = [
            number
            for events in machine.column("SELECT events FROM batches WHERE kind = ? ORDER BY id", kind)
            for number in json.loads(events)
        ]
        assert numbers == sorted(numbers)


def test_a_request_is_at_most_one_mebibyte(machine: Machine, api: AgentOpsAPI) -> None:
    """A request holds at most 1 MiB of events; a single event that is larger travels alone."""
    session = machine.session()
    fields = ("returns", "logs", "params")
    for size in (300_000, 300_000, 300_000, 300_000, 2_400_000, 10, 10):
        session.record(tool(size, **dict.fromkeys(fields, "x" * (size // 3))))
    machine.drain()
    found = [(count, size) for _, count, size in sizes(machine)]
    assert [count for count, _ in found] == [3, 1, 1, 2]
    assert all(size <= (1 << 20) + 64 or count == 1 for count, size in found)
    assert max(size for _, size in found) > 2 << 20
    assert machine.states() == {"done": 7}
    assert len(ids_there(api, session, "tools")) == 7


def test_the_order_of_a_session(machine: Machine) -> None:
    """A session is created, then its agents, then its events, and last its row is updated."""
    session = machine.session()
    agents = [session.create_agent("one"), session.create_agent("two")]
    session.record(tool(agent_id=agents[1]))
    session.record(llm())
    session.end_session("Success")
    machine.drain()
    assert machine.paths() == ["create_session", *["create_agent"] * 3, *["create_events"] * 2, "update_session"]


def test_one_request_at_a_time_for_a_session(machines: Machines, api: AgentOpsAPI) -> None:
    """However many sessions are served at once, the requests of one never overlap, and several do travel at once."""
    machine = machines(poll=0.01)
    sessions = [machine.session() for _ in range(8)]
    for session in sessions:
        for number in range(30):
            session.record(tool(number))
            session.record(llm(number))
    api.settings.seconds_per_event = 0.0005  # a request takes long enough to meet another
    lock, busy, most = threading.Lock(), Counter[str](), [0]
    transport = machine.uploader._calls._transport

    class Watched:
        def send(self, request: Request) -> Outcome:
            name = request.token or str(json.loads(request.body or b"{}").get("session", {}).get("session_id"))
            with lock:
                busy[name] += 1
                assert busy[name] == 1, "two requests of one session at once"
                most[0] = max(most[0], sum(busy.values()))
            try:
                return transport.send(request)
            finally:
                with lock:
                    busy[name] -= 1

    machine.uploader._calls._transport = Watched()
    Daemon([machine.uploader], SystemClock(), machine.timing).run(until_idle=True, patience=1)
    assert machine.states() == {"done": 480}
    assert 1 < most[0] <= 4
    assert all(len(ids_there(api, session, kind)) == 30 for session in sessions for kind in ("tools", "llms"))


@pytest.mark.parametrize("where", ["begin", "accepted"])
def test_the_daemon_may_die_at_the_ledger(machine: Machine, api: AgentOpsAPI, where: str) -> None:
    """A daemon that dies before or after the request, with its note or without, loses and doubles nothing."""
    session = machine.session()
    for number in range(5):
        session.record(error(number))

    class Dead(BaseException):
        pass

    def die(*_: object, **__: object) -> None:
        raise Dead

    machine.uploader.batches.__dict__[where] = die
    with pytest.raises(Dead):
        machine.drain()
    machine.stop()
    assert machine.states() == ({"pending": 5} if where == "begin" else {"flying": 5})
    machine.drain()
    assert machine.states() == {"done": 5}
    assert len(ids_there(api, session, "errors")) == 5
    assert len(posts(api, "create_events")) == 1


def test_no_secret_gets_into_the_database(machine: Machine, api: AgentOpsAPI) -> None:
    """Neither the API key nor a token is ever written into the database."""
    session = machine.session(key=api.api_key)
    session.record(tool())
    session.end_session("Success")
    machine.drain()
    assert machine.states() == {"done": 1}
    tokens = {request.token for _, request, _ in machine.sent if request.token}
    assert tokens
    text = machine.text()
    assert not [secret for secret in (api.api_key, *tokens) if secret.encode() in text]
