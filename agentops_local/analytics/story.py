"""What stands behind a session: its host, its processes, its agents."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from agentops_local.analytics.owners import Owner, owners_of
from agentops_local.analytics.reading import iso

_AGENTS = "SELECT id, name FROM agents WHERE session = ? ORDER BY seq"
# The values of the moment are merged over the lasting ones, as any reader of the tables would.
_HOST = """
SELECT json_patch(e.host_env, coalesce(s.moment, '{}')) AS host_env, s.video AS video
FROM sessions s LEFT JOIN environments e ON e.id = s.environment WHERE s.seq = ?
"""


def owners(connection: sqlite3.Connection, session: int) -> list[Owner]:
    """The processes that contributed."""
    return owners_of(connection, session)


def agents(connection: sqlite3.Connection, session: int) -> list[dict[str, str]]:
    """The agents that took part: id and name."""
    return [{"id": row["id"], "name": row["name"]} for row in connection.execute(_AGENTS, (session,)).fetchall()]


def video(connection: sqlite3.Connection, session: int) -> str | None:
    """URL or path of a recording."""
    row = connection.execute(_HOST, (session,)).fetchone()
    return None if row is None else row["video"]


def host_env(connection: sqlite3.Connection, session: int) -> dict[str, Any]:
    """The host environment in the classic shape; empty if it was not recorded."""
    row = connection.execute(_HOST, (session,)).fetchone()
    found = json.loads(row["host_env"]) if row is not None and row["host_env"] is not None else {}
    return found if isinstance(found, dict) else {}


def host(connection: sqlite3.Connection, session: int) -> list[str]:
    """The host in a few words: its name, system, Python, cores and memory."""
    env = host_env(connection, session)
    system, python = _part(env, "OS"), _part(env, "SDK").get("Python Version")
    cores, memory = _part(env, "CPU").get("Total cores"), _part(env, "RAM").get("Total")
    name = " ".join(str(system[key]) for key in ("OS", "OS Release") if system.get(key))
    words = [system.get("Hostname"), name, python and f"Python {python}"]
    words += [cores and f"{cores} cores", memory and f"{memory} RAM"]
    return [str(word) for word in words if word]


def background(connection: sqlite3.Connection, session: int) -> dict[str, object]:
    """All of it, for programs."""
    return {
        "video": video(connection, session),
        "host_env": host_env(connection, session),
        "owners": [
            {
                "pid": owner.identity.pid, "program": owner.program, "host": owner.host,
                "start_timestamp": iso(owner.start_us), "end_timestamp": iso(owner.end_us), "exit": owner.exit,
                "liveness": "left" if owner.end_us is not None else owner.life().value,
            }
            for owner in owners_of(connection, session)
        ],
        "agents": agents(connection, session),
    }  # fmt: skip


def _part(env: dict[str, Any], name: str) -> dict[str, Any]:
    part = env.get(name)
    return part if isinstance(part, dict) else {}
