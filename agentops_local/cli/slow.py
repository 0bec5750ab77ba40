"""`agentops-local slow`: where the time went."""

from __future__ import annotations

from collections.abc import Iterator

import click

from agentops_local.analytics.filters import Filter
from agentops_local.analytics.questions.slow import Longest, Slow, Took
from agentops_local.analytics.questions.slow import slow as ask
from agentops_local.analytics.questions.stats import PERCENTS
from agentops_local.cli.common import (
    Settings,
    complete_session,
    db_option,
    examples,
    print_json,
    screen_width,
    styled,
)  # fmt: skip
from agentops_local.cli.filtering import filter_options
from agentops_local.cli.output import data_options, print_csv
from agentops_local.cli.table import Column, Row, table
from agentops_local.cli.text import moment
from agentops_local.figures import seconds

_TOOK = (
    Column("KIND"), Column("NAME", least=8), Column("CALLS", right=True), Column("TIME", right=True),
    Column("SHARE", right=True), Column("P50", right=True), Column("P95", right=True),
    Column("P99", right=True, spare=1),
)  # fmt: skip
_LONGEST = (
    Column("TOOK", right=True), Column("KIND"), Column("NAME", least=8), Column("AGENT", least=6, spare=1),
    Column("STARTED", spare=2), Column("EVENT"), Column("SESSION"),
)  # fmt: skip
_CSV = ("kind", "name", "events", "failed", "duration_s", "self_s", "p50_s", "p95_s", "p99_s")


@click.command(
    epilog=examples(
        "agentops-local slow last",
        "agentops-local slow --since 7d --agent planner",
        "agentops-local slow --json | jq '.longest[0]'",
    )
)
@click.argument("session", shell_complete=complete_session, required=False)
@click.option(
    "-n", "--limit", type=click.IntRange(min=1), default=5, show_default=True, help="How many of the longest calls."
)
@data_options
@db_option
@click.pass_obj
@filter_options
def slow(settings: Settings, session: str | None, limit: int, as_json: bool, as_csv: bool, where: Filter) -> None:
    """Show where the time went, and the longest calls.

    Of one SESSION the time is that in which nothing else was recorded inside a call, so that what stands inside
    another is not counted twice; unaccounted is the time in which no call was under way. Of many sessions it is all
    that the calls took together.
    """
    found = ask(session, limit, where=where, db=settings.path())
    if as_json:
        print_json(found.to_json())
    elif as_csv:
        print_csv(_CSV, [one.to_json() for one in found.took])
    elif not found.took:
        click.echo("no events")
    else:
        click.echo("\n".join(_report(found, settings.utc)))


def _report(found: Slow, utc: bool) -> Iterator[str]:
    if found.duration_s is not None and found.unaccounted_s is not None:
        share = f" ({found.unaccounted_s / found.duration_s:.0%})" if found.duration_s else ""
        line = f"{seconds(found.duration_s)} in all, {seconds(found.unaccounted_s)}{share} unaccounted"
        yield styled(line, bold=True)
        yield ""
    whole = sum(_time(one) for one in found.took)
    yield from table(_TOOK, [_row(one, whole) for one in found.took if one.group.us or one.self_us], screen_width())
    if found.longest:
        yield ""
        yield from table(_LONGEST, [_long(one, utc) for one in found.longest], screen_width())


def _time(one: Took) -> int:
    return one.group.us if one.self_us is None else one.self_us


def _row(one: Took, whole: int) -> Row:
    share = f"{_time(one) / whole:.0%}" if whole else ""
    times = map(seconds, one.group.percentiles(PERCENTS))
    return one.kind, one.name or "-", f"{one.group.events:,}", seconds(_time(one) / 1e6), share, *times


def _long(one: Longest, utc: bool) -> Row:
    started = moment(one.init_us, utc, "%m-%d %H:%M")
    return (
        seconds(one.us / 1e6), one.kind, one.name or "-", one.agent or "", started, one.id[:13], one.session_id[:13]
    )  # fmt: skip
