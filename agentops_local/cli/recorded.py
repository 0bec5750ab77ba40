"""Which of the installed libraries `doctor` finds to be recorded by themselves."""

from __future__ import annotations

from collections.abc import Iterator

from agentops_local.analytics.finding import Finding, Level
from agentops_local.instrumentation.libraries import survey


def library_findings() -> Iterator[Finding]:
    """Each installed library that makes LLM calls: what records it, or why nothing does."""
    for verdict in survey():
        name = f"{verdict.about.distribution} {verdict.version}"
        by = None if verdict.candidate is None else verdict.candidate.distribution
        values = {"library": verdict.about.distribution, "version": verdict.version, "by": by}
        if by is not None:
            own = "itself" if by == verdict.about.distribution else by
            yield Finding(Level.FINE, "LLM calls", f"{name} is recorded, by {own}", values)
        else:
            yield Finding(Level.NOTE, "LLM calls", f"{name} is not recorded: {verdict.reason}", values)
