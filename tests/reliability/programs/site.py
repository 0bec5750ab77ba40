"""A web application that records; `gunicorn tests.reliability.programs.site:app`, or uvicorn with `asgi`. The session
is begun where this module is imported: in each worker or, with `--preload`, in the process that forks them."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import agentops_local as agentops
from tests.reliability.programs.telling import act, say, think

agentops.init(default_tags=["site"])
say("loaded", os.getpid())


@agentops.record_tool("answer")
def answer(path: str) -> bytes:
    """The answer to a request, in the course of which events are recorded."""
    for turn in range(2):
        think(path, turn)
        act(path=path, turn=turn)
    return b"recorded\n"


def app(environ: dict[str, Any], start: Callable[..., object]) -> Iterable[bytes]:
    """The application."""
    body = answer(environ["PATH_INFO"])
    start("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


async def asgi(scope: dict[str, Any], receive: object, send: Callable[[dict], Awaitable[None]]) -> None:
    """The same for a server of the asynchronous kind."""
    if scope["type"] != "http":
        return
    body = answer(scope["path"])
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
