"""The tables behind the routes, with the refusals of the real database.

One insert is one statement: all its rows are stored or none. Refusals come in the order of PostgreSQL: the text of
the request first, then the types of its values, then each row, and references to other tables last.
"""

from __future__ import annotations

import json
import random
import re
import threading
import uuid
from collections import Counter
from decimal import Decimal, InvalidOperation
from typing import Any

from tests.fakes.agentops_api.events import KINDS
from tests.fakes.agentops_api.values import Crash, identifier, instant, shown, text

Row = dict[str, Any]

SESSION_COLUMNS = ("init_timestamp", "end_timestamp", "tags", "end_state", "end_state_reason", "video", "host_env")
END_STATES = ("Success", "Fail", "Indeterminate", None)
TRIGGERS = ("actions", "llms", "tools", None)
DEFAULT_AGENT = "Default Agent"
_INT = 1 << 31
_BIGINT = 1 << 63
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


class StoreError(Exception):
    """The database or its interface refused; the text is what clients get to see of it."""

    def __init__(self, code: str | None, message: str, details: str | None = None) -> None:
        self.code = code
        described = {"code": code, "details": details, "hint": None, "message": message}
        super().__init__(str(described) if code else message)


def check_text(value: Any) -> None:
    """What cannot travel to the database as JSON, or be stored as text there."""
    try:
        encoded = json.dumps(value, ensure_ascii=False, allow_nan=False)
        encoded.encode()
    except ValueError as error:  # NaN, infinity and lone surrogates: the library on the way says it, without a code
        raise StoreError(None, str(error)) from None
    if "\\u0000" in encoded and _NUL.search(encoded):
        raise StoreError("22P05", "unsupported Unicode escape sequence", "\\u0000 cannot be converted to text.")


