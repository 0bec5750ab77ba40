"""Where a text occurs. A search that takes long goes on in a thread of its own, and the page asks again."""

from __future__ import annotations

from agentops_local.dashboard.asking import FILTERS, Asked
from agentops_local.dashboard.searching import SEARCHES, Question

KINDS = ("llms", "tools", "actions", "apis", "errors")
_HITS = 50
_MOST = 500


def search(asked: Asked) -> dict[str, object]:
    """The data of the page: hits, or, while the search goes on, how far it has come."""
    text = asked.one("q") or ""
    kind = asked.one("kind")
    limit = asked.number("limit", _HITS, _MOST)
    data: dict[str, object] = {"q": text, "kind": kind, "kinds": list(KINDS), "limit": limit}
    if not text.strip():
        return {**data, "waiting": None, "hits": None, "is_cut": False}
    choices = tuple((name, tuple(asked.all(name))) for name in FILTERS if asked.all(name))
    found = SEARCHES.ask(Question(asked.db.resolve(), text, kind, limit, choices), asked.where())
    hits = None if found.hits is None else [hit.to_json() for hit in found.hits]
    return {**data, "waiting": found.waiting, "hits": hits, "is_cut": found.hits is not None and found.hits.is_cut}
