"""The video of a session, and the screenshots of its actions."""

from __future__ import annotations

import sqlite3

from agentops_local.analytics.one_session.detail import NoSuchEvent
from agentops_local.analytics.one_session.why import Why
from agentops_local.analytics.reading import reading
from agentops_local.analytics.sessions import Summary
from agentops_local.dashboard.asking import Asked
from agentops_local.dashboard.files import Media, found_screenshot, found_video

SHOTS = 24  # a page: each is looked at, whether it is a picture
_MOST = 1_000_000

PICTURED = """
SELECT seq, coalesce(name, kind) AS name, init_us FROM events WHERE session = ? AND screenshot IS NOT NULL
ORDER BY init_us, +seq
"""


def media(asked: Asked, found: Summary, reason: Why) -> dict[str, object]:
    """The data of the view."""
    del reason
    with reading(asked.db) as connection:
        rows = connection.execute(PICTURED, (found.seq,)).fetchall()
        video = found_video(asked, connection, found.seq)
        pages = max(1, -(-len(rows) // SHOTS))
        page = min(asked.number("page", 1, _MOST), pages)
        shots = [
            {
                "seq": row["seq"], "name": row["name"], "at_s": (row["init_us"] - found.init_us) / 1e6,
                **screenshot(asked, connection, found, str(row["seq"])),
            }
            for row in rows[(page - 1) * SHOTS : page * SHOTS]
        ]  # fmt: skip
    return {
        "video": video and _told(video, f"/sessions/{found.id}/video"),
        "shots": shots, "count": len(rows), "page": page, "pages": pages,
    }  # fmt: skip


def screenshot(asked: Asked, connection: sqlite3.Connection, found: Summary, event: str) -> dict[str, object]:
    """The screenshot of an event, as a page tells it: where it is, or why it is not shown."""
    try:
        shot = found_screenshot(asked, connection, found.seq, event)
    except NoSuchEvent:  # erased in between
        shot = None
    if shot is None:
        return {"src": None, "link": None, "named": "", "refused": "it is gone"}
    return _told(shot, f"/sessions/{found.id}/events/{event}/screenshot")


def _told(media: Media, src: str) -> dict[str, object]:
    return {
        "src": src if media.is_here else None, "link": media.link, "named": media.named, "refused": media.refused,
    }  # fmt: skip