class Store:
    """Every row there is. Each method is one statement."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.sessions: dict[str, Row] = {}
        self.stats: dict[str, Row] = {}
        self.agents: dict[str, Row] = {}
        self.threads: dict[str, Row] = {}
        self.events: dict[str, dict[Any, Row]] = {kind: {} for kind in KINDS}
        self.of_session: dict[tuple[str, str], list[Row]] = {}  # the rows of `events` by kind and session
        self.developer_errors: list[Row] = []
        self.logs: dict[str, str] = {}
        self.mirrored: Counter[tuple[str, str]] = Counter()  # spans in the analytics mirror, by session and kind
        self._errors = 0

    # sessions -------------------------------------------------------------------------------------------------------

    def insert_session(self, session: str, project: str, secondary: str | None, columns: Row) -> None:
        """A new session."""
        row = self._session_columns(columns)
        with self.lock:
            if session in self.sessions:
                raise _duplicate("sessions", session)
            self.sessions[session] = {"id": session, "project_id": project, "project_id_secondary": secondary, **row}

    def replace_session(self, session: str, columns: Row) -> None:
        """Every column of a session anew; nothing if there is no such session."""
        row = self._session_columns(columns)
        with self.lock:
            if session in self.sessions:
                self.sessions[session].update(row)

    @staticmethod
    def _session_columns(columns: Row) -> Row:
        check_text(columns)
        if columns["end_state"] not in END_STATES:
            raise StoreError("22P02", f'invalid input value for enum end_state: "{columns["end_state"]}"')
        row = {name: text(columns[name]) for name in ("tags", "end_state", "end_state_reason", "video")}
        row["host_env"] = columns["host_env"]
        row["init_timestamp"] = _moment(columns["init_timestamp"], "init_timestamp")
        end = columns["end_timestamp"]
        row["end_timestamp"] = None if end is None else _moment(end, "end_timestamp")
        return row

    def delete_session(self, session: str) -> bool:
        """Take a session away with all that hangs on it; whether there was one."""
        with self.lock:
            for kind in KINDS:
                for row in self.of_session.pop((kind, session), ()):
                    self.events[kind].pop(row["id"], None)
            for table in (self.agents, self.threads):
                for key in [key for key, row in table.items() if row["session_id"] == session]:
                    del table[key]
            self.stats.pop(session, None)
            return self.sessions.pop(session, None) is not None

    # agents ---------------------------------------------------------------------------------------------------------

    def upsert_agent(self, agent: str, session: str, name: Any, logs: Any) -> None:
        """An agent, new or replaced; it belongs to whoever wrote last."""
        check_text([name, logs])
        with self.lock:
            if session not in self.sessions:
                raise _missing("agents", "session_id", session, "sessions")
            self.agents[agent] = {"id": agent, "session_id": session, "name": text(name), "logs": text(logs)}

    def upsert_thread(self, thread: str, session: str, agent: str | None) -> None:
        """A thread, likewise."""
        with self.lock:
            if session not in self.sessions:
                raise _missing("threads", "session_id", session, "sessions")
            if agent is not None and agent not in self.agents:
                raise _missing("threads", "agent_id", agent, "agents")
            self.threads[thread] = {"id": thread, "session_id": session, "agent_id": agent}

    def _default_agent(self, session: str, made: list[Row]) -> str:
        for row in (*made, *self.agents.values()):
            if row["session_id"] == session and row["name"] == DEFAULT_AGENT:
                return str(row["id"])
        made.append({"id": str(uuid.uuid4()), "session_id": session, "name": DEFAULT_AGENT, "logs": None})
        return str(made[-1]["id"])

    # events ---------------------------------------------------------------------------------------------------------

    def insert(self, kind: str, rows: list[Row]) -> None:
        """All rows of a kind in one statement."""
        check_text(rows)
        fresh = [_columns(kind, row) for row in rows]
        with self.lock:
            table = self.events[kind]
            agents: list[Row] = []
            if kind != "errors":
                self._check_rows(kind, fresh, agents)
            for row in fresh:
                if row["session_id"] not in self.sessions:
                    raise _missing(kind, "session_id", row["session_id"], "sessions")
            self.agents.update((agent["id"], agent) for agent in agents)
            for row in fresh:
                if kind == "errors":
                    self._errors += 1
                    row["id"] = self._errors
                table[row["id"]] = row
                self.of_session.setdefault((kind, row["session_id"]), []).append(row)

    def _check_rows(self, kind: str, rows: list[Row], agents: list[Row]) -> None:
        seen: set[str] = set()
        for row in rows:
            if row["agent_id"] is None:
                row["agent_id"] = self._default_agent(row["session_id"], agents)
            if row["end_timestamp"] is None:
                raise StoreError("23502", f'null value in column "end_timestamp" of relation "{kind}"')
            if row["id"] in self.events[kind] or row["id"] in seen:
                raise _duplicate(kind, row["id"])
            seen.add(row["id"])
        if kind == "llms":
            return  # an LLM event's agent is not checked
        known = {agent["id"] for agent in agents}
        for row in rows:
            if row["agent_id"] not in self.agents and row["agent_id"] not in known:
                raise _missing(kind, "agent_id", row["agent_id"], "agents")

    def update_event(self, kind: str, row: Row) -> None:
        """Other values for an event that is there; nothing if it is not."""
        check_text(row)
        fresh = _columns(kind, row)
        with self.lock:
            stored = self.events[kind].get(fresh["id"])
            if stored is not None:
                self.of_session[kind, stored["session_id"]].remove(stored)
                stored.update(fresh)
                self.of_session.setdefault((kind, fresh["session_id"]), []).append(stored)

    # stats ----------------------------------------------------------------------------------------------------------

    def insert_stats(self, session: str) -> None:
        """Zeros for a new session."""
        zeros = dict.fromkeys(("events", "prompt_tokens", "completion_tokens", "errors"), 0)
        with self.lock:
            self.stats[session] = {"session_id": session, "cost": None, **zeros}

    def read_stats(self, session: str | None) -> Row:
        """The stats of a session, a copy."""
        if session is None:  # a token that could not be read has this name for its session
            raise StoreError("22P02", 'invalid input syntax for type uuid: "None"')
        with self.lock:
            if session not in self.stats:
                message = "JSON object requested, multiple (or no) rows returned"
                raise StoreError("PGRST116", message, "The result contains 0 rows")
            return dict(self.stats[session])

    def write_stats(self, row: Row) -> None:
        """The stats of a session anew."""
        for name in ("events", "prompt_tokens", "completion_tokens", "errors"):
            _integer(row[name], _INT, "integer")
        with self.lock:
            self.stats[row["session_id"]] = dict(row)

    # reading --------------------------------------------------------------------------------------------------------

    def export(self, session: str, limit: int | None) -> Row:
        """A session's rows: in no order, at most `limit` of each kind, and no word about the rest."""
        found: Row = {}
        with self.lock:
            found["session"] = dict(self.sessions[session])
            for kind in KINDS:
                found[kind] = [dict(row) for row in self.of_session.get((kind, session), ())]
        for kind in KINDS:
            random.Random(session).shuffle(found[kind])
            del found[kind][limit if limit is not None else len(found[kind]) :]
        return found

    def counts(self, session: str) -> Row:
        """How many rows a session has, and its stats."""
        with self.lock:
            stats = self.stats.get(session)
            return {
                "sessions": int(session in self.sessions),
                "agents": sum(row["session_id"] == session for row in self.agents.values()),
                **{kind: len(self.of_session.get((kind, session), ())) for kind in KINDS},
                "stats": {name: value for name, value in stats.items() if name != "session_id"} if stats else None,
            }

    def dump(self) -> Row:
        """Everything, as JSON can say it."""
        with self.lock:
            return {
                **{name: list(map(dict, getattr(self, name).values())) for name in ("sessions", "stats", "agents")},
                **{kind: list(map(dict, self.events[kind].values())) for kind in KINDS},
                "threads": list(map(dict, self.threads.values())),
                "developer_errors": list(self.developer_errors),
                "logs": dict(self.logs),
                "mirrored": [[*key, count] for key, count in self.mirrored.items()],
            }


