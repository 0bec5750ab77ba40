"""Whatever comes back in a server's place, by a proxy that gives it: what follows from it, and where the key goes."""

from __future__ import annotations

import json
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from agentops_local.session import Session
from agentops_sync import client
from tests.fakes.agentops_api import AgentOpsAPI
from tests.reliability.scorecard import Score
from tests.reliability.tools.faultproxy import FaultProxy
from tests.sync.driving import DAY, MAKERS, Machine, ids_there, tool

EACH = 30  # events of each kind


class Behind:
    """The look-alike, as it is seen through the proxy."""

    def __init__(self, api: AgentOpsAPI, proxy: FaultProxy) -> None:
        self.api = api
        self.proxy = proxy
        self.url = proxy.url
        self.api_key = api.api_key
        self.settings = api.settings


@dataclass
class Bench:
    """A machine with a session of thirty events of each kind, a proxy, a server."""

    machine: Machine
    proxy: FaultProxy
    api: AgentOpsAPI
    session: Session

    def there(self) -> dict[str, list[str]]:
        """What the server holds, by kind."""
        return {kind: ids_there(self.api, self.session, kind) for kind in MAKERS}

    def forwarded(self, path: str) -> int:
        """How often the server got a request."""
        return sum(seen.forwarded for seen in self.proxy.seen if seen.target.endswith(path))

    def scored(self, score: Score, wanted: int = EACH) -> None:
        """What is lost or doubled, of each kind."""
        there = self.there().values()
        lost = sum(wanted - len(set(rows)) for rows in there)
        doubled = sum(len(rows) - len(set(rows)) for rows in there)
        score.add(1, lost=lost, doubled=doubled)
        assert (lost, doubled) == (0, 0)


@pytest.fixture
def bench(tmp_path: Path, api: AgentOpsAPI) -> Iterator[Bench]:
    """The bench; the events are recorded and nothing is sent yet."""
    with FaultProxy(api.url) as proxy, ExitStack() as stack:
        machine = Machine(tmp_path / "machine", Behind(api, proxy))  # type: ignore[arg-type]  # what it needs of a server
        stack.callback(machine.close)
        session = machine.session()
        for number in range(EACH):
            for maker in MAKERS.values():
                session.record(maker(number))
        yield Bench(machine, proxy, api, session)


class Case(NamedTuple):
    """An answer, and what it means.

    Attributes:
        fault: as the proxy knows it.
        sent: how often the server gets the batch that it happens to: 2 where the first time nothing was stored.
        waits: whether the batch is settled only when the server must be done with it.
    """

    fault: dict[str, Any]
    sent: int
    waits: bool


NOT_DONE: list[dict[str, Any]] = [  # the server never got it, or never as a whole
    {"fault": "portal"}, {"fault": "proxy_auth"}, {"fault": "page"}, {"fault": "page", "status": 504},
    {"fault": "page", "status": 403}, {"fault": "page", "status": 404}, {"fault": "page", "status": 200},
    {"fault": "garbage"}, {"fault": "drop"}, {"fault": "cut_request"}, {"fault": "not_http"}, {"fault": "endless"},
    *({"fault": "redirect", "status": status} for status in (301, 302, 303, 307, 308)),
]  # fmt: skip
DONE: list[dict[str, Any]] = [  # it has, and the client does not learn it
    {"fault": "portal", "forwarded": True}, {"fault": "proxy_auth", "forwarded": True},
    {"fault": "page", "forwarded": True}, {"fault": "page", "status": 504, "forwarded": True},
    {"fault": "garbage", "forwarded": True}, {"fault": "drop", "forwarded": True}, {"fault": "lost"},
    {"fault": "cut_answer"}, {"fault": "truncated"}, {"fault": "longer"}, {"fault": "shorter"}, {"fault": "bad_chunks"},
    {"fault": "redirect", "status": 302, "forwarded": True}, {"fault": "not_http", "forwarded": True},
]  # fmt: skip
HEARD: list[dict[str, Any]] = [  # it has, and the client does
    {"fault": "informational"}, {"fault": "close"}, {"fault": "slow", "seconds": 0.05},
    {"fault": "drip", "seconds": 0.0}, {"fault": "delay", "seconds": 0.05},
]  # fmt: skip
CASES = [
    *(Case(one, 2, waits=True) for one in NOT_DONE),
    *(Case(one, 1, waits=True) for one in DONE),
    *(Case(one, 1, waits=False) for one in HEARD),
]


