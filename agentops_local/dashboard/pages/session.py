"""A session: how it stands, why it failed, and its events in one of several views."""

from __future__ import annotations

import sqlite3
from importlib import import_module

from agentops_local.analytics import story
from agentops_local.analytics.one_session.asked import asked as asked_of
from agentops_local.analytics.one_session.columns import columns, newest
from agentops_local.analytics.one_session.containing import containing
from agentops_local.analytics.one_session.detail import detail
from agentops_local.analytics.one_session.why import Why, why
from agentops_local.analytics.owners import Owner
from agentops_local.analytics.reading import reading
from agentops_local.analytics.sessions import Summary, pick_session
from agentops_local.dashboard.asking import Asked
from agentops_local.dashboard.pages.scores import given
from agentops_local.dashboard.pages.session_media import screenshot
from agentops_local.errors import WrongUse, shown
from agentops_local.figures import seconds

VIEWS = {
    "waterfall": "Waterfall", "chat": "Chat", "tree": "Tree", "errors": "Errors", "media": "Media",
    "env": "Environment", "raw": "Raw",
}  # fmt: skip

# The run before: of those just before it, the last with the same tags, else the last of all.
BEFORE = """
SELECT id, tags FROM sessions WHERE seq < :seq AND seq >= :seq - 1000 AND id <> ''
ORDER BY tags = (SELECT tags FROM sessions WHERE seq = :seq) DESC, seq DESC LIMIT 1
"""


def session(asked: Asked) -> dict[str, object]:
    """The data of the page.

    Raises:
        NoSuchSession: if it is not there.
        WrongUse: if there is no such view.
    """
    view = asked.one("view", "waterfall") or "waterfall"
    if view not in VIEWS:
        raise WrongUse(f"view must be one of {', '.join(VIEWS)}, not {shown(view)}")
    with asked_of(asked.db, asked.path["id"], priced=True) as (connection, (found,)):
        data = _head(connection, found)
        data["given"] = given(connection, found.seq)
        data["agents"] = [agent["name"] for agent in story.agents(connection, found.seq)]
    reason = why(found.id, db=asked.db)
    data |= {"why": _why(reason), "view": view, "views": VIEWS, "here": f"/sessions/{found.id}"}
    if view != "waterfall":
        module = import_module(f"agentops_local.dashboard.pages.session_{view}")
        data[view] = getattr(module, view)(asked, found, reason)
    return data


def event_columns(asked: Asked) -> dict[str, object]:
    """All events as columns; with `after`, the number of an event, only if there is a later one."""
    after = asked.one("after")
    with reading(asked.db) as connection:
        session_id = pick_session(connection, asked.path["id"])
        if after is not None and after.isdecimal() and newest(connection, session_id) <= int(after[:19]):
            return {"unchanged": True}
        return columns(connection, session_id).to_json()


def matches(asked: Asked) -> dict[str, object]:
    """The numbers of the events that hold a text, `q`."""
    with asked_of(asked.db, asked.path["id"]) as (connection, (found,)):
        return {"events": containing(connection, found.seq, asked.one("q", "") or "")}


def event(asked: Asked) -> dict[str, object]:
    """One event whole.

    Raises:
        NoSuchEvent: if it is not there.
    """
    with asked_of(asked.db, asked.path["id"]) as (connection, (found,)):
        data = detail(connection, found.seq, asked.path["event"])
        if data["pictured"]:
            data["screenshot"] = screenshot(asked, connection, found, asked.path["event"])
        return data


def _head(connection: sqlite3.Connection, found: Summary) -> dict[str, object]:
    host = story.host(connection, found.seq) if _has_host(connection, found.seq) else []
    before = connection.execute(BEFORE, {"seq": found.seq}).fetchone()
    return {
        "session": found.to_json(), "state": found.state, "host": host,
        "before": None if before is None else {"id": before["id"]},
        "processes": len(story.owners(connection, found.seq)),
    }  # fmt: skip


def _has_host(connection: sqlite3.Connection, session: int) -> bool:
    try:
        return bool(story.host_env(connection, session))
    except (sqlite3.Error, ValueError):  # another program's text that is no JSON
        return False


def _why(found: Why) -> dict[str, object]:
    """Why it failed, as far as a banner tells it; all of it is in the view of errors."""
    cause = None if found.cause is None else found.cause.to_json()
    return {
        "verdict": found.verdict, "ended_by": found.ended_by, "ending": _ending(found), "cause": cause,
        "errors": len(found.errors), "recovered": len(found.recovered),
        "others": sum(found.cause is None or one.likeness != found.cause.error.likeness for one in found.others),
        "last_llm": found.last_llm and found.last_llm.to_json(),
        "last_tool": found.last_tool and found.last_tool.to_json(),
        "silent": [{"pid": owner.identity.pid, "program": owner.program} for owner in found.silent],
        "complaints": {
            "times": found.complaints[0], "last": [step.to_json() for step in found.complaints[1]],
        },
    }  # fmt: skip


def _ending(found: Why) -> str:
    """How the session ended, in a sentence or two."""
    one = found.session
    reason = f": {one.end_state_reason}" if one.end_state_reason else ""
    if found.verdict == "running":
        text = f"Still running, after {seconds(one.duration_s)}."
    elif found.ended_by is None:
        died = "none of its processes lives" if found.verdict == "died" else "its processes cannot be seen from here"
        text = f"Nobody ended it, and {died}; last heard of after {seconds((one.last_seen_us - one.init_us) / 1e6)}."
    else:
        by = "by the program" if found.ended_by == "program" else "by the exit of its last process"
        text = f"{one.end_state} after {seconds(one.duration_s)}, ended {by}{reason}."
    broken = [owner for owner in found.owners if owner.exit == "error"]
    if broken:
        text += f" {_process(broken[0])} ended by an exception that nobody caught."
    return text


def _process(owner: Owner) -> str:
    return f"Process {owner.identity.pid}" + (f" ({owner.program})" if owner.program else "")
