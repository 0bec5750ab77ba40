"""The control route: what a test in another process may ask of the server, and tell it.

Everything is JSON. The routes are listed in the docstring of the package.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from tests.fakes.agentops_api.api import API
from tests.fakes.agentops_api.server import Server
from tests.fakes.agentops_api.settings import Poison
from tests.fakes.wire import Answer, Request, json_answer


class Control:
    """Answers requests below /_control."""

    def __init__(self, api: API, server: Server) -> None:
        self._api = api
        self._server = server
        self._asked: dict[str, Callable[[str], Any]] = {
            "rows": api.store.counts,
            "store": lambda _: api.store.dump(),
            "requests": lambda _: self._requests(),
            "settings": lambda _: asdict(api.settings),
            "waiting": lambda _: {"late": server.late, "faults": server.faults.left},
        }
        self._told: dict[str, Callable[[dict[str, Any]], Any]] = {
            "setup": self._setup,
            "faults": lambda body: server.faults.add(body["faults"]),
            "chaos": lambda body: server.faults.chaos(**body),
            "clear_faults": lambda _: server.faults.clear(),
            "poison": lambda body: api.poisons.append(Poison(**body)),
            "refuse": lambda body: server.refuse(**body),
            "settings": lambda body: api.settings.change(**body),
            "tokens": self._tokens,
            "keys": self._keys,
            "delete_session": lambda body: {"deleted": api.store.delete_session(body["session"])},
        }

    def __call__(self, request: Request) -> Answer:
        """The answer to one request."""
        _, _, name, *rest = (*request.path.split("/"), "")
        try:
            if request.method == "GET" and name in self._asked:
                return json_answer(200, self._asked[name](rest[0]))
            if request.method == "POST" and name in self._told:
                return json_answer(200, self._told[name](request.json() if request.body else {}) or {})
        except (ValueError, TypeError, KeyError) as error:
            return json_answer(400, {"error": f"{type(error).__name__}: {error}"})
        return json_answer(404, {"error": f"no control is called {name}"})

    def _requests(self) -> dict[str, Any]:
        received = list(self._server.requests)
        return {
            "by_path": Counter(each.path for each in received),
            "requests": [asdict(each) for each in received],
        }

    def _setup(self, body: dict[str, Any]) -> None:
        if body["action"] != "delete_stats_row":
            raise ValueError(f"no setup is called {body['action']}")
        self._api.store.stats.pop(body["session"], None)

    def _tokens(self, body: dict[str, Any]) -> dict[str, Any]:
        if body.get("expire"):
            self._api.expire_tokens()
        if "secret" in body:
            self._api.jwt_secret = str(body["secret"])
        return {}

    def _keys(self, body: dict[str, Any]) -> dict[str, Any]:
        if "revoke" in body:
            self._api.revoke(body["revoke"])
        if "restore" in body:
            self._api.restore(body["restore"])
        return {"key": self._api.rotate(body["rotate"])} if "rotate" in body else {}
