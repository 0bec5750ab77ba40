"""The database against the model: what is cheap to compare after every step, and all the rest."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

from agentops_local import clock
from tests.reliability.tools.model import Model

_SESSIONS = """
SELECT id, tags, end_state, end_state_reason, video, end_us IS NOT NULL, auto_ended FROM sessions
WHERE id <> '' ORDER BY seq
"""
_OWNERS = (
    "SELECT s.id, o.pid, o.exit FROM owners o JOIN sessions s ON s.seq = o.session WHERE s.id <> '' ORDER BY o.seq"
)
_AGENTS = """
SELECT s.id, a.id, a.name, a.seq = (SELECT min(seq) FROM agents b WHERE b.session = a.session)
FROM agents a JOIN sessions s ON s.seq = a.session WHERE s.id <> '' ORDER BY a.seq
"""
_EVENTS = """
SELECT e.id, s.id, o.pid FROM events e JOIN sessions s ON s.seq = e.session JOIN owners o ON o.seq = e.owner
WHERE s.id <> '' ORDER BY e.seq
"""
_VIEWS = {
    "llms": "id, session_id, agent_id, prompt, completion, model, prompt_tokens, completion_tokens, params",
    "tools": "id, session_id, agent_id, name, params, returns, logs",
    "actions": "id, session_id, agent_id, action_type, params, returns, logs",
    "errors": "id, session_id, agent_id, error_type, code, details, trigger_event_id, trigger_event_type, timestamp",
}
_JSON = ("prompt", "completion", "params", "returns", "details", "logs")  # columns that hold JSON where it is no text


def seen(db: Path) -> dict[str, Any]:
    """What the database holds, but for payloads."""
    with closing(sqlite3.connect(f"{db.as_uri()}?mode=ro", uri=True)) as connection:
        execute = connection.execute
        if not execute("SELECT 1 FROM sqlite_schema").fetchall():  # who made it was killed before its first commit
            return wanted(Model())
        agents = execute(_AGENTS).fetchall()
        return {
            "sessions": [(id, json.loads(tags), *rest) for id, tags, *rest in execute(_SESSIONS)],
            "owners": sorted(execute(_OWNERS).fetchall()),
            "default agents": [(session, name) for session, _, name, first in agents if first],
            "agents": sorted((session, id, name) for session, id, name, first in agents if not first),
            "events": [(str(UUID(bytes=id)), session, pid) for id, session, pid in execute(_EVENTS)],
        }


def wanted(model: Model) -> dict[str, Any]:
    """What it must hold."""
    rows = []
    for one in model.sessions.values():
        state, reason, alone = one.end or ("Indeterminate", None, False)
        rows.append((one.id, one.tags, state, reason, one.video, one.end is not None, alone))
    return {
        "sessions": rows,
        "owners": sorted((one.id, pid, bye) for one in model.sessions.values() for pid, bye in one.owners.items()),
        "default agents": [(id, "Default Agent") for id in model.sessions],
        "agents": sorted((one.id, id, name) for one in model.sessions.values() for id, name in one.agents.items()),
        "events": [(id, event["session"], event["pid"]) for id, event in model.events.items()],
    }


def difference(found: dict[str, Any], due: dict[str, Any]) -> str:
    """Where two of them differ, in words; empty where they do not."""
    return "\n".join(
        f"{name}: there is {[one for one in found[name] if one not in due[name]]}, there should be "
        f"{[one for one in due[name] if one not in found[name]]}, of {len(found[name])} and {len(due[name])}"
        for name in due
        if found[name] != due[name]
    )


def misfits(db: Path, model: Model) -> dict[str, int]:
    """How many events are lost and doubled."""
    there = Counter(id for id, _, _ in seen(db)["events"])
    return {"lost": len(model.events.keys() - there.keys()), "doubled": sum(times - 1 for times in there.values())}


def check_whole(db: Path, model: Model) -> None:
    """The database is sound, and every payload, prompt and time is what was given to record."""
    with closing(sqlite3.connect(f"{db.as_uri()}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        assert [tuple(row) for row in connection.execute("PRAGMA integrity_check")] == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("SELECT count(*) FROM losses").fetchone()[0] == 0
        rows = {
            row["id"]: {"kind": kind, **dict(row)}
            for kind, columns in _VIEWS.items()
            for row in connection.execute(f"SELECT {columns} FROM {kind}")
        }
    due = _rows(model)
    assert rows.keys() == due.keys()
    for id, row in due.items():
        assert {name: _comparable(name, rows[id][name]) for name in row} == row, id


def _rows(model: Model) -> dict[str, dict[str, Any]]:
    """The rows of the views, as far as the model can tell."""
    found: dict[str, dict[str, Any]] = {}
    taken: set[tuple[str, int]] = set()
    for id, event in model.events.items():
        row = {"session_id": event["session"]}
        known = set(_VIEWS[event["kind"]].split(", "))
        row |= {name: _exact(value) for name, value in event.items() if name in known and name != "agent_id"}
        if event.get("agent_id") is not None:  # else it is the default agent's
            row["agent_id"] = event["agent_id"]
        if event["kind"] == "errors":
            at = clock.parse_us(event["init_timestamp"])
            assert at is not None
            while (event["session"], at) in taken:  # a tie moves on by 1 µs
                at += 1
            taken.add((event["session"], at))
            trigger = event.get("trigger")
            kind = None if trigger is None else (model.events | model.erased)[trigger]["kind"]
            row |= {"timestamp": clock.to_iso(at), "trigger_event_id": trigger, "trigger_event_type": kind}
        found[id] = {"kind": event["kind"], **row}
    return found


def _exact(value: Any) -> Any:
    """A value so that 1, 1.0 and true are not equal."""
    return value if isinstance(value, str) or value is None else json.dumps(value)


def _comparable(name: str, value: Any) -> Any:
    if name in _JSON and isinstance(value, str) and value[:1] in ("{", "["):
        return json.dumps(json.loads(value))
    return _exact(value)
