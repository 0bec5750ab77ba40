"""The routes of the dashboard."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import anyio
from anyio import to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from agentops_local.analytics.questions.occurrences import NoSuchError
from agentops_local.analytics.sessions import Ambiguous, NoSuchSession
from agentops_local.dashboard import rendering
from agentops_local.dashboard.access import Access, Viewer
from agentops_local.dashboard.asking import Asked
from agentops_local.dashboard.live import Live
from agentops_local.dashboard.pages import PAGES, Page
from agentops_local.errors import AgentOpsLocalError, DatabaseUnusable, WrongUse
from agentops_local.log import logger
from agentops_local.server.sqlite_store import SqliteStore

_THREADS = 16
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",  # prompts hold secrets
}

Handler = Callable[[Request], Awaitable[Response]]
Work = Callable[[Asked], Response]


def routes(store: SqliteStore, is_open: bool) -> list[BaseRoute]:
    """The routes of the dashboard, to be put beside those of a collector.

    Args:
        store: of that collector.
        is_open: whether only this machine can reach the server.
    """
    return Dashboard(Access(store, is_open)).routes()


class Dashboard:
    """The dashboard as HTTP has it."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self.live = Live()
        self._threads: anyio.CapacityLimiter | None = None

    def routes(self) -> list[BaseRoute]:
        """All of them."""
        found: list[BaseRoute] = [Mount("/static", StaticFiles(directory=Path(__file__).parent / "static"))]
        for url, page in PAGES.items():
            if page.template is not None:  # JSON first: an id in a path would take ".json" for a part of itself
                found.append(Route("/index.json" if url == "/" else f"{url}.json", self._json(page)))
                found.append(Route(url, self._html(page)))
            else:
                found.append(Route(url, self._json(page)))
        found.append(Route("/live", self._live))
        for extra in self._extras():
            found += extra.routes(self)
        return found

    def _extras(self) -> list[Any]:
        """Parts with routes of their own: changes, files, signing in."""
        return [import_module(f"{__package__}.{name}") for name in ("actions", "files", "signing") if _is_there(name)]

    def asked(self, http: Request, viewer: Viewer) -> Asked:
        """What is asked, without HTTP."""
        query: dict[str, list[str]] = {}
        for name, value in http.query_params.multi_items():
            query.setdefault(name, []).append(value)
        return Asked(
            db=viewer.db, query=query, path=dict(http.path_params), may_change=viewer.may_change,
            token=viewer.token, root=str(http.scope.get("agentops_root", "")), project=viewer.project,
            here=http.url.path,
        )  # fmt: skip

    def answering(self, work: Work, as_json: bool = False) -> Handler:
        """A handler that works in a thread, for a viewer who may see a database; errors are told on a page, or in
        JSON."""

        async def handle(http: Request) -> Response:
            if self._threads is None:
                self._threads = anyio.CapacityLimiter(_THREADS)
            viewer = await to_thread.run_sync(self.access.viewer, http, limiter=self._threads)
            if viewer is None:
                return self.stranger(http, as_json)
            asked = self.asked(http, viewer)
            answer = await to_thread.run_sync(lambda: _tried(work, asked, as_json), limiter=self._threads)
            answer.headers.update({name: value for name, value in HEADERS.items() if name not in answer.headers})
            return answer

        return handle

    def _html(self, page: Page) -> Handler:
        def work(asked: Asked) -> Response:
            assert page.template is not None  # noqa: S101 - for the type checker
            data = page.load()(asked)
            return Response(rendering.html(page.template, data, asked, asked.one("part")), media_type="text/html")

        return self.answering(work)

    def _json(self, page: Page) -> Handler:
        def work(asked: Asked) -> Response:
            return Response(rendering.json(page.load()(asked)), media_type="application/json")

        return self.answering(work, as_json=True)

    async def _live(self, http: Request) -> Response:
        viewer = await to_thread.run_sync(self.access.viewer, http)
        if viewer is None:
            raise HTTPException(403)
        return self.live.answer(viewer.db, HEADERS, lambda: self.access.viewer(http) is not None)

    def stranger(self, http: Request, as_json: bool) -> Response:
        """What somebody is told who must sign in first; a page leads there, and back afterwards."""
        if as_json:
            data = {"message": "sign in with the API key of a project"}
            return Response(rendering.json(data), 401, HEADERS, media_type="application/json")
        root = str(http.scope.get("agentops_root", ""))
        here = f"{root}{http.url.path}" + (f"?{http.url.query}" if http.url.query else "")
        to = f"?{urlencode({'to': here})}" if http.method == "GET" and here != f"{root}/" else ""
        return RedirectResponse(f"{root}/signin{to}", 303, HEADERS)


def _tried(work: Work, asked: Asked, as_json: bool) -> Response:
    try:
        return work(asked)
    except (NoSuchSession, Ambiguous) as error:
        return _told(asked, as_json, 404, "There is no such session", str(error))
    except NoSuchError as error:
        return _told(asked, as_json, 404, "There is no such error", str(error))
    except WrongUse as error:
        return _told(asked, as_json, 400, "That cannot be asked", str(error))
    except DatabaseUnusable as error:
        return _told(asked, as_json, 503, "Nothing to show yet", str(error))
    except AgentOpsLocalError as error:
        return _told(asked, as_json, 503, "The database cannot be read now", str(error))
    except Exception as error:  # noqa: BLE001 - the border of a page: the next one is answered whatever this one met
        logger.log(logging.ERROR, "agentops_local: %s could not be shown: %r", asked.here, error, exc_info=error)
        return _told(asked, as_json, 500, "This page could not be made", "the log of the server tells why")


def _told(asked: Asked, as_json: bool, status: int, title: str, message: str) -> Response:
    data: Mapping[str, object] = {"title": title, "message": message}
    if as_json:
        return Response(rendering.json(data), status, media_type="application/json")
    return Response(rendering.html("message.html", data, asked), status, media_type="text/html")


def _is_there(name: str) -> bool:
    return (Path(__file__).parent / f"{name}.py").is_file()
