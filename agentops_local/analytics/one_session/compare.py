"""Two sessions side by side: what they amount to, what they did step by step, where their conversations part, and in
what they differed before they began."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

from agentops_local.analytics.one_session import contrast
from agentops_local.analytics.one_session.alignment import Alignment, align
from agentops_local.analytics.one_session.asked import Database, asked
from agentops_local.analytics.one_session.contrast import Change, PromptDiff
from agentops_local.analytics.one_session.divergence import MOST, TalkPair, compared, paired, talks
from agentops_local.analytics.reading import added, exact_sum
from agentops_local.analytics.sessions import KINDS, Summary

_TOKENS = ("prompt_tokens", "completion_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
SUMS = f"""
SELECT kind, coalesce(CASE kind WHEN 'llms' THEN model ELSE name END, '') AS name, count(*) AS events,
       {", ".join(map(exact_sum, _TOKENS))}
FROM events WHERE session = ? AND kind IN ('llms', 'tools') GROUP BY 1, 2
"""  # noqa: S608 - our own text


@dataclass(frozen=True)
class Metric:
    """A number of both sessions; None where a session has none."""

    name: str
    a: float | None
    b: float | None

    @property
    def difference(self) -> float | None:
        """How much more B has."""
        return None if self.a is None or self.b is None else self.b - self.a

    def to_json(self) -> dict[str, object]:
        """All of it."""
        return {"name": self.name, "a": self.a, "b": self.b, "difference": self.difference}


@dataclass(frozen=True)
class Comparison:
    """Two sessions side by side.

    Attributes:
        metrics: durations, counts, tokens and costs.
        models, tools: the calls of each.
        steps: what they did, beside each other.
        conversations: the conversations of both in pairs, and where each pair parts.
        alone: how many conversations of A and of B have no partner, or were too many to be compared.
        prompts: what differs in what they began with, for each agent.
        environment, packages: what differs in the host environment.
    """

    a: Summary
    b: Summary
    metrics: tuple[Metric, ...]
    models: tuple[Metric, ...]
    tools: tuple[Metric, ...]
    steps: Alignment
    conversations: tuple[TalkPair, ...]
    alone: tuple[int, int]
    prompts: tuple[PromptDiff, ...]
    environment: tuple[Change, ...]
    packages: tuple[Change, ...]

    @property
    def parting(self) -> TalkPair | None:
        """The first pair of conversations that part; None if none does."""
        return next((pair for pair in self.conversations if pair.divergence is not None), None)

    def to_json(self) -> dict[str, object]:
        """All of it, for programs."""
        parting = self.parting
        return {
            "a": self.a.to_json(),
            "b": self.b.to_json(),
            "metrics": [metric.to_json() for metric in self.metrics],
            "models": [metric.to_json() for metric in self.models],
            "tools": [metric.to_json() for metric in self.tools],
            "steps": self.steps.to_json(),
            "first_diverging_message": parting and parting.divergence and parting.divergence.to_json(),
            "conversations": [pair.to_json() for pair in self.conversations],
            "conversations_alone": list(self.alone),
            "prompts": [one.to_json() for one in self.prompts],
            "environment": [change.to_json() for change in self.environment],
            "packages": [change.to_json() for change in self.packages],
        }


def compare(a: str, b: str, *, db: Database = None) -> Comparison:
    """Two sessions side by side.

    Args:
        a, b: a whole id, a beginning that fits no other, or "last".
        db: the database of both; None for the project's.

    Raises:
        DatabaseUnusable: if there is no such database.
        NoSuchSession: if there is no such session.
        Ambiguous: if a beginning fits several.
    """
    with asked(db, a, b, priced=True) as (connection, (one, other)):
        return _comparison(connection, one, other)


def _comparison(connection: sqlite3.Connection, a: Summary, b: Summary) -> Comparison:
    one, other = _sums(connection, a.seq), _sums(connection, b.seq)
    pairs, left_a, left_b = paired(talks(connection, a.seq), talks(connection, b.seq))
    looked = pairs[:MOST]
    skipped = len(pairs) - len(looked)
    environment, packages = contrast.environment(connection, a.seq, b.seq)
    return Comparison(
        a,
        b,
        tuple(_metrics(a, b, one, other)),
        tuple(_calls(one.models, other.models)),
        tuple(_calls(one.tools, other.tools)),
        align(connection, a.seq, b.seq),
        tuple(compared(connection, *pair) for pair in looked),
        (len(left_a) + skipped, len(left_b) + skipped),
        tuple(found for pair in contrast.leading(looked) for found in contrast.prompts(connection, *pair)),
        tuple(environment),
        tuple(packages),
    )


@dataclass
class _Sums:
    """Tokens by kind, and the calls of each model and tool."""

    tokens: dict[str, int]
    models: dict[str, int]
    tools: dict[str, int]


def _sums(connection: sqlite3.Connection, session: int) -> _Sums:
    found = _Sums(dict.fromkeys(_TOKENS, 0), {}, {})
    for row in connection.execute(SUMS, (session,)).fetchall():
        names = found.models if row["kind"] == "llms" else found.tools
        names[row["name"]] = row["events"]
        for token in _TOKENS:
            found.tokens[token] += added(row, token)
    return found


def _metrics(a: Summary, b: Summary, one: _Sums, other: _Sums) -> Iterator[Metric]:
    yield Metric("duration_s", a.duration_s, b.duration_s)
    yield Metric("events", a.counts.events, b.counts.events)
    for kind in KINDS:
        yield Metric(kind, a.counts.kinds[kind], b.counts.kinds[kind])
    for name in _TOKENS:
        yield Metric(name, one.tokens[name], other.tokens[name])
    yield Metric("cost", _cost(a), _cost(b))
    yield Metric("unpriced", a.counts.unpriced, b.counts.unpriced)


def _cost(found: Summary) -> float | None:
    """None where no call has a price: unknown is not nothing."""
    return None if found.counts.unpriced and not found.counts.cost else float(found.counts.cost)


def _calls(one: dict[str, int], other: dict[str, int]) -> Iterator[Metric]:
    for name in sorted(one.keys() | other.keys(), key=lambda name: (-one.get(name, 0) - other.get(name, 0), name)):
        yield Metric(name, one.get(name, 0), other.get(name, 0))
