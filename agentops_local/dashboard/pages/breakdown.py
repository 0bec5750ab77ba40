"""What is used, how long it takes, how often it fails and what it costs: by one thing or another."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import NamedTuple

from agentops_local.analytics.questions.breakdown import Share
from agentops_local.analytics.questions.breakdown import breakdown as ask
from agentops_local.dashboard.asking import Asked
from agentops_local.dashboard.bars import bars
from agentops_local.dashboard.charts import stacked
from agentops_local.errors import WrongUse, shown

_BARS = 20  # that a chart of names has at most


class Column(NamedTuple):
    """A column of the table.

    Attributes:
        label: its head. unit: of its chart. form: how its numbers are written. of: the number of a row.
    """

    label: str
    unit: str
    form: str
    of: Callable[[Share], float | None]


def _tokens(kind: str) -> Callable[[Share], float | None]:
    return lambda share: share.group.tokens[f"{kind}_tokens"]


def _cost(share: Share) -> float | None:
    """None where no call has a price: unknown is not nothing."""
    return None if share.group.unpriced and not share.group.cost_pusd else float(share.group.cost)


def _percentile(place: int) -> Callable[[Share], float | None]:
    return lambda share: share.percentiles[place]


COLUMNS = {
    "calls": Column("Calls", "calls", "count", lambda share: share.count),
    "failed": Column("Failed", "failures", "count", lambda share: share.group.failed),
    "error_rate": Column("Error rate", "failed of a hundred", "percent", lambda share: share.error_rate),
    "p50": Column("p50", "seconds, half were faster", "seconds", _percentile(0)),
    "p95": Column("p95", "seconds, 95 of a hundred were faster", "seconds", _percentile(1)),
    "p99": Column("p99", "seconds, 99 of a hundred were faster", "seconds", _percentile(2)),
    "input": Column("Input", "tokens of prompts", "tokens", _tokens("prompt")),
    "cached": Column("Cached", "tokens read from a cache", "tokens", _tokens("cache_read")),
    "written": Column("Written", "tokens written to a cache", "tokens", _tokens("cache_write")),
    "output": Column("Output", "tokens of completions", "tokens", _tokens("completion")),
    "reasoning": Column("Reasoning", "tokens of reasoning", "tokens", _tokens("reasoning")),
    "cost": Column("Cost", "US dollars", "money", _cost),
    "unpriced": Column("Unpriced", "calls without a price", "count", lambda share: share.group.unpriced),
}
_OF_TOOLS = ("calls", "failed", "error_rate", "p50", "p95", "p99")


def breakdown(asked: Asked) -> dict[str, object]:
    """The data of the page."""
    by = asked.one("by") or "model"
    found = ask(by, where=asked.where(), db=asked.db)
    columns = {name: column for name, column in COLUMNS.items() if by != "tool" or name in _OF_TOOLS}
    sort = asked.one("sort") or {"day": "name", "tool": "-calls"}.get(by, "-cost")
    shares = _sorted(found.shares, sort, columns)
    shown_by = sort.removeprefix("-") if sort.removeprefix("-") in columns else ("calls" if by == "tool" else "cost")
    rows = [one.to_json() for one in shares]
    if by == "day":
        for row, share in zip(rows, shares, strict=True):
            row["next"] = (date.fromisoformat(share.name) + timedelta(days=1)).isoformat()
    return {
        **found.to_json(), "rows": rows, "sort": sort, "charted": shown_by,
        "chart": _chart(by, shares, columns[shown_by]),
    }  # fmt: skip


def _sorted(shares: list[Share], sort: str, columns: dict[str, Column]) -> list[Share]:
    name = sort.removeprefix("-")
    downwards = sort.startswith("-")
    if name == "name":
        return sorted(shares, key=lambda share: share.name, reverse=downwards)
    if name not in columns:
        raise WrongUse(f"sort must be one of name, {', '.join(columns)}, with - before it for the largest first, "
                       f"not {shown(sort)}")  # fmt: skip
    of = columns[name].of
    known = [share for share in shares if of(share) is not None]
    unknown = [share for share in shares if of(share) is None]
    return sorted(known, key=lambda share: (of(share) or 0, share.name), reverse=downwards) + unknown


def _chart(by: str, shares: list[Share], column: Column) -> dict[str, object]:
    """Days from left to right, others as rows; numbers as they are in the table."""
    values = {share.name: column.of(share) for share in shares}
    if by == "day":
        days = sorted(values)
        found = stacked(days, {column.label: [values[day] or 0.0 for day in days]}, column.unit)
        return {"form": column.form, "days": found, "bars": None}
    return {"form": column.form, "days": None, "bars": bars(dict(list(values.items())[:_BARS]), column.unit)}
