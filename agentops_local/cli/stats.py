"""`agentops-local stats`: totals, latencies and costs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from agentops_local.analytics.filters import Filter
from agentops_local.analytics.groups import Group, ranked
from agentops_local.analytics.questions.stats import PERCENTS, Stats, most
from agentops_local.analytics.questions.stats import stats as gather
from agentops_local.cli.common import (
    Settings,
    complete_session,
    db_option,
    examples,
    json_option,
    print_json,
    screen_width,
    styled,
)  # fmt: skip
from agentops_local.cli.filtering import filter_options
from agentops_local.cli.table import Cell, Column, Row, table
from agentops_local.cli.text import many, one_line
from agentops_local.figures import money, seconds, tokens

_EVENTS = Column("EVENTS", right=True)
_TIMES = (Column("P50", right=True), Column("P95", right=True), Column("P99", right=True, spare=4))
_KINDS = (Column("KIND", least=8), _EVENTS, *_TIMES)
_MODELS = (
    Column("MODEL", least=8), Column("CALLS", right=True), *_TIMES, Column("IN", right=True),
    Column("OUT", right=True), Column("CACHED", right=True, spare=2), Column("REASONING", right=True, spare=3),
    Column("COST", right=True), Column("UNPRICED", right=True, spare=1),
)  # fmt: skip
_TOOLS = (Column("TOOL", least=8), Column("CALLS", right=True), Column("FAILED", right=True), *_TIMES)
_ERRORS = (Column("ERROR", least=8), _EVENTS)
_SCORES = (
    Column("SCORE", least=8), Column("GIVEN", right=True), Column("SESSIONS", right=True),
    Column("AVERAGE", right=True), Column("LOWEST", right=True, spare=1), Column("HIGHEST", right=True, spare=2),
)  # fmt: skip


@click.command(
    epilog=examples(
        "agentops-local stats",
        "agentops-local stats last",
        "agentops-local stats --since 7d --tag nightly",
        "agentops-local stats --json | jq '.models[] | [.model, .cost]'",
    )
)
@click.argument("session", shell_complete=complete_session, required=False)
@json_option
@db_option
@click.pass_obj
@filter_options
def stats(settings: Settings, session: str | None, as_json: bool, where: Filter) -> None:
    """Sum up events, tokens, costs and latencies.

    Of one SESSION (the beginning of its id, or `last`), or of all that the options leave. P50, P95 and P99: half, 95
    and 99 of 100 took no longer; over many sessions they are right to 0.1 %. Costs are summed exactly; calls without a
    price are counted as unpriced.
    """
    found = gather(session, where=where, db=settings.path())
    if as_json:
        print_json(found.to_json())
    else:
        click.echo("\n".join(_report(found)))


def _report(found: Stats) -> Iterator[str]:
    total, counted = found.all, found.all.tokens
    yield styled(f"{many(found.sessions, 'session')}, {many(total.events, 'event')}", bold=True)
    if found.models:
        yield f"  tokens  {counted['prompt_tokens']:,} in, {counted['completion_tokens']:,} out"
        details = [
            f"{counted[name]:,} {text}"
            for name, text in (
                ("cache_read_tokens", "read from the cache"), ("cache_write_tokens", "written to it"),
                ("reasoning_tokens", "for reasoning"),
            )
            if counted[name]
        ]  # fmt: skip
        if details:
            yield f"          of which {', '.join(details)}"
        unpriced = f" ({many(total.unpriced, 'call')} unpriced)" if total.unpriced and total.cost else ""
        yield f"  cost    {money(total.cost, total.unpriced)}{unpriced}"
    if found.calls_per_minute:
        yield f"  pace    {found.calls_per_minute:.2g} LLM calls a minute"
    if found.error_rate:
        yield f"  errors  {found.error_rate:.2%} of events"
    for columns, rows in (
        (_KINDS, [_kind(name, group) for name, group in ranked(found.kinds)]),
        (_MODELS, [_model(name, group) for name, group in ranked(found.models)]),
        (_TOOLS, [_tool(name, group) for name, group in ranked(found.tools)]),
        (_ERRORS, [(Cell(name or "-", "red"), f"{times:,}") for name, times in most(found.errors)]),
        (_SCORES, list(map(_score, found.scores))),
    ):
        if rows:
            yield ""
            yield from table(columns, rows, screen_width())


def _timing(group: Group) -> tuple[str, ...]:
    return f"{group.events:,}", *map(seconds, group.percentiles(PERCENTS))


def _kind(name: str, group: Group) -> Row:
    timing = _timing(group)
    return (name, timing[0], "", "", "") if name == "errors" else (name or "-", *timing)  # an error takes no time


def _model(name: str, group: Group) -> Row:
    counted = group.tokens
    cached = counted["cache_read_tokens"]
    return (
        name or "-", *_timing(group), tokens(counted["prompt_tokens"]), tokens(counted["completion_tokens"]),
        tokens(cached) if cached else "", tokens(counted["reasoning_tokens"]) if counted["reasoning_tokens"] else "",
        money(group.cost, group.unpriced), f"{group.unpriced:,}" if group.unpriced else "",
    )  # fmt: skip


def _tool(name: str, group: Group) -> Row:
    events, *times = _timing(group)
    return name or "-", events, Cell(f"{group.failed:,}", "red" if group.failed else None), *times


def _score(one: dict[str, Any]) -> Row:
    numbers = ("" if one[key] is None else f"{one[key]:.4g}" for key in ("average", "lowest", "highest"))
    return (one_line(one["name"]), f"{one['scores']:,}", f"{one['sessions']:,}", *numbers)
