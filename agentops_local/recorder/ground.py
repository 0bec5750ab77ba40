"""The rows an event stands on: its session, the process that records it, its agent. Each function runs in a transaction
and may run again: what is there already is found, not doubled."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from pathlib import Path

from agentops_local import clock, process
from agentops_local.config import SESSION_VARIABLE
from agentops_local.recorder.state import Place, SessionState

DEFAULT_AGENT = "Default Agent"

_NEXT_SESSION_REVISION = "(SELECT coalesce(max(revision), 0) + 1 FROM sessions)"
_NEXT_AGENT_REVISION = "(SELECT coalesce(max(revision), 0) + 1 FROM agents)"

_INSERT_SESSION = f"""
INSERT OR IGNORE INTO sessions
    (id, init_us, end_us, auto_ended, end_state, end_state_reason, tags, video, key_hash, parent_key_hash, joined,
     revision)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, {_NEXT_SESSION_REVISION})
"""  # noqa: S608 - our own text
_INSERT_OWNER = """
INSERT INTO owners (session, pid, started, boot, host, program, start_us) VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_INSERT_AGENT = f"""
INSERT OR IGNORE INTO agents (session, id, name, revision) VALUES (?, ?, ?, {_NEXT_AGENT_REVISION})
"""  # noqa: S608 - our own text
_UPDATE_SESSION = f"""
UPDATE sessions SET {{}}, revision = {_NEXT_SESSION_REVISION} WHERE seq = ?
"""  # noqa: S608 - our own text


def ground(connection: sqlite3.Connection, epoch: int, state: SessionState) -> Place:
    """Where the session is in this database, written now if it is not there."""
    place = state.place
    if place is not None and place.epoch == epoch:
        return place
    connection.execute(
        _INSERT_SESSION,
        (
            state.id, state.init_us, state.end_us, state.auto_ended, state.end_state, state.end_state_reason,
            json.dumps(state.tags), state.video, state.key_hash, state.parent_key_hash, _joined(state),
        ),
    )  # fmt: skip
    session = connection.execute("SELECT seq FROM sessions WHERE id = ?", (state.id,)).fetchone()[0]
    place = Place(epoch, session, _owner(connection, session, state.opt_out), 0)
    for agent_id, number in connection.execute("SELECT id, seq FROM agents WHERE session = ? ORDER BY seq", (session,)):
        place.default_agent = place.default_agent or number
        place.agents[agent_id] = number
    if not place.default_agent:
        place.default_agent = agent(connection, place, state.default_agent_id, DEFAULT_AGENT)
    for agent_id, name in state.agent_names.items():
        agent(connection, place, agent_id, name)
    state.place = place
    if state.environment is not None:
        environment(connection, place, state)
    return place


def _joined(state: SessionState) -> bool:
    """Whether the session was begun in another database. An id that comes by the environment was not: whoever started
    this process, on this machine, began it."""
    return state.inherited and os.environ.get(SESSION_VARIABLE) != state.id


def _owner(connection: sqlite3.Connection, session: int, opt_out: bool) -> int:
    who = process.current()
    found = connection.execute(
        "SELECT seq FROM owners WHERE session = ? AND pid = ? AND started = ? AND boot = ?", (session, *who)
    ).fetchone()
    if found is not None:
        return int(found[0])
    host = None if opt_out else process.hostname()
    program = None if opt_out or not sys.argv else Path(sys.argv[0]).name or None
    row = (session, *who, host, program, clock.now_us())
    return int(connection.execute(_INSERT_OWNER, row).lastrowid or 0)


def agent(connection: sqlite3.Connection, place: Place, agent_id: str, name: str) -> int:
    """The row number of an agent of the session, written now if it is not there."""
    known = place.agents.get(agent_id)
    if known is None:
        connection.execute(_INSERT_AGENT, (place.session, agent_id, name))
        known = int(
            connection.execute(
                "SELECT seq FROM agents WHERE session = ? AND id = ?", (place.session, agent_id)
            ).fetchone()[0]
        )
        place.agents[agent_id] = known
    return known


def name_agent(connection: sqlite3.Connection, place: Place, agent_id: str, name: str) -> None:
    """Makes an agent known under this name; one that is known under another is renamed."""
    number = agent(connection, place, agent_id, name)
    connection.execute(
        f"UPDATE agents SET name = ?, revision = {_NEXT_AGENT_REVISION} WHERE seq = ? AND name <> ?",  # noqa: S608
        (name, number, name),
    )


def environment(connection: sqlite3.Connection, place: Place, state: SessionState) -> None:
    """Writes the host environment of a session, the lasting part of it once for all sessions that share it."""
    if state.environment is None:
        return
    fingerprint, lasting, moment = state.environment
    connection.execute(
        "INSERT OR IGNORE INTO environments (fingerprint, host_env) VALUES (?, ?)", (fingerprint, lasting)
    )
    number = connection.execute("SELECT id FROM environments WHERE fingerprint = ?", (fingerprint,)).fetchone()[0]
    update(connection, place, "environment = ?, moment = ?", number, moment)


def update(connection: sqlite3.Connection, place: Place, assignments: str, *values: object) -> None:
    """Changes a session's row and raises its revision."""
    connection.execute(_UPDATE_SESSION.format(assignments), (*values, place.session))
