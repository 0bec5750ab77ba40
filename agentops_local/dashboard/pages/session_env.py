"""Where a session ran: host, packages, processes, agents."""

from __future__ import annotations

import sqlite3

from agentops_local.analytics import story
from agentops_local.analytics.one_session.why import Why
from agentops_local.analytics.reading import reading
from agentops_local.analytics.sessions import Summary
from agentops_local.dashboard.asking import Asked


def env(asked: Asked, found: Summary, reason: Why) -> dict[str, object]:
    """The data of the view."""
    del reason
    with reading(asked.db) as connection:
        try:
            data = story.background(connection, found.seq)
        except (sqlite3.Error, ValueError):  # another program's text that is no JSON
            data = {"video": None, "host_env": {}, "owners": [], "agents": story.agents(connection, found.seq)}
    host = data["host_env"]
    parts = host if isinstance(host, dict) else {}
    return {
        **data,
        "facts": [
            (name, [(str(key), _plain(value)) for key, value in part.items()])
            for name, part in parts.items() if isinstance(part, dict) and name != "Installed Packages"
        ],
        "packages": _packages(parts),
    }  # fmt: skip


def _packages(parts: dict[str, object]) -> list[tuple[str, str]]:
    """Names and versions of what was installed."""
    installed = parts.get("Installed Packages")
    listed = installed.get("Installed Packages", installed) if isinstance(installed, dict) else None
    return sorted((str(name), str(version)) for name, version in listed.items()) if isinstance(listed, dict) else []


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_plain(part)}" for key, part in value.items())
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    return str(value)
