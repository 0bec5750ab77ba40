"""What every request passes before it is looked at: the name it calls us by, its path, its size."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

import anyio
import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agentops_local.server import patience
from agentops_local.server.refusal import Refusal

_SLASHES = re.compile("/{2,}")
# Nothing else may stand in a Host header: what is passed over here, another program may read as the name.
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::[0-9]{1,5})?")
_DRAINED = 4  # times the limit: so much of a body that is too large is read and thrown away before the answer


class Gate:
    """Lets requests through to an app.

    A web page that a user of this machine looks at can make his browser send requests to us. It cannot read the
    answers, unless its own name is made to lead here (DNS rebinding): then that name is in the Host header.

    Args:
        app: what is behind.
        hosts: names in the Host header that are let through with any port, in lower case, beside those of loopback;
            "*" lets all through. Pages of these names, and of these ports if they are told, may send requests, too.
        root_path: a prefix of paths that is taken off, such as "/agentops"; paths without it are let through as well.
        max_body: bytes that a body may have.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str] = (), root_path: str = "", max_body: int = 64 << 20) -> None:
        self._app = app
        self._places = frozenset(hosts)
        self._hosts = frozenset(_name_in(host) or host for host in self._places)
        self._root = root_path.rstrip("/")
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers what is refused, and hands on the rest."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = _SLASHES.sub("/", scope["path"])
        if self._root and (path + "/").startswith(self._root + "/"):
            path = path[len(self._root) :] or "/"
        scope = {**scope, "path": path, "raw_path": path.encode(), "root_path": "", "agentops_root": self._root}
        try:
            self._check_names(scope)
            await self._check_length(scope, receive)
        except Refusal as refusal:
            await answer(refusal, path, send)
            return
        await self._app(scope, receive, send)

    def _check_names(self, scope: Scope) -> None:
        # A proxy in front of us may have looked at another of several.
        hosts = [value.decode("latin-1").strip().lower() for name, value in scope["headers"] if name == b"host"]
        host = _name_in(hosts[0]) if len(hosts) == 1 else ""
        if not host or not self._is_ours(host):
            hint = f": start the collector with --allow-host {host}" if host else ""
            raise Refusal(403, f"the host {', '.join(hosts)!r} is not known here{hint}")
        for name, value in scope["headers"]:
            if name == b"origin" and not self._is_same(value.decode("latin-1").strip().lower(), hosts[0]):
                raise Refusal(403, "requests of web pages elsewhere are not answered")

    def _is_ours(self, host: str) -> bool:
        return "*" in self._hosts or host in self._hosts or is_loopback(host)

    def _is_same(self, origin: str, host: str) -> bool:
        """Whether a page comes from here. The port counts: another one is another program, whose pages may be
        anybody's. A proxy may call us by another name than its own, so the further names are good, too; "*" is none."""
        scheme, _, place = origin.partition("://")
        return scheme in ("http", "https") and (place == host or place in self._places)

    async def _check_length(self, scope: Scope, receive: Receive) -> None:
        """Refuses a body that says itself that it is too large. Most of it is read all the same: a client that is cut
        off in the midst of sending does not get to see the answer."""
        for name, value in scope["headers"]:
            if name == b"content-encoding" and value.lower() not in (b"", b"identity"):
                raise Refusal(415, "compressed bodies are not taken: send plain JSON")
            if name == b"content-length" and value.isdigit() and int(value) > self._max_body:
                await drain(receive, min(int(value), _DRAINED * self._max_body))
                raise too_large(self._max_body)


async def read_body(receive: Receive, most: int) -> bytes:
    """The body of a request.

    Raises:
        Refusal: it is larger than `most` bytes, it takes too long, or the client went away in the midst of it.
    """
    try:
        with anyio.fail_after(patience.BODY):
            return await _whole_body(receive, most)
    except TimeoutError as error:
        raise Refusal(408, f"the body was not here after {patience.BODY:g} s: send fewer events at once") from error


async def _whole_body(receive: Receive, most: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refusal(400, "the body was cut off")
        part = message.get("body", b"")
        size += len(part)
        if size > most:
            await drain(receive, _DRAINED * most) if message.get("more_body") else None
            raise too_large(most)
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


async def drain(receive: Receive, most: int) -> None:
    """Reads what a client still sends, up to a limit, and throws it away."""
    size = 0
    with anyio.move_on_after(patience.BODY):
        while size < most:
            message = await receive()
            size += len(message.get("body", b""))
            if message["type"] == "http.disconnect" or not message.get("more_body"):
                return


def too_large(most: int) -> Refusal:
    """What the sender of too large a body is told."""
    return Refusal(413, f"the body is larger than {most} bytes: send fewer events at once, or raise --max-body")


async def answer(refusal: Refusal, path: str, send: Send) -> None:
    """Sends a refusal."""
    body = orjson.dumps({"path": path, "message": refusal.message})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    start: Message = {"type": "http.response.start", "status": refusal.status, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": body})


def is_loopback(host: str) -> bool:
    """Whether a name or an address means this machine, and cannot be made to mean another."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _name_in(header: str) -> str:
    """The name in a Host header in lower case, without port and brackets; empty if it is none."""
    found = _HOST.fullmatch(header)
    return "" if found is None else found[1] or found[2]
