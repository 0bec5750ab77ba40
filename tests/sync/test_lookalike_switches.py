"""What can be turned on the look-alike while it runs, and what it tells of itself."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.common import ROOT
from tests.fakes.agentops_api import AgentOpsAPI
from tests.fakes.agentops_api.ask import ask
from tests.fakes.raw_client import MOMENT, PATIENCE, Client, address, control, exchange, receive


@pytest.fixture
def server() -> Iterator[AgentOpsAPI]:
    """A server of the test's own."""
    with AgentOpsAPI() as running:
        yield running


@pytest.fixture
def client(server: AgentOpsAPI) -> Client:
    """A session on it."""
    return Client(server)


# poison -------------------------------------------------------------------------------------------------------------


def test_poison_before_the_store(server: AgentOpsAPI, client: Client) -> None:
    """A poisoned event ends its whole batch with 500, and nothing is stored or counted."""
    server.poison("arsenic")
    assert client.send(client.tool(), client.tool(returns="some arsenic")).status == 500
    assert (client.tools, server.rows(client.id)["stats"]["events"]) == (0, 0)


def test_poison_for_the_store(server: AgentOpsAPI, client: Client) -> None:
    """A poisoned event takes the events of its kind along with 400; the other kinds are stored and all are counted."""
    server.poison("arsenic", 400, "22P05")
    got = client.send(client.tool(), client.tool(returns="some arsenic"), client.error())
    assert got.status == 400
    assert "22P05" in json.loads(got.body)["message"]
    assert (client.tools, len(server.events(client.id, "errors"))) == (0, 1)
    assert server.rows(client.id)["stats"]["events"] == 3


# switches -----------------------------------------------------------------------------------------------------------


def test_actions(server: AgentOpsAPI, client: Client) -> None:
    """A batch with an action ends in 500 until the switch is turned."""
    action = client.tool(event_type="actions", action_type="click", params="p")
    assert client.send(action, client.tool()).status == 500
    assert client.tools == 0
    server.actions_work = True
    assert client.send(action, client.tool()).status == 200
    assert (client.tools, len(server.events(client.id, "actions"))) == (1, 1)


def test_expired_tokens(server: AgentOpsAPI, client: Client) -> None:
    """Tokens that were expired by hand are answered 401; those handed out afterwards are good."""
    server.expire_tokens()
    assert client.send().status == 401
    client.jwt = json.loads(client.reauthorize().body)["jwt"]
    assert client.send().status == 200


def test_clock(server: AgentOpsAPI, client: Client) -> None:
    """A token ends with its life by the server's clock."""
    server.settings.clock_shift = server.settings.token_life + 1
    assert client.send().status == 401


def test_secret(server: AgentOpsAPI, client: Client) -> None:
    """With another secret, tokens from before end in 500, not in 401."""
    server.jwt_secret = "another secret"  # noqa: S105 - a test's own
    assert client.send().status == 500


def test_keys(server: AgentOpsAPI, client: Client) -> None:
    """A rotated key is unknown, the new one opens the same project, and the old one can be restored."""
    fresh = server.rotate(server.api_key)
    assert (client.get("stats").status, client.get("stats", fresh).status) == (400, 200)
    server.restore(server.api_key)
    assert client.get("stats").status == 200
    server.revoke(server.api_key)
    assert json.loads(client.get("stats").body)["message"] == "Invalid API Key"


def test_deleted_session(server: AgentOpsAPI, client: Client) -> None:
    """A deleted session takes its rows along; its token still updates nothing with 200."""
    assert client.send().status == 200
    server.delete_session(client.id)
    assert server.rows(client.id)["sessions"] == client.tools == 0
    assert client.send().status == 500
    assert client.post("update_session", {"session": {"init_timestamp": MOMENT}}).status == 200
    assert "Invalid Session Id" in json.loads(client.reauthorize().body)["message"]


def test_export_limit(server: AgentOpsAPI, client: Client) -> None:
    """An export holds no more rows of a kind than its limit, the same ones each time."""
    server.settings.export_limit = 3
    client.send(*(client.tool() for _ in range(5)))
    exports = [json.loads(client.get("export").body)["tools"] for _ in range(2)]
    assert exports[0] == exports[1]
    assert len({row["id"] for row in exports[0]}) == 3


def test_lost_updates(server: AgentOpsAPI, client: Client) -> None:
    """Two batches at once can lose the stats of one, never its rows."""
    server.settings.stats_window = 0.2
    raw = [json.dumps({"events": [client.tool()]}).encode() for _ in range(2)]
    connections = [socket.create_connection(address(server), PATIENCE) for _ in raw]
    for connection, body in zip(connections, raw, strict=True):
        head = f"POST /v2/create_events HTTP/1.1\r\nAuthorization: Bearer {client.jwt}\r\nContent-Length: {len(body)}"
        connection.sendall(f"{head}\r\n\r\n".encode() + body)
    for connection in connections:
        with closing(connection):
            assert receive(connection).status == 200
    assert client.tools == 2
    assert server.rows(client.id)["stats"]["events"] == 1


# connections --------------------------------------------------------------------------------------------------------


