"""The errors of a session, each with what failed and whether the run got over it."""

from __future__ import annotations

from agentops_local.analytics.one_session.said import fit
from agentops_local.analytics.one_session.steps import shown, steps
from agentops_local.analytics.one_session.why import LOGS, Why
from agentops_local.analytics.reading import reading
from agentops_local.analytics.sessions import Summary
from agentops_local.dashboard.asking import Asked

ROWS = 50  # a page
_MOST = 1_000_000


def errors(asked: Asked, found: Summary, reason: Why) -> dict[str, object]:
    """The data of the view."""
    pages = max(1, -(-len(reason.errors) // ROWS))
    page = min(asked.number("page", 1, _MOST), pages)
    shown_now = reason.errors[(page - 1) * ROWS : page * ROWS]
    with reading(asked.db) as connection:
        failed = steps(connection, [failure.failed for failure in shown_now])
        kept = {failure.seq: connection.execute(LOGS, (failure.seq,)).fetchone() for failure in shown_now}
    rows = []
    for failure in shown_now:
        step = failed.get(failure.failed or 0)
        row = kept[failure.seq]
        logs = None if row is None else shown(row["logs"])
        rows.append({
            **failure.to_json(), "message": fit(failure.message), "agent_name": row and row["agent_name"],
            "fingerprint": failure.likeness.hex(), "logs": None if logs is None else fit(logs),
            "failed": step and {**step.to_json(), "given": fit(step.given or ""), "got": fit(step.got or "")},
            "at_s": (failure.init_us - found.init_us) / 1e6,
        })  # fmt: skip
    return {
        "rows": rows, "page": page, "pages": pages, "looked_at": len(reason.errors),
        "count": found.counts.kinds["errors"],
    }  # fmt: skip
