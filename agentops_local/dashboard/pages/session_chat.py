"""The chat of a session: a page of one of its conversations."""

from __future__ import annotations

from agentops_local.analytics.one_session.talk import talk
from agentops_local.analytics.one_session.why import Why
from agentops_local.analytics.reading import reading
from agentops_local.analytics.sessions import Summary
from agentops_local.dashboard.asking import Asked

_MOST = 1_000_000


def chat(asked: Asked, found: Summary, reason: Why) -> dict[str, object]:
    """The data of the view."""
    del reason
    chosen = asked.one("conversation")
    conversation = asked.number("conversation", 1, _MOST) - 1 if chosen is not None else None
    with reading(asked.db) as connection:
        return talk(connection, found.seq, conversation, asked.number("page", 1, _MOST), asked.one("event"))
