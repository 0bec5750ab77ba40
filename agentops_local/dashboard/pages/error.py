"""Errors that are alike, one by one, with what failed and when."""

from __future__ import annotations

from agentops_local.analytics.questions.occurrences import occurrences
from agentops_local.dashboard.asking import Asked
from agentops_local.dashboard.pages.errors import chart

_ROWS = 50
_MOST = 500


def error(asked: Asked) -> dict[str, object]:
    """The data of the page."""
    found = occurrences(
        asked.path["fingerprint"], asked.number("limit", _ROWS, _MOST), where=asked.where(), after=asked.one("after"),
        db=asked.db,
    )  # fmt: skip
    return {**found.to_json(), "chart": chart(found.spread)}
