"""What a body says of a session.

The classic client sends its whole session object with every update, null where it has nothing, and an `end_timestamp`
whenever somebody asked for the analytics. So with `is_running: true` a null says nothing, and neither does the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from agentops_local.enums import EndState
from agentops_local.errors import WrongUse
from agentops_local.server import values
from agentops_local.server.body import shown
from agentops_local.server.refusal import BadInput
from agentops_local.server.store import UNSAID, SessionFields, Unsaid

T = TypeVar("T")


def session_object(body: Mapping[str, object]) -> Mapping[str, object]:
    """The value of `session`.

    Raises:
        BadInput: it is missing, or no object.
    """
    if "session" not in body:
        raise BadInput('session is missing: the body must be {"session": {...}}')
    return values.mapping(body["session"], "session")


def session_fields(said: Mapping[str, object]) -> SessionFields:
    """The fields of a session, checked.

    Raises:
        BadInput: one has a value that it cannot have.
    """
    running = said.get("is_running")
    if running is not None and not isinstance(running, bool):
        raise BadInput(f"is_running {shown(running)} must be true or false")
    if running:
        said = {name: value for name, value in said.items() if value is not None}
    host_env = _said(said, "host_env")
    if host_env is not UNSAID and host_env is not None:
        host_env = values.mapping(host_env, "host_env")
    end_state = _end_state(said)
    end_us = values.time_us(said["end_timestamp"], "end_timestamp") if "end_timestamp" in said else UNSAID
    decided = end_state in (EndState.SUCCESS.value, EndState.FAIL.value)
    ends = decided or running is False or (running is None and isinstance(end_us, int))
    if running and not decided:
        end_us = end_state = UNSAID
    return SessionFields(
        init_us=values.time_us(said.get("init_timestamp"), "init_timestamp"),
        end_us=UNSAID if ends and end_us is None else end_us,
        end_state=end_state,
        end_state_reason=_text(said, "end_state_reason"),
        tags=_tags(said),
        video=_text(said, "video"),
        host_env=host_env,
        ends=ends,
        host=_host(host_env),
    )


def _said(said: Mapping[str, object], name: str) -> object:
    return said.get(name, UNSAID)


def _text(said: Mapping[str, object], name: str) -> str | Unsaid | None:
    return values.text(said[name]) if name in said else UNSAID


def _end_state(said: Mapping[str, object]) -> str | Unsaid:
    if "end_state" not in said:
        return UNSAID
    word = said["end_state"]
    if word is None:
        return EndState.INDETERMINATE.value
    try:
        return EndState.parse(word if isinstance(word, str) else shown(word)).value
    except WrongUse as error:
        raise BadInput(str(error)) from error


def _tags(said: Mapping[str, object]) -> list[str] | Unsaid:
    """A list of texts; a text alone is one tag, null is none."""
    tags = _said(said, "tags")
    if tags is UNSAID:
        return UNSAID
    if tags is None:
        return []
    if isinstance(tags, str):
        return [tags]
    if isinstance(tags, list):
        return [values.text(tag) or "" for tag in tags if tag is not None]
    raise BadInput(f"tags must be a list of texts, not {shown(tags)}")


def _host(host_env: object) -> str | None:
    system = host_env.get("OS") if isinstance(host_env, Mapping) else None
    name = system.get("Hostname") if isinstance(system, Mapping) else None
    return name if isinstance(name, str) else None
