"""Two runs side by side; where one is missing, the runs to choose from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from agentops_local.analytics.one_session.alignment import Pair
from agentops_local.analytics.one_session.compare import Comparison
from agentops_local.analytics.one_session.compare import compare as ask
from agentops_local.analytics.questions.listing import listing
from agentops_local.analytics.reading import reading
from agentops_local.dashboard.asking import Asked

_CHOICES = 50
_STEPS = 500  # rows of steps that are shown; the others are in the JSON
_AROUND = 2  # steps shown before and after one that differs

IDS = "SELECT p.seq, p.id FROM payloads p WHERE p.seq IN (SELECT value FROM json_each(?))"


def compare(asked: Asked) -> dict[str, object]:
    """The data of the page."""
    a, b = _named(asked)
    if a is None or b is None:
        found = listing("-started", _CHOICES, where=asked.where(), text=asked.one("q"), after=asked.one("after"),
                        before=asked.one("before"), db=asked.db)  # fmt: skip
        return {"chosen": {"a": a, "b": b}, "choices": found.to_json()}
    compared = ask(a, b, db=asked.db)
    rows, left = _steps(asked, compared)
    return {
        "chosen": {"a": compared.a.id, "b": compared.b.id},
        "choices": None,
        **compared.to_json(),
        "rows": rows,
        "left": left,
    }


def _named(asked: Asked) -> tuple[str | None, str | None]:
    """The two runs; of two that were ticked in a list, the older one is A."""
    ticked = asked.all("run")
    if len(ticked) > 1 and not (asked.one("a") or asked.one("b")):
        return ticked[-1], ticked[0]
    rest = iter(ticked)
    return asked.one("a") or next(rest, None), asked.one("b") or next(rest, None)


def _steps(asked: Asked, compared: Comparison) -> tuple[list[dict[str, object]], int]:
    """The steps without those that are far from any difference, and how many rows more there would be."""
    found = list(_shortened(compared.steps.pairs))
    shown = found[:_STEPS]
    seqs = [step.seq for pair, _ in shown if pair is not None for step in (pair.a, pair.b) if step is not None]
    with reading(asked.db) as connection:
        ids = {row["seq"]: row["id"] for row in connection.execute(IDS, (json.dumps(seqs),)).fetchall()}
    return [_row(pair, skipped, ids) for pair, skipped in shown], len(found) - len(shown)


def _row(pair: Pair | None, skipped: int, ids: dict[int, str]) -> dict[str, object]:
    if pair is None:
        return {"skipped": skipped}
    told: dict[str, object] = {"skipped": 0, "mark": _mark(pair)}
    for side, step in (("a", pair.a), ("b", pair.b)):
        told[side] = step and {**step.to_json(), "event_id": ids.get(step.seq)}
    return told


def _mark(pair: Pair) -> str:
    """How the two compare, in a word."""
    if pair.b is None:
        return "only A"
    if pair.a is None:
        return "only B"
    if not pair.alike:
        return "another"
    if not pair.same_given:
        return "asked otherwise"
    return "same" if pair.same_got else "gave another"


def _shortened(pairs: Sequence[Pair]) -> Iterator[tuple[Pair | None, int]]:
    """Pairs; in place of those far from any that is not the same, how many they are."""
    near: set[int] = set()
    for place, pair in enumerate(pairs):
        if not (pair.same_given and pair.same_got):
            near.update(range(place - _AROUND, place + _AROUND + 1))
    skipped = 0
    for place, pair in enumerate(pairs):
        if place not in near:
            skipped += 1
            continue
        if skipped:
            yield None, skipped
            skipped = 0
        yield pair, 0
    if skipped:
        yield None, skipped
