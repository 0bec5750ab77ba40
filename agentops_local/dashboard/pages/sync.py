"""Uploading: how far it has come, what waits, what was given up and why."""

from __future__ import annotations

from agentops_local.analytics.reading import iso, reading
from agentops_local.analytics.uploading import is_served, reserved, uploads
from agentops_local.clock import now_us
from agentops_local.dashboard.asking import Asked

_DEAD = """
SELECT d.at_us, d.reason, d.words, t.url, p.id AS event_id, p.session_id, p.kind, p.name
FROM dead_letters d JOIN targets t ON t.id = d.target JOIN payloads p ON p.seq = d.event
ORDER BY d.at_us DESC LIMIT 100
"""
_PARKED = (
    "SELECT t.url, p.what, p.name, p.since_us, p.retry_us, p.reason FROM parked p JOIN targets t ON t.id = p.target"
)
_REQUESTS = """
SELECT b.id, t.url, s.id AS session_id, b.kind, json_array_length(b.events) AS events, b.bytes, b.sent_us, b.state,
       b.outcome
FROM batches b JOIN targets t ON t.id = b.target JOIN sessions s ON s.seq = b.session ORDER BY b.id DESC LIMIT 50
"""
_TROUBLED = """
SELECT t.url, s.id AS session_id, d.state, d.reason FROM deliveries d JOIN targets t ON t.id = d.target
JOIN sessions s ON s.seq = d.session WHERE d.state IN ('conflict', 'parked') ORDER BY d.session DESC LIMIT 100
"""


def sync(asked: Asked) -> dict[str, object]:
    """The data of the page."""
    now = now_us()
    with reading(asked.db) as connection:
        targets = [
            {
                "url": one.url, "waiting": one.waiting, "sent": one.sent, "given_up": one.given_up,
                "progress": iso(one.progress_us), "retry": iso(one.retry_us), "is_stuck": one.is_stuck(now),
                "last_error": one.last_error,
            }
            for one in uploads(connection)
        ]  # fmt: skip

        def rows(sql: str) -> list[dict[str, object]]:
            found = [dict(row) for row in connection.execute(sql).fetchall()]
            return [
                {(name[:-3] if name.endswith("_us") else name): (iso(value) if name.endswith("_us") else value)
                 for name, value in row.items()}
                for row in found
            ]  # fmt: skip

        dead, parked, requests, troubled = rows(_DEAD), rows(_PARKED), rows(_REQUESTS), rows(_TROUBLED)
    kept = reserved(asked.db)
    return {
        "daemon": is_served(asked.db), "targets": targets, "dead_letters": dead, "parked": parked,
        "requests": requests, "troubled": troubled, "reserve": None if kept is None else kept.words(),
    }  # fmt: skip
