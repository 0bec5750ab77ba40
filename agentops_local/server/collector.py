"""Each request's work, knowing nothing of HTTP: who asks, what is asked, and what the store does about it.

A request that writes is done in two steps, so that the server can let the second wait for its turn: `Deed.do` is to be
called for one request of a project at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from agentops_local.log import logger
from agentops_local.server import values
from agentops_local.server.body import encode, parse
from agentops_local.server.event_fields import read_events
from agentops_local.server.idle import Idle
from agentops_local.server.refusal import BadInput, NotAuthentic, Refusal
from agentops_local.server.registry import key_hash, parse_key
from agentops_local.server.session_fields import session_fields, session_object
from agentops_local.server.store import LOCAL, SessionTotals, Store, StoreUnavailable, UnknownEvent
from agentops_local.server.tokens import Claims, Tokens

SUCCESS = "Success"
NOT_THERE = "Session does not belong to this project"
_RETRY_AFTER = 5  # seconds
_MOST_LOGGED = 20  # reports of developers that are logged, of each run of the server


@dataclass(frozen=True)
class Request:
    """A request, as far as it matters here.

    Attributes:
        key: the header X-Agentops-Api-Key.
        authorization: the header Authorization.
        base_url: how the client calls this server, without a slash at the end.
        body: as it came.
    """

    key: str | None = None
    authorization: str | None = None
    base_url: str = ""
    body: bytes = b""


@dataclass(frozen=True)
class Deed:
    """What is left to be done for a request that writes.

    Attributes:
        project: whose turn it takes.
        do: does it, and returns the answer.
    """

    project: str
    do: Callable[[], object]


class Collector:
    """The collector.

    Args:
        store: where everything is kept.
        tokens: issues and reads tokens.
        open_to_any_key: whether any key opens the local database as long as none is registered; for a server that only
            this machine can reach.
        clock: Unix time in seconds.
        idle: when sessions end by themselves; None: never.
    """

    def __init__(
        self, store: Store, tokens: Tokens, open_to_any_key: bool = True, clock: Callable[[], float] = time.time,
        idle: Idle | None = None,
    ) -> None:  # fmt: skip
        self.store = store
        self.idle = Idle(0) if idle is None else idle
        self.developer_errors = 0
        self._tokens = tokens
        self._open = open_to_any_key
        self._clock = clock

    # Who asks -------------------------------------------------------------------------------------------------------

    def _by_key(self, request: Request, may_lack: bool = False) -> tuple[str, str | None]:
        """The project of an API key, and the tag of the key.

        Args:
            may_lack: whether an open collector answers without a key.
        """
        if request.key is None:
            if may_lack and self._open and not self.store.access(None).required:
                return LOCAL, None
            raise BadInput("API Key is Missing" if may_lack else "Invalid API key format")
        key = parse_key(request.key)
        if key is None:
            raise BadInput("Invalid API key format")
        access = self.store.access(key_hash(key))
        if access.project is not None:
            return access.project, access.tag
        if self._open and not access.required:
            return LOCAL, None
        raise BadInput("Invalid API Key")

    def _by_token(self, request: Request) -> Claims:
        if not request.authorization:
            raise BadInput("Bearer Token is Missing")
        claims = self._tokens.read(request.authorization.split()[-1] if request.authorization.split() else "")
        if claims.key is not None and self.store.is_revoked(claims.key):
            raise NotAuthentic("Invalid Token: its API key was revoked")
        self.idle.hear(claims.project, claims.session_id)
        return claims

    def _token(self, session_id: str, project: str, tag: str | None) -> str:
        return self._tokens.issue(Claims(session_id, project, tag), self._clock())

    # Sessions -------------------------------------------------------------------------------------------------------

    def create_session(self, request: Request) -> Deed:
        """POST /v2/create_session."""
        project, tag = self._by_key(request)
        said = session_object(parse(request.body))
        session_id = str(values.uuid(said.get("session_id"), "session_id"))
        self.idle.hear(project, session_id)
        fields = session_fields(said)

        def do() -> object:
            self.store.create_session(project, session_id, fields)
            return {
                "status": SUCCESS,
                "jwt": self._token(session_id, project, tag),
                "session_url": _url(request, session_id),
            }

        return Deed(project, do)

    def reauthorize_jwt(self, request: Request) -> object:
        """POST /v2/reauthorize_jwt."""
        project, tag = self._by_key(request)
        session_id = str(values.uuid(parse(request.body).get("session_id"), "session_id"))
        if not self.store.has_session(project, session_id):
            raise BadInput("Invalid Session Id")
        self.idle.hear(project, session_id)
        return {"status": SUCCESS, "jwt": self._token(session_id, project, tag)}

    def update_session(self, request: Request) -> Deed:
        """POST /v2/update_session."""
        claims = self._by_token(request)
        fields = session_fields(session_object(parse(request.body)))

        def do() -> object:
            totals = self.store.update_session(claims.project, claims.session_id, fields)
            return {
                "status": "success",
                "token_cost": _amount(totals.cost),
                "session_url": _url(request, claims.session_id),
            }

        return Deed(claims.project, do)

    # Agents, events -------------------------------------------------------------------------------------------------

    def create_agent(self, request: Request) -> Deed:
        """POST /v2/create_agent."""
        claims = self._by_token(request)
        said = parse(request.body)
        agent_id = str(values.uuid(said.get("id"), "id"))
        name = values.text(said.get("name"))

        def do() -> object:
            self.store.name_agent(claims.project, claims.session_id, agent_id, name)
            return SUCCESS

        return Deed(claims.project, do)

    def create_events(self, request: Request) -> Deed:
        """POST /v2/create_events."""
        claims = self._by_token(request)
        events = read_events(parse(request.body), claims.session_id)

        def do() -> object:
            self.store.add_events(claims.project, claims.session_id, events)
            return SUCCESS

        return Deed(claims.project, do)

    def update_events(self, request: Request) -> Deed:
        """POST /v2/update_events."""
        claims = self._by_token(request)
        changes = read_events(parse(request.body), claims.session_id, change=True)

        def do() -> object:
            try:
                self.store.change_events(claims.project, claims.session_id, changes)
            except UnknownEvent as error:
                raise BadInput(f"nothing was changed: {error}") from error
            return SUCCESS

        return Deed(claims.project, do)

    def create_thread(self, request: Request) -> object:
        """POST /v2/create_thread: taken note of by the events that name it."""
        self._by_token(request)
        parse(request.body)
        return SUCCESS

    # Reading --------------------------------------------------------------------------------------------------------

    def stats(self, request: Request, session_id: str) -> object:
        """GET /v2/sessions/{id}/stats."""
        project, _ = self._by_key(request, may_lack=True)
        totals = self.store.totals(project, str(values.uuid(session_id, "session id")))
        if totals is None:
            raise BadInput(NOT_THERE)
        return _stats(totals)

    def export(self, request: Request, session_id: str, ours: bool) -> bytes:
        """GET /v2/sessions/{id}/export, as JSON."""
        project, _ = self._by_key(request, may_lack=True)
        rows = self.store.export(project, str(values.uuid(session_id, "session id")), ours)
        if rows is None:
            raise BadInput(NOT_THERE)
        return encode(
            {
                "session": rows.session, "actions": rows.actions, "llms": rows.llms, "tools": rows.tools,
                "errors": rows.errors,
            }
        )  # fmt: skip

    # Time passes ----------------------------------------------------------------------------------------------------

    def sweep(self, project: str) -> Deed | None:
        """Ends sessions of which nothing has come for too long; None if there are none."""
        found = self.store.silent_sessions(project, self.idle.before_us, lambda one: self.idle.is_silent(project, one))

        def do() -> object:
            silent = [one for one in found if self.idle.is_silent(project, one.session_id)]
            return self.store.end_silent(project, silent, self.idle.reason)

        return Deed(project, do) if found else None

    # The rest -------------------------------------------------------------------------------------------------------

    def report_error(self, request: Request) -> None:
        """POST /v2/developer_errors: a client tells of a fault of its own."""
        self._by_key(request, may_lack=True)
        said = parse(request.body)
        self.developer_errors += 1
        if self.developer_errors <= _MOST_LOGGED:
            words = f"{values.text(said.get('type'))}: {values.text(said.get('message'))}"
            logger.warning("agentops_local: a client reports a fault of its own: %r", words[:200])

    def health(self) -> object:
        """GET /health."""
        from agentops_local import __version__

        self.store.check()
        return {"status": "ok", "version": __version__, "developer_errors": self.developer_errors}


def unavailable(error: StoreUnavailable) -> Refusal:
    """What a client is told while the store does not work: nothing of its request is stored, or will be."""
    return Refusal(503, f"{error}; nothing of this request is stored, send it again later", _RETRY_AFTER)


def _url(request: Request, session_id: str) -> str:
    return f"{request.base_url}/drilldown?session_id={session_id}"


def _amount(cost: Decimal | None) -> str:
    """Dollars as a decimal text without an exponent: a client that makes a Decimal of it gets it exactly."""
    return f"{cost.normalize():f}" if cost else "0.00"


def _stats(totals: SessionTotals) -> dict[str, object]:
    return {
        "session_id": totals.session_id,
        "events": totals.events,
        "errors": totals.errors,
        "prompt_tokens": totals.prompt_tokens,
        "completion_tokens": totals.completion_tokens,
        "cost": None if totals.cost is None else float(totals.cost),
    }
