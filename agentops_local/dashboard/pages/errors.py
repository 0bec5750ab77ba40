"""What fails: errors that are alike, counted together, and how many there were at which time."""

from __future__ import annotations

from agentops_local.analytics.questions import alike
from agentops_local.analytics.questions.occurrences import Spread, history
from agentops_local.dashboard.asking import Asked
from agentops_local.dashboard.charts import stacked
from agentops_local.errors import WrongUse, shown

_GROUPS = 100
_MOST = 1_000
_DAY = 86_400


def errors(asked: Asked) -> dict[str, object]:
    """The data of the page."""
    sort = asked.one("sort") or "-events"
    if sort.removeprefix("-") not in alike.ORDERS:
        raise WrongUse(f"sort must be one of {', '.join('-' + order for order in alike.ORDERS)}, not {shown(sort)}")
    limit = asked.number("limit", _GROUPS, _MOST)
    where = asked.where()
    found = alike.errors(limit=limit + 1, by=sort.removeprefix("-"), where=where, db=asked.db)
    spread = history(where=where, db=asked.db)
    return {
        "sort": sort, "groups": [one.to_json() for one in found[:limit]], "more": len(found) > limit,
        "errors": sum(spread.errors), "spread": spread.to_json(), "chart": chart(spread),
    }  # fmt: skip


def chart(spread: Spread) -> dict[str, object]:
    """Errors over time, as bars."""
    return stacked(names(spread), {"errors": spread.errors}, f"errors a {spread.span}, UTC")


def names(spread: Spread) -> list[str]:
    """What the spans of time are called."""
    cut, begins = (10, 0) if spread.seconds >= _DAY else (16, 5)
    if spread.begins_us and spread.begins_us[-1] - spread.begins_us[0] < _DAY * 1_000_000:
        begins = 11 if spread.seconds < _DAY else begins
    told = (str(begin or "")[begins:cut].replace("T", " ") for begin in spread.to_json()["begins"])  # type: ignore[attr-defined]  # a list
    return list(told)
