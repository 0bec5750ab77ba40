"""The overview: what it costs, what fails, what runs; what most people come for is here without a click."""

from __future__ import annotations

from collections.abc import Callable

from agentops_local.analytics.filters import Filter
from agentops_local.analytics.groups import Counting, Group
from agentops_local.analytics.project import indexed
from agentops_local.analytics.questions.active import active
from agentops_local.analytics.questions.alike import errors
from agentops_local.analytics.questions.ranking import most
from agentops_local.analytics.reading import iso
from agentops_local.analytics.totals import dollars
from agentops_local.analytics.uploading import is_served, uploads
from agentops_local.clock import now_us
from agentops_local.dashboard.asking import Asked
from agentops_local.dashboard.charts import stacked

_DAYS = 400  # that a chart shows at most
_MODELS = 6  # that have a colour of their own


def overview(asked: Asked) -> dict[str, object]:
    """The data of the page."""
    where = asked.where()
    now = now_us()
    with indexed(asked.db) as connection:
        counting = Counting(connection, where)
        sessions = counting.sessions()
        dearest = most(connection, sessions, "cost", 8)
        names = counting.kinds_and_names(spread=False)
        by_day = counting.costs_by_day_and_model()
        before = _period_before(where, now)
        earlier = None if before is None else Counting(connection, before).sessions()
        sent = [
            {"url": one.url, "waiting": one.waiting, "sent": one.sent, "given_up": one.given_up}
            for one in uploads(connection)
        ]
        (ever,) = connection.execute("SELECT count(*) FROM sessions WHERE id <> ''").fetchone()
    whole = _joined(sessions)
    return {
        "tiles": _tiles(len(sessions), whole, earlier),
        "days": _days(by_day),
        "top": [one.to_json() for one in dearest],
        "errors": [one.to_json() for one in errors(limit=6, where=where, db=asked.db)],
        "active": [one.to_json() for one in active(limit=10, db=asked.db, now=now)],
        "models": _shares(names, float(whole.cost)),
        "tools": _failing(names),
        "ever": ever,
        "uploads": {"targets": sent, "daemon": is_served(asked.db)},
        "now": iso(now),
    }


def _period_before(where: Filter, now: int) -> Filter | None:
    """The time as long as the one asked for, just before it."""
    if where.since_us is None:
        return None
    until = now if where.until_us is None else where.until_us
    return Filter(
        where.since_us - (until - where.since_us), where.since_us, where.tags, where.agent, where.model, where.state,
        where.host,
    )  # fmt: skip


def _joined(groups: dict[int, Group]) -> Group:
    whole = Group()
    for group in groups.values():
        whole.join(group)
    return whole


def _tiles(count: int, whole: Group, earlier: dict[int, Group] | None) -> list[dict[str, object]]:
    """The figures, each beside that of the time before."""
    old = None if earlier is None else _joined(earlier)

    def tile(name: str, form: str, of: Callable[[Group], float], unpriced: int = 0) -> dict[str, object]:
        value, before = of(whole), None if old is None else of(old)
        change = (value - before) / before if before else None
        return {"name": name, "form": form, "value": value, "before": before, "change": change, "unpriced": unpriced}

    sessions = tile("sessions", "count", lambda group: count if group is whole else len(earlier or ()))
    return [
        tile("cost", "money", lambda group: float(group.cost), whole.unpriced),
        sessions,
        tile("LLM calls", "count", lambda group: group.calls),
        tile("tokens", "tokens", lambda group: group.tokens["prompt_tokens"] + group.tokens["completion_tokens"]),
        tile("errors", "count", lambda group: group.errors),
    ]


def _days(costs: dict[tuple[str, str], int]) -> dict[str, object]:
    """The cost of each day, by the dearest models, the others together; with its chart."""
    days = sorted({day for day, _ in costs})[-_DAYS:]
    whole: dict[str, int] = {}
    for (_, model), pusd in costs.items():
        whole[model] = whole.get(model, 0) + pusd
    models = sorted((model for model in whole if whole[model]), key=lambda model: (-whole[model], model))
    parts = {model: [model] for model in models[:_MODELS]}
    if models[_MODELS:]:
        parts["others"] = models[_MODELS:]
    series = {
        part: [float(dollars(sum(costs.get((day, model), 0) for model in of))) for day in days]
        for part, of in parts.items()
    }  # fmt: skip
    return {"days": days, "series": series, "chart": stacked(days, series, "US dollars")}


def _failing(names: dict[tuple[str, str], Group]) -> list[dict[str, object]]:
    """The tools that fail most, by how often."""
    tools = [(name, group) for (kind, name), group in names.items() if kind == "tools"]
    rows = sorted(tools, key=lambda item: (-item[1].failed, -item[1].events, item[0]))
    return [
        {"tool": name or None, "calls": group.events, "failed": group.failed, "rate": group.failed / group.events}
        for name, group in rows[:8]
    ]


def _shares(names: dict[tuple[str, str], Group], whole: float) -> list[dict[str, object]]:
    """What each model cost, the dearest first."""
    models = [(name, group) for (kind, name), group in names.items() if kind == "llms"]
    rows = sorted(models, key=lambda item: (-item[1].cost_pusd, -item[1].events, item[0]))
    return [
        {
            "model": name or None, "calls": group.events, "cost": float(group.cost), "unpriced": group.unpriced,
            "share": float(group.cost) / whole if whole else 0.0, "failed": group.failed,
        }
        for name, group in rows[:8]
    ]  # fmt: skip
