"""`agentops-local cost`: what LLM calls cost."""

from __future__ import annotations

from collections.abc import Iterator

import click

from agentops_local.analytics.filters import Filter
from agentops_local.analytics.groups import Group
from agentops_local.analytics.questions.ranking import BY, Costs
from agentops_local.analytics.questions.ranking import cost as ask
from agentops_local.cli.common import Settings, db_option, examples, print_json, screen_width, styled
from agentops_local.cli.filtering import filter_options
from agentops_local.cli.output import data_options, print_csv, sparkline
from agentops_local.cli.table import Column, Row, table
from agentops_local.cli.text import many
from agentops_local.figures import money, tokens

_NUMBERS = (
    Column("CALLS", right=True), Column("IN", right=True), Column("OUT", right=True),
    Column("CACHED", right=True, spare=2), Column("REASONING", right=True, spare=3), Column("COST", right=True),
    Column("SHARE", right=True), Column("UNPRICED", right=True, spare=1),
)  # fmt: skip
_CSV = (
    "calls", "prompt_tokens", "completion_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens",
    "cost", "unpriced",
)  # fmt: skip


@click.command(
    epilog=examples(
        "agentops-local cost",
        "agentops-local cost --by day --since 2w",
        "agentops-local cost --by tag --model gpt-4o --csv > costs.csv",
    )
)
@click.option("--by", type=click.Choice(BY), default="model", show_default=True, help="What to count by.")
@data_options
@db_option
@click.pass_obj
@filter_options
def cost(settings: Settings, by: str, as_json: bool, as_csv: bool, where: Filter) -> None:
    """Show what LLM calls cost: by model, agent, tag, day.

    And by session or host. A call of a session with several tags counts for each of them. Calls without a price are
    counted as unpriced, never as free; then the sum is what they cost at least.
    """
    found = ask(by, where=where, db=settings.path(), utc=settings.utc)
    if as_json:
        print_json(found.to_json())
    elif as_csv:
        rows = found.to_json()["groups"]
        print_csv((by, *_CSV), rows)  # type: ignore[arg-type]  # a list of objects
    elif not found.total.calls:
        click.echo("no LLM calls")
    else:
        click.echo("\n".join(_report(found)))


def _report(found: Costs) -> Iterator[str]:
    total = found.total
    line = f"{many(total.calls, 'call')}, {money(total.cost, total.unpriced)}"
    unpriced = f" ({many(total.unpriced, 'call')} unpriced)" if total.unpriced and total.cost else ""
    yield styled(line + unpriced, bold=True)
    if found.by == "day" and len(found.groups) > 1:
        yield sparkline([float(group.cost) for group in found.groups.values()])
    yield ""
    columns = (Column(found.by.upper(), least=8), *_NUMBERS)
    yield from table(columns, [_row(name, group, total) for name, group in found.groups.items()], screen_width())


def _row(name: str, group: Group, total: Group) -> Row:
    counted = group.tokens
    share = f"{group.cost_pusd / total.cost_pusd:.0%}" if total.cost_pusd else ""
    return (
        name or "-", f"{group.calls:,}", tokens(counted["prompt_tokens"]), tokens(counted["completion_tokens"]),
        tokens(counted["cache_read_tokens"]) if counted["cache_read_tokens"] else "",
        tokens(counted["reasoning_tokens"]) if counted["reasoning_tokens"] else "",
        money(group.cost, group.unpriced), share, f"{group.unpriced:,}" if group.unpriced else "",
    )  # fmt: skip
