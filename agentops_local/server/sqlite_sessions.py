"""Sessions and agents in a database of ours. Each function runs in a transaction, and may run again."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from hashlib import blake2b

from agentops_local import clock
from agentops_local.recorder import ground
from agentops_local.recorder.state import Place
from agentops_local.server.body import encode
from agentops_local.server.store import UNSAID, SessionFields

Work = Callable[[sqlite3.Connection, int], None]

UNNAMED = "Unnamed agent"
UPLOAD = "upload"  # the program of an owner that is not of this machine

# Values that a host environment has at one moment only, as agentops_local.host_env divides them.
_MOMENTARY: Mapping[str, frozenset[str]] = {
    "CPU": frozenset({"CPU Usage"}),
    "RAM": frozenset({"Available", "Used", "Percentage"}),
}
_MOMENTARY_WHOLE = "Disk"

_NEXT_REVISION = "(SELECT coalesce(max(revision), 0) + 1 FROM sessions)"
_INSERT = f"INSERT OR IGNORE INTO sessions (id, init_us, revision) VALUES (?, ?, {_NEXT_REVISION})"  # noqa: S608
_ROW = "SELECT seq, end_us, end_state_reason, tags, video, environment FROM sessions WHERE id = ?"
# Of a pid 0 nobody can tell whether it lives, so the session counts as unknown until somebody ends it.
_OWNER = "SELECT seq FROM owners WHERE session = ? AND pid = 0"
_INSERT_OWNER = """
INSERT INTO owners (session, pid, started, boot, host, program, start_us) VALUES (?, 0, '', '', ?, ?, ?)
"""
_LEAVE = "UPDATE owners SET end_us = ?, exit = 'end' WHERE seq = ? AND end_us IS NULL"
# An end of a collected session that came by itself: nobody has said it, so it yields to whatever is said.
_ENDED_ITSELF = """
SELECT 1 FROM sessions s WHERE s.seq = ? AND s.auto_ended AND s.end_us IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM owners o WHERE o.session = s.seq AND o.pid <> 0)
"""
_REJOIN = "UPDATE owners SET end_us = NULL, exit = NULL WHERE seq = ?"
_AGENTS = "SELECT seq, id, name FROM agents WHERE session = ? ORDER BY seq"


def place_of(
    connection: sqlite3.Connection, epoch: int, session_id: str, init_us: int | None, host: str | None = None
) -> Place:
    """Where a session is, with its agents; made if it is not there.

    Args:
        init_us: when it began, should it be made; None: now.
    """
    row = connection.execute("SELECT seq FROM sessions WHERE id = ?", (session_id,)).fetchone()
    if row is None:
        connection.execute(_INSERT, (session_id, clock.now_us() if init_us is None else init_us))
        row = connection.execute("SELECT seq FROM sessions WHERE id = ?", (session_id,)).fetchone()
    session = int(row[0])
    owner = connection.execute(_OWNER, (session,)).fetchone()
    if owner is None:
        made = connection.execute(_INSERT_OWNER, (session, host, UPLOAD, clock.now_us())).lastrowid
        owner = (int(made or 0),)
    place = Place(epoch, session, int(owner[0]), 0)
    for number, agent_id, name in connection.execute(_AGENTS, (session,)).fetchall():
        place.agents[agent_id] = number
        if name == ground.DEFAULT_AGENT and not place.default_agent:
            place.default_agent = number
    return place


def need_default_agent(connection: sqlite3.Connection, place: Place) -> None:
    """Makes the agent of events that name none. Not before there is one: a recorder that uploads sends its own."""
    if not place.default_agent:
        place.default_agent = ground.agent(connection, place, str(clock.new_id()), ground.DEFAULT_AGENT)


def create(session_id: str, fields: SessionFields) -> Work:
    """A session, or what the one that is there lacks."""

    def run(connection: sqlite3.Connection, epoch: int) -> None:
        place = place_of(connection, epoch, session_id, fields.init_us, fields.host)
        if fields.ends:
            _reopen(connection, place)
        _, end_us, reason, tags, video, environment = connection.execute(_ROW, (session_id,)).fetchone()
        found: dict[str, object] = {}
        if tags == "[]" and fields.tags is not UNSAID and fields.tags:
            found["tags"] = json.dumps(list(fields.tags))
        if video is None and fields.video not in (UNSAID, None):
            found["video"] = fields.video
        if reason is None and fields.end_state_reason not in (UNSAID, None):
            found["end_state_reason"] = fields.end_state_reason
        if environment is None and fields.host_env is not UNSAID and fields.host_env is not None:
            found |= _environment(connection, fields.host_env)
        if end_us is None and fields.ends:
            found |= _end(connection, place, fields, None)
        _set(connection, place, found)

    return run


def update(session_id: str, fields: SessionFields) -> Work:
    """What is said, in place of what was there."""

    def run(connection: sqlite3.Connection, epoch: int) -> None:
        place = place_of(connection, epoch, session_id, fields.init_us, fields.host)
        if fields.ends or fields.end_us is not UNSAID:
            _reopen(connection, place)
        end_us = connection.execute(_ROW, (session_id,)).fetchone()[1]
        found: dict[str, object] = {} if fields.init_us is None else {"init_us": fields.init_us}
        if fields.tags is not UNSAID:
            found["tags"] = json.dumps(list(fields.tags))
        for name in ("video", "end_state_reason", "end_us", "end_state"):
            if (said := getattr(fields, name)) is not UNSAID:
                found[name] = said
        if fields.host_env is not UNSAID:
            found |= _environment(connection, fields.host_env)
        if fields.ends:
            found |= _end(connection, place, fields, end_us)
        _set(connection, place, found)

    return run


def name_agent(session_id: str, agent_id: str, name: str | None) -> Work:
    """An agent under a name; without one, under the name it has."""

    def run(connection: sqlite3.Connection, epoch: int) -> None:
        place = place_of(connection, epoch, session_id, None)
        if name is None:
            ground.agent(connection, place, agent_id, UNNAMED)
        else:
            ground.name_agent(connection, place, agent_id, name)

    return run


def leave(connection: sqlite3.Connection, place: Place) -> None:
    """The client has left the session."""
    connection.execute(_LEAVE, (clock.now_us(), place.owner))


def _reopen(connection: sqlite3.Connection, place: Place) -> None:
    """Takes an end away that came by itself, reason and all."""
    if connection.execute(_ENDED_ITSELF, (place.session,)).fetchone() is not None:
        connection.execute(_REJOIN, (place.owner,))
        ground.update(connection, place, "end_us = NULL, end_state_reason = NULL, auto_ended = 0")


def _end(connection: sqlite3.Connection, place: Place, fields: SessionFields, before: int | None) -> dict[str, object]:
    """The columns of an end, with which the client has left. One without a time keeps the time it had, so that it may
    be said twice."""
    now = clock.now_us()
    leave(connection, place)
    end_us = fields.end_us if isinstance(fields.end_us, int) else before
    found: dict[str, object] = {"end_us": now if end_us is None else end_us, "auto_ended": 0}
    if fields.end_state is not UNSAID:
        found["end_state"] = fields.end_state
    return found


def _environment(connection: sqlite3.Connection, host_env: Mapping[str, object] | None) -> dict[str, object]:
    """The columns of a host environment: the lasting part of it is stored once for all sessions that share it."""
    if host_env is None:
        return {"environment": None, "moment": None}
    lasting, moment = _divided(host_env)
    text = encode(lasting).decode()
    fingerprint = f"collected:{blake2b(text.encode(), digest_size=16).hexdigest()}"
    connection.execute("INSERT OR IGNORE INTO environments (fingerprint, host_env) VALUES (?, ?)", (fingerprint, text))
    (number,) = connection.execute("SELECT id FROM environments WHERE fingerprint = ?", (fingerprint,)).fetchone()
    return {"environment": number, "moment": encode(moment).decode() if moment else None}


def _divided(host_env: Mapping[str, object]) -> tuple[dict[str, object], dict[str, object]]:
    """A host environment in two parts, which merge (RFC 7396) into what it was. A null would not survive the merging,
    so a part with one in it is left where it is."""
    lasting: dict[str, object] = {}
    moment: dict[str, object] = {}
    for name, part in host_env.items():
        lasting[name] = part
        if not isinstance(part, dict) or _holds_null(part):
            continue
        if name == _MOMENTARY_WHOLE and part:
            del lasting[name]
            moment[name] = part
        elif name in _MOMENTARY:
            moving = {key: value for key, value in part.items() if key in _MOMENTARY[name]}
            if moving:
                moment[name] = moving
                lasting[name] = {key: value for key, value in part.items() if key not in moving}
    return lasting, moment


def _holds_null(value: object) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_null, value.values()))
    return value is None


def _set(connection: sqlite3.Connection, place: Place, found: Mapping[str, object]) -> None:
    """Sets columns, and raises the revision if that changes anything."""
    if not found:
        return
    names = ", ".join(found)
    was = connection.execute(f"SELECT {names} FROM sessions WHERE seq = ?", (place.session,)).fetchone()  # noqa: S608
    if tuple(was) != tuple(found.values()):
        ground.update(connection, place, ", ".join(f"{name} = ?" for name in found), *found.values())
