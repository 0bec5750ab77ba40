"""What the look-alike does wrong on purpose, as a client sees it that hides nothing."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.fakes.agentops_api import AgentOpsAPI
from tests.fakes.raw_client import PATIENCE, Client, Got, address, receive

SOON = 0.05  # seconds, for what has to take any time at all


@pytest.fixture
def server() -> Iterator[AgentOpsAPI]:
    """A server of the test's own."""
    with AgentOpsAPI() as running:
        yield running


@pytest.fixture
def client(server: AgentOpsAPI) -> Client:
    """A session on it."""
    return Client(server)


# faults -------------------------------------------------------------------------------------------------------------


def test_reset_before(server: AgentOpsAPI, client: Client) -> None:
    """A reset before the work leaves nothing behind."""
    server.fault("reset_before")
    assert client.send() == Got(None, {}, b"", reset=True)
    assert client.tools == 0


def test_reset_after(server: AgentOpsAPI, client: Client) -> None:
    """A reset after the work leaves the events stored."""
    server.fault("reset_after")
    assert client.send() == Got(None, {}, b"", reset=True)
    assert client.tools == 1


def test_lost_answer(server: AgentOpsAPI, client: Client) -> None:
    """A lost answer is a connection closed without a byte, with the events stored."""
    server.fault("lost_answer")
    assert client.send() == Got(None, {}, b"", reset=False)
    assert client.tools == 1


def test_hang(server: AgentOpsAPI, client: Client) -> None:
    """A server that hangs does nothing, says nothing, and closes in the end."""
    server.fault("hang", seconds=SOON)
    before = time.monotonic()
    assert client.send() == Got(None, {}, b"", reset=False)
    assert time.monotonic() - before >= SOON
    assert client.tools == 0


def test_a_server_that_hangs_can_be_closed() -> None:
    """Closing the server ends every wait."""
    with AgentOpsAPI() as server:
        session = Client(server)
        server.fault("hang", seconds=3600)
        connection = socket.create_connection(address(server), PATIENCE)
        with closing(connection):
            connection.sendall(
                f"POST /v2/create_events HTTP/1.1\r\nContent-Length: 0\r\nX: {session.id}\r\n\r\n".encode()
            )
            before = time.monotonic()
            server.close()
            assert time.monotonic() - before < PATIENCE
            assert receive(connection).status is None


def test_late(server: AgentOpsAPI, client: Client) -> None:
    """A late request is committed after its client was sent away."""
    server.fault("late", delay=SOON)
    assert client.send() == Got(None, {}, b"", reset=False)
    server.settle()
    assert client.tools == 1
    assert [(each.fault, each.done, each.answered) for each in server.requests[-1:]] == [("late", 200, None)]


def test_late_work_is_not_done_after_the_end() -> None:
    """What is still waiting when the server closes is never done."""
    with AgentOpsAPI() as server:
        session = Client(server)
        server.fault("late", delay=3600)
        session.send()
    assert session.tools == 0


@pytest.mark.parametrize(("fault", "stored"), [("502_before", 0), ("502_after", 1)])
def test_bad_gateway(server: AgentOpsAPI, client: Client, fault: str, stored: int) -> None:
    """A gateway's 502 tells nothing about whether the events are stored."""
    server.fault(fault)
    got = client.send()
    assert (got.status, got.headers["Content-Type"], client.tools) == (502, "text/html", stored)


def test_other_gateway_errors(server: AgentOpsAPI, client: Client) -> None:
    """A gateway says 503 or 504 when the fault says so."""
    server.faults({"fault": "502_before", "status": 503}, {"fault": "502_after", "status": 504})
    assert [client.send().status, client.send().status, client.tools] == [503, 504, 1]


def test_captive_portal(server: AgentOpsAPI, client: Client) -> None:
    """A captive portal answers 200 with a page, and nothing is stored."""
    server.fault("html_200")
    got = client.send()
    assert (got.status, got.headers["Content-Type"][:9], client.tools) == (200, "text/html", 0)
    assert got.body.startswith(b"<!doctype html>")


def test_cut_body(server: AgentOpsAPI, client: Client) -> None:
    """A cut answer is shorter than it announced, with the events stored."""
    server.fault("cut_body")
    got = client.send()
    assert got.status == 200
    assert 0 < len(got.body) < int(got.headers["Content-Length"]) == len(b'"Success"')
    assert client.tools == 1


def test_too_large(server: AgentOpsAPI, client: Client) -> None:
    """A limit of the body answers 413 to every request above it and to no other."""
    server.fault("413", above=2000, times=None)
    large = client.tool(returns="x" * 2000)
    assert [client.send(large).status, client.send().status, client.send(large).status] == [413, 200, 413]
    assert client.tools == 1


def test_too_large_by_its_announcement(server: AgentOpsAPI, client: Client) -> None:
    """An early 413 comes before the body, and the connection ends without the body being read."""
    server.fault("413", above=2000, early=True)
    head = b"POST /v2/create_events HTTP/1.1\r\nContent-Length: 2001\r\n\r\n"
    with closing(socket.create_connection(address(server), PATIENCE)) as connection:
        connection.sendall(head)
        assert receive(connection).status == 413
        assert connection.recv(1) == b""
    assert [(each.size, each.done, each.answered) for each in server.requests[-1:]] == [(2001, None, 413)]