def _columns(kind: str, row: Row) -> Row:
    """A row in the types of its columns."""
    fresh = dict(row)
    if kind == "errors":
        if row["trigger_event_type"] not in TRIGGERS:
            raise StoreError("22P02", f'invalid input value for enum event_type: "{row["trigger_event_type"]}"')
        _stored_moment(row, "timestamp")
        return fresh
    if kind == "llms":
        _integer(row["prompt_tokens"], _BIGINT, "bigint")
        _integer(row["completion_tokens"], _BIGINT, "bigint")
        fresh["cost"] = _numeric(row["cost"])
    for name in ("params", "returns"):
        fresh[name] = text(row[name])
    _stored_moment(row, "init_timestamp")
    if row["end_timestamp"] is not None:
        _stored_moment(row, "end_timestamp")
    return fresh


def _stored_moment(row: Row, name: str) -> None:
    if not isinstance(row[name], str):  # a text has its right spelling since it was validated
        _moment(row[name], name)


def _moment(value: Any, name: str) -> str:
    if value is None:
        raise StoreError("23502", f'null value in column "{name}"')
    if isinstance(value, str):
        try:
            return instant(value)
        except Crash:
            raise StoreError("22007", f'invalid input syntax for type timestamp with time zone: "{value}"') from None
    raise StoreError("22008", f'date/time field value out of range: "{text(value)}"')


def _integer(value: Any, limit: int, type_name: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise StoreError("22P02", f'invalid input syntax for type {type_name}: "{text(value)}"')
    if not -limit <= value < limit:
        raise StoreError("22003", f'value "{value}" is out of range for type {type_name}')


def _numeric(value: Any) -> float | str | None:
    try:
        return shown(None if value is None else Decimal(str(value)))
    except InvalidOperation:
        raise StoreError("22P02", f'invalid input syntax for type numeric: "{value}"') from None


def _duplicate(table: str, key: str) -> StoreError:
    message = f'duplicate key value violates unique constraint "{table}_pkey"'
    return StoreError("23505", message, f"Key (id)=({key}) already exists.")


def _missing(table: str, column: str, key: Any, other: str) -> StoreError:
    message = f'insert or update on table "{table}" violates foreign key constraint "{table}_{column}_fkey"'
    return StoreError("23503", message, f'Key ({column})=({key}) is not present in table "{other}".')


def known_identifier(value: Any) -> str:
    """A UUID that a statement asks for."""
    try:
        return identifier(value)
    except Crash:
        raise StoreError("22P02", f'invalid input syntax for type uuid: "{value}"') from None
