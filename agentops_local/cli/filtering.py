"""The options that narrow a question down, the same for every command."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from agentops_local.cli.common import Settings

if TYPE_CHECKING:
    from agentops_local.analytics.filters import Filter

F = TypeVar("F", bound=Callable[..., object])

STATES = ("success", "fail", "indeterminate", "running", "died", "unknown")  # analytics.sessions.STATES, not loaded yet
_OPTIONS = (
    click.option(
        "--since", metavar="WHEN", help="Only what began since: 90m, 12h, 7d, 2w, today, yesterday, 2026-01-31."
    ),
    click.option("--until", metavar="WHEN", help="Only what began before this; as --since."),
    click.option(
        "--tag", "tags", metavar="TAG", multiple=True, help="Only sessions with this tag; of several, with all of them."
    ),
    click.option("--agent", metavar="NAME", help="Only what the agent of this name did."),
    click.option("--model", metavar="MODEL", help="Only LLM calls of this model."),
    click.option("--state", type=click.Choice(STATES, case_sensitive=False), help="Only sessions in this state."),
    click.option("--host", metavar="HOST", help="Only what processes on this host recorded."),
    click.option(
        "--score",
        "scores",
        metavar="SCORE",
        multiple=True,
        help="Only sessions with such a score: 'helpful>=0.5', thumb=up, a name alone; of several, with all of them.",
    ),
)


def filter_options(command: F) -> F:
    """Adds `--since --until --tag --agent --model --state --host --score`; the command gets one argument, `where`."""

    @functools.wraps(command)
    def narrowed(settings: Settings, *args: Any, **kwargs: Any) -> object:
        return command(settings, *args, where=_where(settings, kwargs), **kwargs)

    for option in reversed(_OPTIONS):
        option(narrowed)
    return narrowed  # type: ignore[return-value]  # it takes `where` in place of the options


def _where(settings: Settings, options: dict[str, Any]) -> Filter:
    from agentops_local.analytics import filters

    names = ("since", "until", "tags", "agent", "model", "state", "host", "scores")
    return filters.parse(**{name: options.pop(name) for name in names}, utc=settings.utc)