@pytest.mark.parametrize("when", ["7", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_too_many(server: AgentOpsAPI, client: Client, when: str) -> None:
    """429 says when to come back, in seconds or as a date, and nothing is stored."""
    server.fault("429", retry_after=when)
    got = client.send()
    assert (got.status, got.headers["Retry-After"], client.tools) == (429, when, 0)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirect(server: AgentOpsAPI, client: Client, status: int) -> None:
    """A redirect names another place, and nothing is stored."""
    server.fault("redirect", status=status, location="http://localhost:9/elsewhere")
    got = client.send()
    assert (got.status, got.headers["Location"], client.tools) == (status, "http://localhost:9/elsewhere", 0)


def test_slow(server: AgentOpsAPI, client: Client) -> None:
    """A slow server stores at once and answers later."""
    server.fault("slow", seconds=SOON)
    before = time.monotonic()
    assert client.send().status == 200
    assert time.monotonic() - before >= SOON
    assert client.tools == 1


def test_refuse(server: AgentOpsAPI, client: Client) -> None:
    """While the server does not listen connections are refused, and those there are end; then all is as before."""
    with closing(socket.create_connection(address(server), PATIENCE)) as idle:
        server.refuse()
        assert receive(idle).status is None
        with pytest.raises(ConnectionRefusedError):
            client.send()
    server.listen()
    while True:  # the port comes back a moment after it was asked for
        try:
            assert client.send().status == 200
            break
        except ConnectionRefusedError:
            time.sleep(0)
    assert client.tools == 1


def test_refuse_as_a_fault(server: AgentOpsAPI, client: Client) -> None:
    """A request can be what makes the server go away."""
    server.fault("refuse", seconds=3600)
    assert client.send().status is None
    with pytest.raises(ConnectionRefusedError):
        client.send()
    assert client.tools == 0


def test_reset_at_accept(server: AgentOpsAPI, client: Client) -> None:
    """As many connections as asked for are reset when they come."""
    server.refuse(connections=2)
    for _ in range(2):
        with contextlib.suppress(ConnectionError):  # the reset can come while the client still connects or sends
            assert client.send().status is None
    assert client.tools == 0
    assert client.send().status == 200


# which requests -----------------------------------------------------------------------------------------------------


def test_path(server: AgentOpsAPI, client: Client) -> None:
    """A fault with a path waits for that path."""
    server.fault("429", path="create_events")
    assert [client.get("stats").status, client.send().status, client.send().status] == [200, 429, 200]


def test_nth_and_times(server: AgentOpsAPI, client: Client) -> None:
    """A fault begins with the n-th request that fits and happens as often as it says."""
    server.fault("429", path="create_events", nth=2, times=2)
    assert [client.send().status for _ in range(5)] == [200, 429, 429, 200, 200]


def test_always(server: AgentOpsAPI, client: Client) -> None:
    """A fault without an end goes on until the faults are cleared."""
    server.fault("429", times=None)
    assert [client.send().status for _ in range(3)] == [429] * 3
    server.clear_faults()
    assert client.send().status == 200


def test_kind(server: AgentOpsAPI, client: Client) -> None:
    """A fault for a kind of event waits for a batch that holds one."""
    server.fault("429", kind="errors")
    assert [client.send().status, client.send(client.tool(), client.error()).status] == [200, 429]


def test_order(server: AgentOpsAPI, client: Client) -> None:
    """Faults that fit the same request happen one request after the other, in the order of the script."""
    server.faults("429", "502_before", "reset_before")
    assert [client.send().status for _ in range(4)] == [429, 502, None, 200]


@pytest.mark.parametrize("wrong", ["explode", {"fault": "429", "colour": "red"}])
def test_unknown_faults(server: AgentOpsAPI, wrong: object) -> None:
    """A fault nobody knows is told at once."""
    with pytest.raises(ValueError, match="fault"):
        server.faults(wrong)


# chaos --------------------------------------------------------------------------------------------------------------


def met(seed: int, *, count: int = 60) -> list[str | None]:
    """The faults that a client meets."""
    with AgentOpsAPI() as server:
        session = Client(server)
        before = len(server.requests)
        server.chaos(0.3, seed=seed, faults=["429", "lost_answer", "502_after"])
        for _ in range(count):
            session.send(session.error())
        return [each.fault for each in server.requests[before:]]


def test_chaos_repeats() -> None:
    """The same seed brings the same faults to a client that sends one request after the other."""
    assert met(3) == met(3)
    assert met(3) != met(4)


def test_chaos_rate() -> None:
    """Chaos takes about the share of requests it was told to, and every fault of its list."""
    faults = met(3, count=200)
    assert 0.2 < sum(fault is not None for fault in faults) / len(faults) < 0.4
    assert set(faults) == {None, "429", "lost_answer", "502_after"}


@pytest.mark.parametrize(("reads", "status"), [(False, 200), (True, 429)])
def test_chaos_spares_reads(server: AgentOpsAPI, client: Client, reads: bool, status: int) -> None:
    """Chaos takes writes only, unless it is told to take reads as well."""
    server.chaos(1.0, seed=1, faults=["429"], reads=reads)
    assert [client.get("stats").status, client.reauthorize().status, client.send().status] == [status, status, 429]
