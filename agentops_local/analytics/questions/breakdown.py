"""What is used, how long it takes, how often it fails and what it costs: by model, tool, agent, tag, host or day."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from agentops_local.analytics.filters import Filter
from agentops_local.analytics.groups import Counting, Group, Groups
from agentops_local.analytics.project import indexed
from agentops_local.analytics.questions.stats import PERCENTS
from agentops_local.errors import WrongUse, shown

BY = ("model", "tool", "agent", "tag", "host", "day")
_ONE_KIND = {"model": "llms", "tool": "tools"}  # which alone are counted, where it is by their names

# How many LLM calls took how long.
SPREAD = """
SELECT code, sum(events) FROM idx.spread WHERE what IN (SELECT id FROM idx.names WHERE kind = 'llms')
GROUP BY code HAVING sum(events) > 0
"""


@dataclass(frozen=True)
class Share:
    """Events that are counted together.

    Attributes:
        name: a model, a tool and so on; "" where none was named.
        group: the events: of a model its calls, of a tool its calls, else of every kind.
        count: how many: of a model, a tool their calls, else the LLM calls.
        percentiles: seconds within which 50, 95 and 99 of a hundred of these were done; None if none has an end.
        cost_share: of the cost of all, from 0 to 1.
    """

    name: str
    group: Group
    count: int
    percentiles: tuple[float | None, ...]
    cost_share: float

    @property
    def tried(self) -> int:
        """How many events could fail: all but the errors."""
        return self.group.events - self.group.errors

    @property
    def error_rate(self) -> float | None:
        """How many of a hundred of them failed, from 0 to 1; None if there are none."""
        return self.group.failed / self.tried if self.tried else None

    def to_json(self) -> dict[str, object]:
        """Everything, with times in seconds and the cost in dollars."""
        times = dict(zip(PERCENTS, self.percentiles, strict=True))
        return {
            "name": self.name or None, "calls": self.count, "events": self.group.events, "failed": self.group.failed,
            "error_rate": self.error_rate, **{f"p{percent}_s": took for percent, took in times.items()},
            **self.group.tokens, "cost": float(self.group.cost), "cost_share": self.cost_share,
            "unpriced": self.group.unpriced, "duration_s": self.group.us / 1e6,
        }  # fmt: skip


@dataclass(frozen=True)
class Breakdown:
    """All of them.

    Attributes:
        by: what they are counted by, one of `BY`.
        shares: the most used first; by day in their order. By tag, an event counts for each tag of its session.
        total: over all of them, each event once.
    """

    by: str
    shares: list[Share]
    total: Share

    def to_json(self) -> dict[str, object]:
        """Everything, for programs."""
        return {"by": self.by, "rows": [one.to_json() for one in self.shares], "total": self.total.to_json()}


def breakdown(
    by: str = "model", *, where: Filter | None = None, db: Path | str | None = None, utc: bool = False
) -> Breakdown:
    """What is used, how long it takes, how often it fails and what it costs, by one of `BY`.

    Args:
        where: which events; see `filters.parse`.
        db: the database; None for that of the project around the working directory.
        utc: whether days are those of UTC instead of local ones.

    Raises:
        WrongUse: `by` is none of them.
        DatabaseUnusable: there is no database.
    """
    if by not in BY:
        raise WrongUse(f"by must be one of {', '.join(BY)}, not {shown(by)}")
    kind = _ONE_KIND.get(by)
    with indexed(db) as connection:
        counting = Counting(connection, where or Filter())
        if by in ("agent", "host", "day"):  # an event is in one of them: together they are all
            groups = _counted(counting, by, utc)
            total = _joined(groups.values())
        else:
            summed = by == "tag" and not counting.is_narrowed  # by SQLite: there are many durations of each name
            named = counting.kinds_and_names(spread=not summed)
            calls = {name: group for (of, name), group in named.items() if of == (kind or "llms")}
            groups = _counted(counting, by, utc) if by == "tag" else calls
            total = _joined(group for (of, _), group in named.items() if kind in (None, of))
            total.spread = dict(connection.execute(SPREAD).fetchall()) if summed else _joined(calls.values()).spread
    whole = _share("", total, total, kind)
    shares = [_share(name, group, total, kind) for name, group in groups.items()]
    order: Callable[[Share], object] = lambda share: (-share.count, -share.group.events, share.name)  # noqa: E731
    if by == "day":
        order = lambda share: share.name  # noqa: E731 - as above
    return Breakdown(by, sorted(shares, key=order), whole)  # type: ignore[arg-type]  # either can be compared


def _counted(counting: Counting, by: str, utc: bool) -> Groups:
    if by == "day":
        return counting.days(utc, spread=True)
    return {"agent": counting.agents, "tag": counting.tags, "host": counting.hosts}[by](spread=True)


def _joined(groups: Iterable[Group]) -> Group:
    found = Group()
    for group in groups:
        found.join(group)
    return found


def _share(name: str, group: Group, total: Group, kind: str | None) -> Share:
    count = group.calls if kind is None else group.events
    share = group.cost_pusd / total.cost_pusd if total.cost_pusd else 0.0
    return Share(name, group, count, tuple(group.percentiles(PERCENTS)), share)
