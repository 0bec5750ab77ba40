"""The HTTP of the collector: its paths, and the shapes of its answers.

The work is done in threads. Requests that write wait for the turn of their project in the event loop, first come first
served, so those of a busy project take one thread and not all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

import anyio
import orjson
from anyio import to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from agentops_local.log import logger
from agentops_local.server.collector import Collector, Deed, Request, unavailable
from agentops_local.server.gate import Gate, read_body
from agentops_local.server.openapi import document
from agentops_local.server.refusal import BadInput, Refusal
from agentops_local.server.store import StoreUnavailable

_THREADS = 64
_WORDS = {404: "there is nothing at this path", 405: "this method is not for this path"}

Handler = Callable[[HttpRequest], Awaitable[Response]]
Pause = Callable[[float], Awaitable[None]]


def build_app(
    collector: Collector, hosts: tuple[str, ...] = (), root_path: str = "", max_body: int = 64 << 20,
    pause: Pause = anyio.sleep, pages: Sequence[BaseRoute] = (),
) -> ASGIApp:  # fmt: skip
    """The collector as an ASGI app.

    Args:
        collector: what does the work; its store is closed when the app shuts down.
        hosts: names by which clients may call the server, beside those of loopback.
        root_path: a prefix of paths, as a proxy may add it.
        max_body: bytes that a body may have.
        pause: waits for so many seconds.
        pages: further routes, for people.
    """
    return Gate(_App(collector, max_body, pause).starlette(pages), hosts, root_path, max_body)


class _App:
    def __init__(self, collector: Collector, max_body: int, pause: Pause) -> None:
        self._collector = collector
        self._max_body = max_body
        self._pause = pause
        self._turns: defaultdict[str, anyio.Lock] = defaultdict(anyio.Lock)
        self._threads: anyio.CapacityLimiter | None = None

    def starlette(self, pages: Sequence[BaseRoute]) -> Starlette:
        """The app with its routes."""
        do = self._collector
        routes = [
            *(
                Route(f"/v2/{work.__name__}", self._writing(work), methods=["POST"])
                for work in (do.create_session, do.update_session, do.create_agent, do.create_events, do.update_events)
            ),
            *(
                Route(f"/v2/{work.__name__}", self._answering(work), methods=["POST"])
                for work in (do.reauthorize_jwt, do.create_thread)
            ),
            Route("/v2/developer_errors", self._developer_errors, methods=["POST"]),
            Route("/v2/sessions/{id}/stats", self._stats, methods=["GET"]),
            Route("/v2/sessions/{id}/export", self._export, methods=["GET"]),
            Route("/v2/openapi.json", self._openapi, methods=["GET"]),
            Route("/health", self._health, methods=["GET"]),
            *pages,
        ]
        handlers = {Refusal: _refused, StoreUnavailable: _unavailable, HTTPException: _misled, Exception: _broken}
        app = Starlette(routes=routes, exception_handlers=handlers, lifespan=self._lifespan)
        app.router.redirect_slashes = False  # a POST that is redirected becomes a GET
        return app

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        try:
            async with anyio.create_task_group() as tasks:
                if not self._collector.idle.never:
                    tasks.start_soon(self._sweeping)
                try:
                    yield
                finally:
                    tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(self._collector.store.close)

    async def _sweeping(self) -> None:
        """Ends sessions by themselves, as long as the app runs. Whatever goes wrong, requests are answered."""
        while True:
            await self._pause(self._collector.idle.pause)
            projects: Sequence[str] = ()
            with _survived():
                projects = await to_thread.run_sync(self._collector.store.projects)
            for project in projects:
                with _survived():
                    await self._sweep(project)

    async def _sweep(self, project: str) -> None:
        deed = await to_thread.run_sync(self._collector.sweep, project)
        if deed is not None:
            async with self._turns[project]:
                await to_thread.run_sync(deed.do)

    async def _run(self, work: Callable[[], object]) -> object:
        if self._threads is None:
            self._threads = anyio.CapacityLimiter(_THREADS)
        return await to_thread.run_sync(work, limiter=self._threads)

    async def _request(self, http: HttpRequest) -> Request:
        return Request(
            key=http.headers.get("x-agentops-api-key"),
            authorization=http.headers.get("authorization"),
            base_url=f"{http.scope['scheme']}://{http.headers.get('host', '')}{http.scope.get('agentops_root', '')}",
            body=await read_body(http.receive, self._max_body),
        )

    def _writing(self, prepare: Callable[[Request], Deed]) -> Handler:
        """A request that writes: all that can be done beforehand is, then it waits for its turn."""

        async def handle(http: HttpRequest) -> Response:
            request = await self._request(http)
            deed = await self._run(lambda: prepare(request))
            assert isinstance(deed, Deed)  # noqa: S101 - for the type checker
            async with self._turns[deed.project]:
                return _json(await self._run(deed.do))

        return handle

    def _answering(self, work: Callable[[Request], object]) -> Handler:
        async def handle(http: HttpRequest) -> Response:
            request = await self._request(http)
            return _json(await self._run(lambda: work(request)))

        return handle

    async def _stats(self, http: HttpRequest) -> Response:
        request = await self._request(http)
        return _json(await self._run(lambda: self._collector.stats(request, http.path_params["id"])))

    async def _export(self, http: HttpRequest) -> Response:
        request = await self._request(http)
        columns = http.query_params.get("columns", "v2")
        if columns not in ("v2", "all"):
            raise BadInput(f"columns {columns!r} must be v2 or all")
        ours = columns == "all"
        body = await self._run(lambda: self._collector.export(request, http.path_params["id"], ours))
        assert isinstance(body, bytes)  # noqa: S101 - for the type checker
        return Response(body, media_type="application/json")

    async def _developer_errors(self, http: HttpRequest) -> Response:
        request = await self._request(http)
        await self._run(lambda: self._collector.report_error(request))
        return Response(status_code=204)

    async def _health(self, http: HttpRequest) -> Response:
        del http
        return _json(await self._run(self._collector.health))

    async def _openapi(self, http: HttpRequest) -> Response:
        del http
        return _json(document())


@contextmanager
def _survived() -> Iterator[None]:
    try:
        yield
    except StoreUnavailable:
        pass  # the store has told so in the log; the next sweep tries again
    except Exception as error:  # noqa: BLE001 - it would end the server
        logger.error("agentops_local: the sweep for idle sessions failed: %r", error, exc_info=error)


def _json(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(value), status, headers, media_type="application/json")


def _told(http: HttpRequest, refusal: Refusal) -> Response:
    headers = {} if refusal.retry_after is None else {"Retry-After": str(refusal.retry_after)}
    return _json({"path": http.scope["path"], "message": refusal.message}, refusal.status, headers)


async def _refused(http: HttpRequest, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)  # noqa: S101 - for the type checker
    return _told(http, refusal)


async def _unavailable(http: HttpRequest, error: Exception) -> Response:
    assert isinstance(error, StoreUnavailable)  # noqa: S101 - for the type checker
    return _told(http, unavailable(error))


async def _misled(http: HttpRequest, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - for the type checker
    words = _WORDS.get(error.status_code, error.detail)
    answer = _json({"path": http.scope["path"], "message": words}, error.status_code)
    answer.headers.update(error.headers or {})
    return answer


async def _broken(http: HttpRequest, error: Exception) -> Response:
    """A bug of ours: told as such, and kept in the log."""
    logger.error("agentops_local: %s %s failed: %r", http.method, http.scope["path"], error, exc_info=error)
    return _json({"path": http.scope["path"], "message": "the collector has failed; its log tells why"}, 500)