def named(case: Case) -> str:
    """For the report."""
    return "-".join(str(value) for value in case.fault.values())


@pytest.mark.parametrize("case", CASES, ids=named)
def test_an_answer_to_events(bench: Bench, score: Score, monkeypatch: pytest.MonkeyPatch, case: Case) -> None:
    """An answer that is not the server's clean success settles nothing: the batch waits until the server must be done,
    is looked up, and is sent again only where it is not there. A clean one is believed however it comes. This holds
    for events with an id there, and for errors, which have none."""
    monkeypatch.setattr(client, "_LARGEST", 1 << 18)  # bytes of an answer: else this would take minutes
    location = f"{bench.api.url}/v2/create_events"
    met = {"tools": 2, "errors": 3 + case.sent}  # which batch it happens to: the kind with the oldest event comes first
    for nth in (met["tools"], met["errors"] - 1):  # a request that meets one fault is not counted by the other
        bench.proxy.plan({**case.fault, "path": "create_events", "nth": nth, "location": location})
    bench.machine.drain()
    bench.scored(score)
    assert bench.machine.states() == {"done": 4 * EACH}
    for kind, number in met.items():
        batch = bench.machine.row("SELECT kind, state FROM batches WHERE id = ?", number)
        assert (batch["kind"], batch["state"]) == (kind, "settled" if case.waits else "ok")
    batches = len(bench.machine.batches())
    seen = [seen for seen in bench.proxy.seen if seen.fault]
    assert len(seen) == 2
    assert batches == 8 + 2 * (case.sent - 1)
    assert bench.forwarded("create_events") == batches - sum(not one.forwarded for one in seen)
    timing = bench.machine.timing
    assert bench.machine.clock.passed >= case.waits * (timing.settle + timing.settle_errors)


def test_a_connection_that_is_dead_when_it_is_used(bench: Bench, score: Score) -> None:
    """A connection that the server kept open and resets under the next request costs that one a look at the server, and
    nothing else."""
    bench.proxy.plan({"fault": "stale", "path": "create_events", "nth": 2, "times": 3})
    bench.machine.drain()
    assert sum(seen.fault is not None for seen in bench.proxy.seen) == 3
    bench.scored(score)
    assert bench.machine.states() == {"done": 4 * EACH}
    assert not [state for _, state, _ in bench.machine.batches() if state not in ("ok", "settled", "void")]


DEAD = """
SELECT d.reason, d.words, b.bytes, json_array_length(b.events) AS number
FROM dead_letters d JOIN uploads u USING (target, event) JOIN batches b ON b.id = u.batch
"""


@pytest.mark.parametrize("limit", [300, 700, 2_000, 20_000, 200_000])
def test_413_at_any_size(bench: Bench, score: Score, limit: int) -> None:
    """Whatever the size that a server refuses, only events that are larger by themselves are given up, with its words;
    all others arrive, each sent to it once, and the search for them costs a few requests."""
    for power in range(18):
        bench.session.record(tool("x" * 2**power, params={"text": "y" * 2**power}))
    bench.proxy.plan({"fault": "too_large", "path": "create_events", "above": limit, "times": None})
    bench.machine.drain(DAY)
    machine = bench.machine
    dead = machine.rows(DEAD)
    done = machine.states()["done"]
    events = 4 * EACH + 18
    there = [row for kind in MAKERS for row in ids_there(bench.api, bench.session, kind)]
    score.add(1, lost=events - len(dead) - len(set(there)), doubled=len(there) - len(set(there)))
    assert all(row["bytes"] > limit and row["number"] == 1 for row in dead)
    assert {(row["reason"], "413" in row["words"]) for row in dead} <= {("too large for the server", True)}
    assert done == events - len(dead) == len(there) == len(set(there))
    taken = machine.rows("SELECT events, bytes FROM batches WHERE state = 'ok'")
    assert all(row["bytes"] <= limit for row in taken)
    sent = Counter(event for row in taken for event in json.loads(row["events"]))
    assert set(sent.values()) <= {1}
    assert len(machine.batches()) <= 2 * events


