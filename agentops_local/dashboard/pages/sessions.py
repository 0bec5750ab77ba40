"""Every run: sorted over all of them, narrowed down by what they have, two of them to be compared."""

from __future__ import annotations

from agentops_local.analytics.questions.listing import listing
from agentops_local.dashboard.asking import Asked

_ROWS = 50
_MOST = 500


def sessions(asked: Asked) -> dict[str, object]:
    """The data of the page."""
    sort = asked.one("sort") or "-started"
    found = listing(
        sort, asked.number("limit", _ROWS, _MOST), where=asked.where(), text=asked.one("q"), after=asked.one("after"),
        before=asked.one("before"), db=asked.db,
    )  # fmt: skip
    return {"sort": sort, **found.to_json()}
