"""The reading side: what the database says of the runs that were recorded, asked from Python.

    from agentops_local import analytics

    analytics.cost(by="model", where=analytics.where(since="7d", tags="nightly"))
    analytics.why("last")
    analytics.query("SELECT model, sum(cost) AS cost FROM llms GROUP BY model").to_pandas()

Every question takes `db`, the path of a database; without it the one of the project around the working directory is
asked. Each command of `agentops-local` that asks something is one of these functions; they are loaded when they are
first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentops_local.analytics.filters import Filter as Filter
    from agentops_local.analytics.filters import parse as where  # noqa: F401 - under another name
    from agentops_local.analytics.one_session.compare import compare as compare
    from agentops_local.analytics.one_session.growth import context as context
    from agentops_local.analytics.one_session.why import why as why
    from agentops_local.analytics.questions.active import active as active
    from agentops_local.analytics.questions.alike import errors as errors
    from agentops_local.analytics.questions.query import query as query
    from agentops_local.analytics.questions.ranking import cost as cost
    from agentops_local.analytics.questions.ranking import top as top
    from agentops_local.analytics.questions.search import search as search
    from agentops_local.analytics.questions.slow import slow as slow
    from agentops_local.analytics.questions.stats import stats as stats
    from agentops_local.analytics.scoring import note as note
    from agentops_local.analytics.scoring import score as score
    from agentops_local.analytics.scoring import scores as scores

_HOMES = {
    "Filter": "filters:Filter",
    "active": "questions.active:active",
    "compare": "one_session.compare:compare",
    "context": "one_session.growth:context",
    "cost": "questions.ranking:cost",
    "errors": "questions.alike:errors",
    "note": "scoring:note",
    "query": "questions.query:query",
    "score": "scoring:score",
    "scores": "scoring:scores",
    "search": "questions.search:search",
    "slow": "questions.slow:slow",
    "stats": "questions.stats:stats",
    "top": "questions.ranking:top",
    "where": "filters:parse",
    "why": "one_session.why:why",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605 - from the one list above


def __getattr__(name: str) -> object:
    """Fetches a question from the module it lives in (PEP 562)."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = home.partition(":")
    value = getattr(import_module(f"{__name__}.{module}"), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
