"""Signing in with the key of a project, and out again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from math import ceil
from urllib.parse import urlencode

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from agentops_local.dashboard import forms, rendering
from agentops_local.dashboard.access import LIFE, check_origin, check_token
from agentops_local.dashboard.app import HEADERS, Dashboard
from agentops_local.dashboard.asking import Asked
from agentops_local.dashboard.forms import Form, way_back
from agentops_local.dashboard.throttle import Throttle
from agentops_local.server.refusal import Refusal
from agentops_local.server.store import StoreUnavailable

_NO_KEY = "This key opens no project: it was never registered here, or it was revoked."


def routes(dashboard: Dashboard) -> list[BaseRoute]:
    """The routes of signing in and out."""
    door = Door(dashboard)
    return [
        Route("/signin", door.show, methods=["GET"]),
        Route("/signin", door.enter, methods=["POST"]),
        Route("/signout", door.leave, methods=["POST"]),
    ]


class Door:
    """Where viewers come in."""

    def __init__(self, dashboard: Dashboard) -> None:
        self._access = dashboard.access
        self._throttle = Throttle()

    async def show(self, http: Request) -> Response:
        """The page that asks for a key; whoever needs none, or is in, is led on."""
        try:
            if await to_thread.run_sync(self._access.viewer, http) is not None:
                return self._on(http, http.query_params.get("to"))
            # A link on a page of somebody else does not bring the cookie. Come from here once more, and it does.
            if http.headers.get("sec-fetch-site") == "cross-site" and "again" not in http.query_params:
                return await self._page(http, again=True)
            return await self._page(http)
        except StoreUnavailable as error:
            return await self._page(http, f"Nobody can sign in now: {error}", 503)

    async def enter(self, http: Request) -> Response:
        """Takes a key."""
        form = Form()
        try:
            check_origin(http)
            form = await forms.read(http)
            check_token(form.one("token"), self._access.token())
            cookie = await self._try(http, form.one("key") or "")
        except Refusal as refusal:
            headers = {} if refusal.retry_after is None else {"Retry-After": str(refusal.retry_after)}
            return await self._page(http, refusal.message, refusal.status, headers, to=form.one("to"))
        except StoreUnavailable as error:
            return await self._page(http, f"Nobody can sign in now: {error}", 503, to=form.one("to"))
        answer = self._on(http, form.one("to"))
        self._set(http, answer, cookie, LIFE)
        return answer

    async def _try(self, http: Request, key: str) -> str:
        """The value of a cookie.

        Raises:
            Refusal: the key opens nothing, or too many of this address have opened nothing.
        """
        address = http.client.host if http.client is not None else ""
        wait = self._throttle.wait(address, time.monotonic())
        if wait:
            raise Refusal(429, f"Too many keys that open nothing: wait {ceil(wait)} s.", ceil(wait))
        cookie = await to_thread.run_sync(self._access.sign_in, key)
        if cookie is None:
            self._throttle.fail(address, time.monotonic())
            raise Refusal(403, _NO_KEY)
        self._throttle.succeed(address)
        return cookie

    async def leave(self, http: Request) -> Response:
        """Ends what a cookie opens."""
        viewer = await to_thread.run_sync(self._access.viewer, http)
        if viewer is not None:
            try:
                check_origin(http)
                check_token((await forms.read(http)).one("token"), viewer.token)
            except Refusal as refusal:
                return await self._page(http, refusal.message, refusal.status)
            self._access.sign_out(http)
        answer = RedirectResponse(f"{_root(http)}/signin", 303, HEADERS)
        self._set(http, answer, "", 0)
        return answer

    def _set(self, http: Request, answer: Response, value: str, life: int) -> None:
        # What a browser says of the page that it has sent the form from: a proxy that speaks https for us says nothing.
        secure = http.headers.get("origin", "").startswith("https://") or http.url.scheme == "https"
        path = _root(http) or "/"
        answer.set_cookie(
            self._access.cookie, value, max_age=life, path=path, secure=secure, httponly=True, samesite="strict"
        )

    def _on(self, http: Request, to: str | None) -> Response:
        root = _root(http)
        return RedirectResponse(way_back(to, f"{root}/"), 303, HEADERS)

    async def _page(
        self, http: Request, complaint: str = "", status: int = 200, headers: Mapping[str, str] | None = None,
        again: bool = False, to: str | None = None,
    ) -> Response:  # fmt: skip
        to = way_back(to or http.query_params.get("to"), "")
        asked = Asked(self._access.database, token=self._access.token(), root=_root(http), here="/signin")
        url = f"{asked.root}/signin?{urlencode({'to': to, 'again': '1'})}"
        data = {"complaint": complaint, "to": to, "again": url if again else ""}
        page = rendering.html("signin.html", data, asked)
        return Response(page, status, {**HEADERS, **(headers or {})}, media_type="text/html")


def _root(http: Request) -> str:
    return str(http.scope.get("agentops_root", ""))
