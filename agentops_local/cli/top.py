"""`agentops-local top`: the sessions with the most of something."""

from __future__ import annotations

import click

from agentops_local.analytics.filters import Filter
from agentops_local.analytics.questions.ranking import MEASURES, Ranked
from agentops_local.analytics.questions.ranking import top as ask
from agentops_local.cli.common import Settings, db_option, examples, print_json, screen_width
from agentops_local.cli.filtering import filter_options
from agentops_local.cli.output import data_options, print_csv
from agentops_local.cli.table import Cell, Column, Row, table
from agentops_local.cli.text import many, moment
from agentops_local.figures import money, seconds, tokens

_COLUMNS = (
    Column("SESSION"), Column("STATE"), Column("STARTED", spare=2), Column("COST", right=True),
    Column("TOKENS", right=True), Column("EVENTS", right=True), Column("ERRORS", right=True),
    Column("DURATION", right=True), Column("TAGS", least=6, spare=1),
)  # fmt: skip
_CSV = (
    "session_id", "init_timestamp", "state", "tags", "cost", "unpriced", "prompt_tokens", "completion_tokens", "events",
    "calls", "errors", "duration_s",
)  # fmt: skip
_COLOURS = {"Success": "green", "Fail": "red", "died": "red", "running": "cyan"}


@click.command(
    epilog=examples(
        "agentops-local top --since 7d",
        "agentops-local top --by errors --tag nightly",
        "agentops-local top --by duration -n 3 --json",
    )
)
@click.option("--by", type=click.Choice(MEASURES), default="cost", show_default=True, help="What to rank by.")
@click.option("-n", "--limit", type=click.IntRange(min=1), default=10, show_default=True, help="How many sessions.")
@data_options
@db_option
@click.pass_obj
@filter_options
def top(settings: Settings, by: str, limit: int, as_json: bool, as_csv: bool, where: Filter) -> None:
    """List the sessions that cost most, or erred most.

    Or have most tokens or events, or lasted longest.

    Only what the options leave is counted: with --since 7d, what was spent in these days, also by sessions that
    began before.
    """
    found = ask(by, limit, where=where, db=settings.path())
    rows = [one.to_json() for one in found]
    if as_json:
        print_json(rows)
    elif as_csv:
        print_csv(_CSV, rows)
    elif not found:
        click.echo("no sessions")
    else:
        click.echo("\n".join(table(_COLUMNS, [_row(one, settings.utc) for one in found], screen_width())))
        click.echo(f"\n{many(len(found), 'session')} by {by}; `agentops-local show SESSION` shows one")


def _row(one: Ranked, utc: bool) -> Row:
    group = one.group
    count = group.tokens["prompt_tokens"] + group.tokens["completion_tokens"]
    return (
        one.id[:13], Cell(one.state, _COLOURS.get(one.state)), moment(one.init_us, utc, "%m-%d %H:%M"),
        money(group.cost, group.unpriced) if group.calls else "", tokens(count) if count else "",
        f"{group.events:,}", Cell(f"{group.errors:,}", "red" if group.errors else None), seconds(one.duration_s),
        ", ".join(one.tags),
    )  # fmt: skip