def test_keep_alive(server: AgentOpsAPI, client: Client) -> None:
    """A connection serves one request after the other until the client wants no more."""
    with closing(socket.create_connection(address(server), PATIENCE)) as connection:
        for _ in range(3):
            connection.sendall(b"GET /health HTTP/1.1\r\n\r\n")
            assert receive(connection).status == 200
        connection.sendall(b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert receive(connection).headers["Connection"] == "close"
        assert connection.recv(1) == b""


def test_client_that_leaves(server: AgentOpsAPI, client: Client) -> None:
    """A request is done to its end although its client has closed the connection."""
    body = json.dumps({"events": [client.tool()]}).encode()
    head = f"POST /v2/create_events HTTP/1.1\r\nAuthorization: Bearer {client.jwt}\r\nContent-Length: {len(body)}"
    with closing(socket.create_connection(address(server), PATIENCE)) as connection:
        connection.sendall(f"{head}\r\n\r\n".encode() + body)
    deadline = time.monotonic() + PATIENCE
    while not client.tools:
        assert time.monotonic() < deadline
        time.sleep(0)


@pytest.mark.parametrize(("path", "status"), [("/v2/create_events/", 307), ("//v2/create_events", 404)])
def test_paths_that_are_nearly_right(server: AgentOpsAPI, client: Client, path: str, status: int) -> None:
    """A slash at the end leads to the path without it; a doubled one leads nowhere."""
    assert client.post(path, {"events": []}).status == status


# the control route --------------------------------------------------------------------------------------------------


def test_control_tells_the_truth(server: AgentOpsAPI, client: Client) -> None:
    """The control route gives the counts of a session, every stored row with its doubles, and every request."""
    for _ in range(2):
        assert client.send(client.error()).status == 200
    assert control(server, f"rows/{client.id}") == server.rows(client.id)
    store = control(server, "store")
    assert [error["details"] for error in store["errors"]] == ["boom"] * 2
    assert [session["id"] for session in store["sessions"]] == [client.id]
    requests = control(server, "requests")
    assert requests["by_path"] == {"/v2/create_session": 1, "/v2/create_agent": 1, "/v2/create_events": 2}
    assert requests["requests"][-1]["headers"]["authorization"] == f"Bearer {client.jwt}"
    assert requests["requests"][-1]["kinds"] == ["errors"]


def test_control_takes_orders(server: AgentOpsAPI, client: Client) -> None:
    """Whatever a test can do within its process, another process can do over the control route."""
    control(server, "settings", {"actions_work": True, "export_limit": 2, "clock_shift": 5})
    assert (server.actions_work, server.settings.export_limit, server.settings.clock_shift) == (True, 2, 5)
    control(server, "faults", {"faults": [{"fault": "429", "path": "create_events"}]})
    assert client.send().status == 429
    control(server, "chaos", {"rate": 1.0, "seed": 3, "faults": ["502_before"]})
    assert client.send().status == 502
    control(server, "clear_faults", {})
    control(server, "poison", {"marker": "arsenic"})
    assert client.send(client.tool(name="arsenic")).status == 500
    control(server, "setup", {"action": "delete_stats_row", "session": client.id})
    assert server.stats(client.id) is None
    control(server, "tokens", {"expire": True})
    assert client.send().status == 401
    fresh = control(server, "keys", {"rotate": server.api_key})["key"]
    assert (client.get("stats").status, client.get("stats", fresh).status) == (400, 200)
    assert control(server, "delete_session", {"session": client.id}) == {"deleted": True}
    assert server.session(client.id) is None


def test_control_refuses_nonsense(server: AgentOpsAPI) -> None:
    """A wrong order is told with 400, an unknown one with 404."""
    assert exchange(server, "POST", "/_control/settings", {"colour": "red"}).status == 400
    assert exchange(server, "POST", "/_control/nothing", {}).status == 404


# the program --------------------------------------------------------------------------------------------------------


def test_program(tmp_path: Path) -> None:
    """The program says its URL on its first line, serves both keys, records what came, and ends on SIGTERM."""
    keys = [str(uuid.uuid4()), str(uuid.uuid4())]
    record = tmp_path / "requests.jsonl"
    words = ["--api-key", keys[0], "--other-api-key", keys[1], "--record", str(record)]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.agentops_api", *words],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )
    with process:
        assert process.stdout is not None
        url = process.stdout.readline().decode().strip()
        session = str(uuid.uuid4())
        assert json.loads(ask(url, "rows", session))["sessions"] == 0
        for key in keys:
            sent = {"session": {"session_id": session}}
            with closing(socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])), PATIENCE)) as connection:
                body = json.dumps(sent).encode()
                head = f"POST /v2/create_session HTTP/1.1\r\nX-Agentops-Api-Key: {key}\r\nContent-Length: {len(body)}"
                connection.sendall(f"{head}\r\n\r\n".encode() + body)
                assert receive(connection).status == (200 if key == keys[0] else 500)
        ask(url, "setup", "delete_stats_row", session)
        assert json.loads(ask(url, "rows", session))["stats"] is None
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 0
    recorded = [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]
    # Each is noted when it is over, so two on different connections may change places.
    assert sorted((each["path"], each["answered"]) for each in recorded) == [
        ("/v2/create_session", 200),
        ("/v2/create_session", 500),
    ]
