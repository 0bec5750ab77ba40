"""What a session in a database of ours amounts to."""

from __future__ import annotations

import sqlite3

from agentops_local.analytics.sessions import NoSuchSession, summary
from agentops_local.server.store import SessionTotals


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
