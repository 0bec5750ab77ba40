"""The routes, and what each does in which order.

Nothing here is one transaction: what was done before a failure stays done. That is the point of the whole package.
"""

from __future__ import annotations

import secrets
import threading
import time
import uuid
from collections.abc import Callable
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

from tests.fakes.agentops_api import events, tokens
from tests.fakes.agentops_api.settings import Poison, Settings
from tests.fakes.agentops_api.store import SESSION_COLUMNS, Row, Store, StoreError, check_text, known_identifier
from tests.fakes.agentops_api.values import Crash, amount, identifier, shown, text, written
from tests.fakes.wire import Answer, Request, json_answer

CRASHED = json_answer(500, {"error": "Internal Server Error"})
SUCCESS = json_answer(200, "Success")
NOT_FOUND = json_answer(404, {"detail": "Not Found"})
NOT_ALLOWED = json_answer(405, {"detail": "Method Not Allowed"})


class Told(Exception):
    """A failure that the server tells the client about: 400 with this text."""


class API:
    """The server's behaviour, without the network."""

    def __init__(self, *keys: str, jwt_secret: str | None = None, settings: Settings | None = None) -> None:
        self.store = Store()
        self.settings = settings or Settings()
        self.projects = {str(uuid.UUID(key)): str(uuid.uuid4()) for key in keys}  # by API key
        self._former: dict[str, str] = {}  # revoked keys
        self.jwt_secret = jwt_secret or secrets.token_hex(20)
        self.poisons: list[Poison] = []
        self.stopping = threading.Event()  # ends every wait
        self._dead_until = 0.0  # tokens that expire before this have been expired by hand
        self._routes: dict[str, tuple[str, Callable[[Request], Answer]]] = {
            "/v2/create_session": ("POST", self._create_session),
            "/v2/sessions": ("POST", self._legacy_create_session),
            "/v2/reauthorize_jwt": ("POST", self._reauthorize),
            "/v2/update_session": ("POST", self._update_session),
            "/v2/create_agent": ("POST", self._create_agent),
            "/v2/create_thread": ("POST", self._create_thread),
            "/v2/create_events": ("POST", self._create_events),
            "/v2/update_events": ("POST", self._update_events),
            "/v2/update_logs": ("PUT", self._update_logs),
            "/v2/developer_errors": ("POST", self._developer_error),
            "/health": ("GET", lambda _: json_answer(200, {"message": "up"})),
        }

    def handle(self, request: Request) -> Answer:
        """Do what a request asks for."""
        route = self._route(request.path)
        if route is None:
            other = request.path[:-1] if request.path.endswith("/") else request.path + "/"
            if self._route(other) is None:
                return NOT_FOUND
            query = f"?{request.query}" if request.query else ""
            location = f"http://{request.headers.get('host', 'localhost')}{other}{query}"
            return Answer(307, headers={"Location": location})
        method, work = route
        if request.method != method:
            return NOT_ALLOWED._replace(headers={"Allow": method})
        try:
            return work(request)
        except tokens.Expired:
            return json_answer(401, {"path": request.path, "message": "Expired Token"})
        except Told as told:
            return json_answer(400, {"path": request.path, "message": str(told)})
        except (Crash, StoreError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError):
            return CRASHED  # what the real code does not foresee, it does not tell either

    def _route(self, path: str) -> tuple[str, Callable[[Request], Answer]] | None:
        if path in self._routes:
            return self._routes[path]
        parts = path.split("/")
        if len(parts) == 5 and parts[:3] == ["", "v2", "sessions"] and parts[3] and parts[4] in ("stats", "export"):
            return "GET", self._stats if parts[4] == "stats" else self._export
        if len(parts) == 4 and parts[:3] == ["", "v2", "ttd"] and parts[3]:
            return "GET", lambda _: json_answer(200, [])
        return None

    # credentials ----------------------------------------------------------------------------------------------------

    def now(self) -> float:
        """The server's clock."""
        return time.time() + self.settings.clock_shift

    def token(self, session: str) -> str:
        """A fresh token for a session."""
        return tokens.sign({"session_id": session, "exp": self.now() + self.settings.token_life}, self.jwt_secret)

    def expire_tokens(self) -> None:
        """Take every token handed out so far for expired."""
        self._dead_until = self.now() + self.settings.token_life

    def revoke(self, key: str) -> None:
        """Forget an API key."""
        self._former[str(uuid.UUID(key))] = self.projects.pop(str(uuid.UUID(key)))

    def restore(self, key: str) -> None:
        """Know a revoked API key again."""
        self.projects[str(uuid.UUID(key))] = self._former[str(uuid.UUID(key))]

    def rotate(self, key: str) -> str:
        """Another API key for the same project."""
        self.revoke(key)
        fresh = str(uuid.uuid4())
        self.projects[fresh] = self._former[str(uuid.UUID(key))]
        return fresh

    def _session(self, request: Request, prefix: str) -> str | None:
        value = request.headers.get("authorization")
        if value is None:
            raise Told(f"{prefix}Bearer Token is Missing")
        token = value.split(" ")[1] if " " in value else None
        if token is None:
            raise Crash("one word")
        found = tokens.session_of(token, self.jwt_secret, self.now(), self._dead_until)
        return None if found is None else known_identifier(found)

    def _project(self, request: Request, prefix: str = "", *, reads_body: bool = True) -> str:
        try:
            key = str(uuid.UUID(request.headers.get("x-agentops-api-key", "")))
        except ValueError:
            raise Told("Invalid API key format") from None
        if reads_body:
            request.json()  # looked at before the key is found to be unknown
        if key not in self.projects:
            raise Told(f"{prefix}Invalid API Key")
        return self.projects[key]

    def _own_session(self, request: Request) -> str:
        if "x-agentops-api-key" not in request.headers:
            raise Told("API Key is Missing")
        project = self._project(request, reads_body=False)
        session = known_identifier(request.path.split("/")[3])
        if self.store.sessions.get(session, {}).get("project_id") != project:
            raise Told("Session does not belong to this project")
        return session

    # sessions -------------------------------------------------------------------------------------------------------

    def _create_session(self, request: Request) -> Answer:
        project = self._project(request, "Error creating session: ")
        parent, secondary = request.headers.get("x-agentops-parent-key"), None
        if parent:
            secondary = self.projects.get(known_identifier(parent))
        sent = request.json()["session"]
        columns = {name: sent.get(name) for name in SESSION_COLUMNS}
        columns["init_timestamp"] = columns["init_timestamp"] or written(datetime.now(timezone.utc))
        session = known_identifier(sent["session_id"])
        self.store.insert_session(session, project, secondary, columns)
        self.store.insert_stats(session)
        self._mirror_session(columns)
        if secondary is not None:
            raise Crash("the mirror takes no parent project")
        jwt = self.token(sent["session_id"])
        return json_answer(200, {"status": "Success", "jwt": jwt, "session_url": _url(request, sent["session_id"])})

    def _legacy_create_session(self, request: Request) -> Answer:
        self._project(request, reads_body=False)
        raise Crash("no route works that nobody uses")

    def _reauthorize(self, request: Request) -> Answer:
        prefix = " Error reauthorizing Api Key: "
        project = self._project(request, prefix)
        sent = request.json()["session_id"]
        if self.store.sessions.get(known_identifier(sent), {}).get("project_id") != project:
            raise Told(f"{prefix}Invalid Session Id")
        return json_answer(200, {"status": "Success", "jwt": self.token(sent)})

    def _update_session(self, request: Request) -> Answer:
        session = self._session(request, "Error posting session: ")
        sent = request.json()["session"]
        columns = {name: sent.get(name) for name in SESSION_COLUMNS}
        if session is None:
            raise Crash("no session")
        self.store.replace_session(session, columns)
        self._mirror_session(columns)
        try:
            cost = self.store.read_stats(session)["cost"]
        except StoreError:
            return json_answer(200, {"status": "success"})
        url = _url(request, session)
        return json_answer(200, {"status": "success", "token_cost": cost or "0.00", "session_url": url})

    @staticmethod
    def _mirror_session(columns: Row) -> None:
        wrong = [name for name in ("end_state_reason", "video") if not isinstance(columns[name], str | None)]
        if (
            wrong
            or not isinstance(columns["host_env"], dict | None)
            or not isinstance(columns["tags"], str | list | None)
        ):
            raise Crash("the mirror knows other types")

    def _stats(self, request: Request) -> Answer:
        session = self._own_session(request)
        try:
            return json_answer(200, self.store.read_stats(session))
        except StoreError:
            zeros = {"events": 0, "cost": "0.00", "prompt_tokens": 0, "completion_tokens": 0, "errors": 0}
            return json_answer(200, zeros)

    def _export(self, request: Request) -> Answer:
        return json_answer(200, self.store.export(self._own_session(request), self.settings.export_limit))

    # agents and the rest --------------------------------------------------------------------------------------------

    def _create_agent(self, request: Request) -> Answer:
        session = self._session(request, "Error creating agent: ")
        sent = request.json()
        name, logs = sent.get("name"), sent.get("logs")
        if session is None:
            raise Crash("no session")
        self.store.upsert_agent(identifier(sent["id"]), session, name, logs)
        if not isinstance(name, str | None) or not isinstance(logs, str | None):
            raise Crash("the mirror wants text")
        self.store.mirrored[session, "agents"] += 1
        return SUCCESS

    def _create_thread(self, request: Request) -> Answer:
        session = self._session(request, "Error creating agent: ")
        sent = request.json()
        agent = sent.get("agent_id")
        if session is None:
            raise Crash("no session")
        self.store.upsert_thread(identifier(sent["id"]), session, None if agent is None else identifier(agent))
        return SUCCESS

    def _update_logs(self, request: Request) -> Answer:
        session = self._session(request, "Error updating logs: ")
        sent = request.json()
        if "logs" not in sent:
            raise Told("Error updating logs: Logs data is missing")
        if session not in self.store.sessions:
            raise Told("Error updating logs: Session not found")
        with self.store.lock:
            self.store.logs[session] = self.store.logs.get(session, "") + sent["logs"]
        return json_answer(200, {"status": "success", "logs_url": _url(request, session)})

    def _developer_error(self, request: Request) -> Answer:
        sent = request.json()
        row = {name: sent.get(name) for name in ("sdk_version", "type", "message", "stack_trace", "host_env")}
        check_text(row)
        key = known_identifier(request.headers.get("x-agentops-api-key"))
        with self.store.lock:
            self.store.developer_errors.append({"api_key": key, **row})
        return Answer(204)

    # events ---------------------------------------------------------------------------------------------------------

    def _create_events(self, request: Request) -> Answer:
        prefix = "Error posting event: "
        session = self._session(request, prefix)
        sent = request.json().get("events")
        batch, refusals = self._converted(sent, session)
        cost = sum((amount(row["cost"]) for row in batch["llms"] if row["cost"] is not None), Decimal(0))
        added = {
            "events": len(sent),
            "prompt_tokens": sum(row["prompt_tokens"] for row in batch["llms"]),
            "completion_tokens": sum(row["completion_tokens"] for row in batch["llms"]),
            "errors": len(batch["errors"]),
        }
        self._mirror(batch, session)
        failures = [self._stored(kind, rows, refusals.get(kind)) for kind, rows in batch.items()]
        failures.append(self._counted(session, cost, added))
        for failure in failures:
            if failure is not None:
                raise Told(f"{prefix}{failure}")
        return SUCCESS

    def _stored(self, kind: str, rows: list[Row], refusal: StoreError | None) -> StoreError | None:
        """Stage 3 for one table: all of its rows, or what the database has against them."""
        try:
            if rows and refusal is None:
                self.store.insert(kind, rows)
        except StoreError as error:
            return error
        return refusal

    def _converted(self, sent: Any, session: str | None) -> tuple[dict[str, list[Row]], dict[str, StoreError]]:
        """Stage 1: the rows by kind, and the kinds that hold poison for the database."""
        batch: dict[str, list[Row]] = {kind: [] for kind in events.KINDS}
        refusals: dict[str, StoreError] = {}
        for event in sent:
            kind = events.kind_of(event)
            if kind == "actions" and not self.settings.actions_work:
                raise Crash("the handler of actions is called with its arguments in the wrong order")
            for poison in self.poisons:
                if poison.marker in str(text(event)):
                    if poison.status == 500:
                        raise Crash("poison")
                    refusals[kind] = StoreError(poison.code, "poison", poison.marker)
            batch[kind].append(events.row_of(kind, event, session))
        return batch, refusals

    def _mirror(self, batch: dict[str, list[Row]], session: str | None) -> None:
        """Stage 2: one event after the other; what was mirrored before a failure stays in the mirror."""
        if any(batch.values()) and (session is None or session not in self.store.sessions):
            raise Crash("no project to mirror to")
        for kind in events.KINDS:
            for row in batch[kind]:
                if self.settings.seconds_per_event:
                    self.stopping.wait(self.settings.seconds_per_event)
                events.validate(kind, row)
                self.store.mirrored[str(session), kind] += 1

    def _counted(self, session: str | None, cost: Decimal, added: dict[str, int]) -> StoreError | None:
        """Stage 3 for the stats, which count what was refused as well."""
        try:
            self._count(session, cost, added)
        except StoreError as error:
            return error
        return None

    def _count(self, session: str | None, cost: Decimal, added: dict[str, int]) -> None:
        """Read the stats, add, write: two clients at once lose what one of them added."""
        stats = self.store.read_stats(session)
        if self.settings.stats_window:
            self.stopping.wait(self.settings.stats_window)
        total = (Decimal(str(stats["cost"])) if stats["cost"] else Decimal(0)) + cost
        stats["cost"] = shown(total if total != 0 else None)
        for name, number in added.items():
            stats[name] += number
        self.store.write_stats(stats)

    def _update_events(self, request: Request) -> Answer:
        session = self._session(request, "Error posting event: ")
        batch, _ = self._converted(request.json().get("events"), session)
        for kind in events.KINDS:
            for row in batch[kind]:
                events.validate(kind, row)
                try:
                    if kind != "errors":  # an error is looked for by an id it has not got
                        self.store.update_event(kind, row)
                except StoreError:
                    pass  # as there: the answer says nothing of it
        return SUCCESS


def _url(request: Request, session: str | None) -> str:
    return f"http://{request.headers.get('host', 'localhost')}/drilldown?session_id={session}"
