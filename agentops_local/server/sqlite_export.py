"""Sessions out of a database of ours, in the shape of the v2 API: the same for those recorded here and those collected.

Texts that v2 gives as text are text here: params, returns and logs that were objects are JSON text, tags too. Prompts
and completions say what they are: {"type": "chatml", "messages": ...} for chat messages, {"type": "string", "string":
...} for anything else.
"""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta, timezone

import orjson

from agentops_local.analytics.sessions import NoSuchSession, summary
from agentops_local.server.store import SessionRows, SessionTotals

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_SESSION = """
SELECT s.id, s.init_us, s.end_us, s.tags, s.end_state, s.end_state_reason, s.video,
       json_patch(v.host_env, coalesce(s.moment, '{}')) AS host_env
FROM sessions s LEFT JOIN environments v ON v.id = s.environment WHERE s.id = ? AND s.id <> ''
"""
# The rows of a view with the numbers behind its times: a year before 1000, or before the epoch, is no text in SQLite.
_ROWS = """
SELECT v.*, e.init_us, e.end_us, e.prompt_form, e.completion_form
FROM {} v JOIN events e ON e.seq = v.seq WHERE v.session_id = ? ORDER BY v.seq
"""
_COLUMNS = {
    "actions": (
        "id", "session_id", "agent_id", "action_type", "logs", "screenshot", "params", "returns", "init_timestamp",
        "end_timestamp",
    ),
    "llms": (
        "id", "session_id", "agent_id", "thread_id", "prompt", "completion", "model", "prompt_tokens",
        "completion_tokens", "cost", "promptarmor_flag", "params", "returns", "init_timestamp", "end_timestamp",
    ),
    "tools": (
        "id", "session_id", "agent_id", "name", "logs", "params", "returns", "init_timestamp", "end_timestamp",
    ),
    "errors": (
        "id", "session_id", "trigger_event_id", "trigger_event_type", "error_type", "code", "details", "logs",
        "timestamp",
    ),
}  # fmt: skip
_BEHIND = frozenset({"init_us", "end_us", "prompt_form", "completion_form"})  # what stands for others
# Ours that hold JSON, and what v2 has that we do not.
_JSON = "extra"
_FOREIGN = {"llms": {"promptarmor_flag": None}}

Row = dict[str, object]


def totals(connection: sqlite3.Connection, session_id: str) -> SessionTotals | None:
    """What a session amounts to; None if there is none."""
    try:
        counts = summary(connection, session_id).counts
    except NoSuchSession:
        return None
    priced = counts.kinds["llms"] - counts.unpriced
    return SessionTotals(
        session_id, counts.events, counts.kinds["errors"], counts.prompt_tokens, counts.completion_tokens,
        counts.cost if priced or counts.cost else None,
    )  # fmt: skip


def export(connection: sqlite3.Connection, session_id: str, project_id: str | None, ours: bool) -> SessionRows | None:
    """A session with all its rows; None if there is none. On a connection that sees one moment.

    Args:
        project_id: None for the database's own id.
        ours: with the columns that v2 does not know.
    """
    row = connection.execute(_SESSION, (session_id,)).fetchone()
    if row is None:
        return None
    if project_id is None:
        project_id = str(connection.execute("SELECT value FROM about WHERE key = 'generation'").fetchone()[0])
    session = {
        "id": row["id"],
        "project_id": project_id,
        "project_id_secondary": None,
        "init_timestamp": iso(row["init_us"]),
        "end_timestamp": iso(row["end_us"]),
        "tags": row["tags"],
        "end_state": row["end_state"],
        "end_state_reason": row["end_state_reason"],
        "video": row["video"],
        "host_env": None if row["host_env"] is None else orjson.loads(row["host_env"]),
    }
    rows = {kind: _rows(connection, kind, session_id, ours) for kind in _COLUMNS}
    return SessionRows(session, **rows)


def iso(us: int | None) -> str | None:
    """ISO 8601 in UTC with a year of four digits, whatever the year."""
    return None if us is None else (_EPOCH + timedelta(microseconds=us)).isoformat(timespec="microseconds")


def _rows(connection: sqlite3.Connection, kind: str, session_id: str, ours: bool) -> list[Row]:
    found = []
    for row in connection.execute(_ROWS.format(kind), (session_id,)).fetchall():
        whole: Row = {**dict(row), **_FOREIGN.get(kind, {})}
        begin, end = iso(row["init_us"]), iso(row["end_us"])
        whole["timestamp" if kind == "errors" else "init_timestamp"] = begin
        whole["end_timestamp"] = end
        if kind == "llms":
            whole["prompt"] = _told(row["prompt"], row["prompt_form"], 0)
            whole["completion"] = _told(row["completion"], row["completion_form"], 1)
        if ours:
            if whole[_JSON] is not None:
                whole[_JSON] = orjson.loads(str(whole[_JSON]))
            found.append({name: value for name, value in whole.items() if name not in _BEHIND})
        else:
            found.append({name: whole[name] for name in _COLUMNS[kind]})
    return found


def _told(text: object, form: object, json_form: int) -> Row | None:
    """A prompt or a completion, saying what it is."""
    if not isinstance(text, str) or form is None:
        return None if text is None else {"type": "string", "string": str(text)}
    if form == json_form:
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:  # it was text, and the view gives it as such
            return {"type": "string", "string": text}
        messages = value if isinstance(value, list) else [value]
        if messages and all(isinstance(one, dict) and isinstance(one.get("role"), str) for one in messages):
            return {"type": "chatml", "messages": value}
    return {"type": "string", "string": text}
