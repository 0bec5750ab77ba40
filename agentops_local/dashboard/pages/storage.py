"""The database as a file: where it is, what it takes, what lies beside it, and whether it is sound."""

from __future__ import annotations

from agentops_local.analytics.checkup import copies
from agentops_local.analytics.index.file import index_file
from agentops_local.analytics.reading import iso, reading
from agentops_local.dashboard.asking import Asked

_COUNTS = """
SELECT (SELECT count(*) FROM sessions WHERE id <> '') AS sessions, (SELECT coalesce(max(seq), 0) FROM events) AS events,
       (SELECT coalesce(max(id), 0) FROM messages) AS messages, (SELECT coalesce(max(id), 0) FROM blobs) AS texts,
       (SELECT min(init_us) FROM sessions WHERE id <> '') AS oldest, (SELECT max(init_us) FROM sessions) AS newest
"""
_MONTHS = """
SELECT strftime('%Y-%m', init_us / 1000000, 'unixepoch') AS month, count(*) AS sessions
FROM sessions WHERE id <> '' GROUP BY month ORDER BY month DESC LIMIT 24
"""
_ABOUT = "SELECT key, value FROM about WHERE key NOT LIKE 'salvaged%' ORDER BY key"
_LOSSES = "SELECT at_us, events, reason FROM losses ORDER BY id DESC LIMIT 50"


def storage(asked: Asked) -> dict[str, object]:
    """The data of the page. The numbers of rows are the highest given; what was erased leaves gaps."""
    path = asked.db.resolve()
    with reading(asked.db) as connection:
        counts = dict(connection.execute(_COUNTS).fetchone())
        months = [dict(row) for row in connection.execute(_MONTHS).fetchall()]
        about = {row["key"]: row["value"] for row in connection.execute(_ABOUT).fetchall()}
        losses = [
            {"at": iso(row["at_us"]), "events": row["events"], "reason": row["reason"]}
            for row in connection.execute(_LOSSES).fetchall()
        ]
        free = connection.execute("PRAGMA freelist_count").fetchone()[0]
        page = connection.execute("PRAGMA page_size").fetchone()[0]
    oldest, newest = counts.pop("oldest"), counts.pop("newest")
    files = [path, *(path.with_name(f"{path.name}-{end}") for end in ("wal", "shm")), index_file(path), *copies(path)]
    return {
        "path": str(path) if asked.project is None else path.name,
        "files": [{"name": file.name, "bytes": file.stat().st_size} for file in dict.fromkeys(files) if file.is_file()],
        "free_bytes": free * page, "counts": counts, "oldest": iso(oldest), "newest": iso(newest), "months": months,
        "made": iso(about["created_us"]) if isinstance(about.get("created_us"), int) else None,
        "unfinished": [name for name in ("erasing", "scrubbing", "rewrite_due") if name in about],
        "losses": losses,
    }  # fmt: skip
