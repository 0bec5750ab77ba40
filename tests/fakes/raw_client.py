"""A client of the look-alike that hides nothing: one request on a plain socket, and whatever comes back."""

from __future__ import annotations

import json
import socket
import uuid
from contextlib import closing
from typing import Any, NamedTuple

from tests.fakes.agentops_api import AgentOpsAPI

MOMENT = "2025-01-01T00:00:00+00:00"
PATIENCE = 30.0


class Got(NamedTuple):
    """What came back until the connection was closed or the answer complete."""

    status: int | None
    headers: dict[str, str]
    body: bytes
    reset: bool


class Client:
    """One session on one server, with every request on a connection of its own."""

    def __init__(self, server: AgentOpsAPI) -> None:
        self.server = server
        self.id = str(uuid.uuid4())
        self.agent = str(uuid.uuid4())
        self.jwt = self.create()
        assert self.post("create_agent", {"id": self.agent, "name": "worker"}).status == 200

    def create(self, session: str = "") -> str:
        """A session; its token."""
        sent = {"session": {"session_id": session or self.id, "init_timestamp": MOMENT}}
        got = exchange(self.server, "POST", "create_session", sent, {"X-Agentops-Api-Key": self.server.api_key})
        return str(json.loads(got.body)["jwt"])

    def post(self, path: str, body: object) -> Got:
        """One request with the session's token."""
        return exchange(self.server, "POST", path, body, {"Authorization": f"Bearer {self.jwt}"})

    def get(self, what: str, key: str | None = None) -> Got:
        """The session's stats or export."""
        headers = {"X-Agentops-Api-Key": key or self.server.api_key}
        return exchange(self.server, "GET", f"sessions/{self.id}/{what}", None, headers)

    def reauthorize(self) -> Got:
        """A new token."""
        headers = {"X-Agentops-Api-Key": self.server.api_key}
        return exchange(self.server, "POST", "reauthorize_jwt", {"session_id": self.id}, headers)

    def send(self, *events: dict[str, Any]) -> Got:
        """A batch; without events, of one tool."""
        return self.post("create_events", {"events": events or [self.tool()]})

    def tool(self, **more: Any) -> dict[str, Any]:
        """An event that the server takes."""
        sent = {"id": str(uuid.uuid4()), "event_type": "tools", "name": "search", "agent_id": self.agent}
        return {**sent, "init_timestamp": MOMENT, "end_timestamp": MOMENT, **more}

    def error(self, **more: Any) -> dict[str, Any]:
        """An error."""
        return {"event_type": "errors", "timestamp": MOMENT, "details": "boom", **more}

    @property
    def tools(self) -> int:
        """How many tools are stored."""
        return len(self.server.events(self.id, "tools"))


def exchange(
    server: AgentOpsAPI, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
) -> Got:
    """One request, byte by byte."""
    raw = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path if path.startswith('/') else f'/v2/{path}'} HTTP/1.1", "Host: localhost"]
    lines += [f"Content-Length: {len(raw)}", *(f"{name}: {value}" for name, value in (headers or {}).items())]
    with closing(socket.create_connection(address(server), PATIENCE)) as connection:
        connection.settimeout(PATIENCE)
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + raw)
        return receive(connection)


def address(server: AgentOpsAPI) -> tuple[str, int]:
    """Where a server listens."""
    host, port = server.url.removeprefix("http://").split(":")
    return host, int(port)


def receive(connection: socket.socket) -> Got:
    """Everything up to the end of the answer or of the connection."""
    data, reset = b"", False
    while not complete(data):
        try:
            piece = connection.recv(1 << 16)
        except ConnectionResetError:
            reset = True
            break
        if not piece:
            break
        data += piece
    if b"\r\n\r\n" not in data:
        return Got(None, {}, data, reset)
    head, body = data.split(b"\r\n\r\n", 1)
    first, *lines = head.decode("latin-1").split("\r\n")
    return Got(int(first.split()[1]), dict(line.split(": ", 1) for line in lines), body, reset)


def complete(data: bytes) -> bool:
    """Whether an answer is there with as many bytes as it announced."""
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        return False
    lengths = [line for line in head.split(b"\r\n") if line.startswith(b"Content-Length: ")]
    return not lengths or len(body) >= int(lengths[0].split()[1])


def control(server: AgentOpsAPI, path: str, body: object = None) -> Any:
    """What the control route answers."""
    got = exchange(server, "GET" if body is None else "POST", f"/_control/{path}", body)
    assert got.status == 200, got
    return json.loads(got.body)
