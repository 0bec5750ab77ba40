"""The events of a session as a tree, some hundred at a time."""

from __future__ import annotations

from agentops_local.analytics.one_session.columns import columns
from agentops_local.analytics.one_session.said import fit
from agentops_local.analytics.one_session.why import Why
from agentops_local.analytics.reading import reading
from agentops_local.analytics.sessions import Summary
from agentops_local.analytics.timeline import lines
from agentops_local.dashboard.asking import Asked

ROWS = 300  # a page
_DEEPEST = 16  # steps to the right
_MOST = 1_000_000


def tree(asked: Asked, found: Summary, reason: Why) -> dict[str, object]:
    """The data of the view."""
    del reason
    with reading(asked.db) as connection:
        told = columns(connection, found.id)
        pages = max(1, -(-told.events // ROWS))
        page = min(asked.number("page", 1, _MOST), pages)
        seqs, depths = _places(told.columns, told.events)
        begin, end = (page - 1) * ROWS, page * ROWS
        known = {line.seq: line for line in lines(connection, seqs[begin:end])}
    failed = set(told.failed)
    rows = []
    for place in range(begin, min(end, told.events)):
        line = known.get(seqs[place])
        if line is None:  # erased in between
            continue
        took = None if line.end_us is None or line.kind == "errors" else (line.end_us - line.init_us) / 1e6
        text = line.given if line.got is None else line.got if line.given is None else f"{line.given} → {line.got}"
        rows.append({
            "seq": line.seq, "id": line.id, "kind": line.kind, "name": line.name or line.kind, "agent": line.agent,
            "level": depths[place] + 1, "indent": min(depths[place], _DEEPEST),
            "at_s": (line.init_us - found.init_us) / 1e6, "took_s": took, "failed": place in failed,
            "text": fit(text or "")[:400],
        })  # fmt: skip
    return {"rows": rows, "page": page, "pages": pages, "events": told.events}


def _places(told: dict[str, int | list[int]], events: int) -> tuple[list[int], list[int]]:
    """The number and the depth of each row."""
    above, steps = told["above"], told["seq"]
    seqs: list[int] = []
    depths: list[int] = []
    for place in range(events):
        step = steps if isinstance(steps, int) else steps[place]
        over = above if isinstance(above, int) else above[place]
        seqs.append(step + (seqs[-1] if seqs else 0))
        depths.append(depths[place - over] + 1 if over else 0)
    return seqs, depths
