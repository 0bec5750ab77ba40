"""Where requests are caught: in the libraries that send them, at the last step before the network.

So everything above stays as it is: the provider's own library builds the request, parses the answer and returns its own
types. A server on loopback in place of the provider's was the other way: it would have to be put into every client's
address, which programs set in a dozen ways, and would catch no client that sets its own; and the program would speak to
another address than it did.
"""

from __future__ import annotations

import functools
import io
from collections.abc import AsyncIterator, Callable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

from agentops_local.replay.formats import may_be
from agentops_local.replay.formats.asked import Reply

if TYPE_CHECKING:
    from agentops_local.replay.player import Player

_CUT = "the connection broke off, as it did in the recording"
_HEADERS = {
    "x-should-retry": "false",  # a failure is as final as it was, and nobody waits for it
    "retry-after-ms": "1",
    "x-agentops-replay": "1",
}


def headers(reply: Reply) -> dict[str, str]:
    """What stands above the answer."""
    return {"content-type": reply.media_type, **_HEADERS}


def httpx(module: ModuleType, player: Player) -> None:
    """`httpx` and `httpx2`, on which nearly all providers' libraries stand."""
    sync, asynchronous = module.HTTPTransport, module.AsyncHTTPTransport
    send, send_async = sync.handle_request, asynchronous.handle_async_request
    response = _responses(module)

    @functools.wraps(send)
    def handle_request(self: Any, request: Any) -> Any:
        reply = player.respond(request.method, str(request.url), request.headers, request.read)
        return send(self, request) if reply is None else response(reply)

    @functools.wraps(send_async)
    async def handle_async_request(self: Any, request: Any) -> Any:
        method, url = request.method, str(request.url)
        body = await request.aread() if may_be(method, url) else b""
        reply = player.respond(method, url, request.headers, lambda: body)
        return await send_async(self, request) if reply is None else response(reply)

    sync.handle_request, asynchronous.handle_async_request = handle_request, handle_async_request


def _responses(module: ModuleType) -> Callable[[Reply], Any]:
    """What makes a response of the module's own; it knows its streams by their class."""

    def broken(reply: Reply) -> Exception:
        error: Exception = module.ReadTimeout(_CUT) if reply.is_timeout else module.RemoteProtocolError(_CUT)
        return error

    class Chunks(module.SyncByteStream, module.AsyncByteStream):  # type: ignore[misc, name-defined]
        def __init__(self, reply: Reply) -> None:
            self._reply = reply
            self._left = iter(reply.chunks)  # what has come, comes no more: libraries read on to see the end

        def __iter__(self) -> Iterator[bytes]:
            yield from self._left
            if self._reply.is_cut:
                raise broken(self._reply)

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for chunk in self:
                yield chunk

    def response(reply: Reply) -> Any:
        if reply.is_cut and not reply.chunks:
            raise broken(reply)
        return module.Response(reply.status, headers=headers(reply), stream=Chunks(reply))

    return response


def requests(module: ModuleType, player: Player) -> None:
    """`requests.adapters`."""
    import urllib3

    owner = module.HTTPAdapter
    send = owner.send

    @functools.wraps(send)
    def answering(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        reply = player.respond(request.method, request.url, request.headers, lambda: _bytes(request.body))
        if reply is None:
            return send(self, request, *args, **kwargs)
        if reply.is_cut and not reply.chunks:
            raise module.ReadTimeout(_CUT) if reply.is_timeout else module.ConnectionError(_CUT)
        raw = urllib3.HTTPResponse(
            _body(reply), headers=headers(reply), status=reply.status, preload_content=False, decode_content=False
        )
        return self.build_response(request, raw)

    owner.send = answering


def urllib(module: ModuleType, player: Player) -> None:
    """`urllib.request`."""
    from email.message import Message
    from urllib.error import URLError
    from urllib.response import addinfourl

    owner = module.AbstractHTTPHandler
    do_open = owner.do_open

    @functools.wraps(do_open)
    def answering(self: Any, http_class: Any, req: Any, **kwargs: Any) -> Any:
        found = {**req.unredirected_hdrs, **req.headers}
        reply = player.respond(req.get_method(), req.full_url, found, lambda: _bytes(req.data))
        if reply is None:
            return do_open(self, http_class, req, **kwargs)
        if reply.is_cut and not reply.chunks:
            raise URLError(TimeoutError(_CUT) if reply.is_timeout else ConnectionResetError(_CUT))
        told = Message()
        for name, value in headers(reply).items():
            told[name] = value
        response = addinfourl(_body(reply), told, req.full_url, reply.status)
        response.msg = ""  # type: ignore[attr-defined]  # the reason, as the handlers of errors want it
        return response

    owner.do_open = answering


def network(event: str, args: tuple[Any, ...], player: Player) -> None:
    """What Python tells of every connection, whichever library makes it."""
    if event == "socket.getaddrinfo" and args[0]:
        player.meets(args[0])
    elif event == "socket.connect" and isinstance(args[1], tuple):
        player.meets(args[1][0])


def _bytes(body: object) -> bytes:
    if isinstance(body, str):
        return body.encode()
    if body is None or isinstance(body, (bytes, bytearray)):
        return bytes(body or b"")
    raise TypeError(f"a body that is a {type(body).__name__} can be read only once")


class _Body(io.RawIOBase):
    """A body that is read chunk by chunk, and may break off."""

    def __init__(self, reply: Reply) -> None:
        self._chunks = list(reply.chunks)
        self._is_cut = reply.is_cut

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._chunks:
            if self._is_cut:
                raise ConnectionResetError(_CUT)
            return 0
        chunk = self._chunks.pop(0)
        taken = chunk[: len(buffer)]
        if chunk[len(taken) :]:
            self._chunks.insert(0, chunk[len(taken) :])
        buffer[: len(taken)] = taken
        return len(taken)


def _body(reply: Reply) -> io.BufferedReader:
    return io.BufferedReader(_Body(reply))