def seconds_ahead(seconds: float) -> str:
    """A date for Retry-After."""
    return format_datetime(datetime.now(timezone.utc) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize("path", ["create_session", "create_agent", "create_events"])
@pytest.mark.parametrize(
    ("given", "waits"),
    [("7", 7), ("0", 0), ("999999", 3600), ("in 90 seconds", 90), ("an hour ago", 0), ("soon", 0), ("", 0)],
)
def test_429_in_seconds_or_as_a_date(bench: Bench, score: Score, path: str, given: str, waits: int) -> None:
    """Who is asked to wait waits so long, an hour at most, with everything; then the same is sent once more."""
    dates = {"in 90 seconds": 90.0, "an hour ago": -3600.0}
    header = seconds_ahead(dates[given]) if given in dates else given
    bench.proxy.plan({"fault": "slow_down", "path": path, "retry_after": header})
    bench.machine.drain()
    bench.scored(score)
    assert bench.machine.states() == {"done": 4 * EACH}
    (number,) = [number for number, (_, _, outcome) in enumerate(bench.machine.sent) if outcome.status == 429]
    asked, after = bench.machine.sent[number], bench.machine.sent[number + 1]
    assert after[1].path == asked[1].path
    assert after[1].body == asked[1].body
    assert waits - 2 <= after[0] - asked[0] <= max(waits, 1) + 2
    assert len(bench.machine.sent) == 1 + 1 + 8 + 1


class Witness:
    """Another host: it takes down whatever comes."""

    def __init__(self, host: str) -> None:
        self._listener = socket.create_server((host, 0))
        self.port = self._listener.getsockname()[1]
        self.heard: list[bytes] = []
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection:
                    connection.settimeout(1)
                    self.heard.append(connection.recv(1 << 16))
                    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\n"Success"')

    def close(self) -> None:
        """Stops."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "form", ["http://localhost:{port}{path}", "//127.0.0.1:{port}{path}", "http://127.0.0.2:{port}"]
)
def test_the_key_never_leaves_the_host(bench: Bench, score: Score, status: int, form: str) -> None:
    """Wherever a redirect of any request points, no connection is made to there, so that no key, token or prompt goes
    along; and all arrives in the end where it was meant to."""
    paths = ("create_session", "reauthorize_jwt", "create_agent", "create_events", "export", "update_session")
    bench.session.end_session("Success")
    with closing(Witness("127.0.0.2" if "127.0.0.2" in form else "127.0.0.1")) as witness:
        for path in paths:
            location = form.format(port=witness.port, path=f"/v2/{path}")
            bench.proxy.plan("redirect", path=path, status=status, location=location)
        bench.machine.drain(DAY)
        assert witness.heard == []
        with socket.create_connection(("127.0.0.2" if "127.0.0.2" in form else "127.0.0.1", witness.port)) as probe:
            probe.sendall(b"it hears")
            probe.recv(100)
        assert witness.heard == [b"it hears"]
    met = [seen.target.rsplit("/", 1)[-1] for seen in bench.proxy.seen if seen.fault]
    assert set(met) == set(paths)
    bench.scored(score)
    assert bench.machine.states() == {"done": 4 * EACH}
    assert bench.machine.delivery()["ended_sent"] == 1
