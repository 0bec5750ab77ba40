"""`agentops-local active`: what is running now, what seems to be stuck."""

from __future__ import annotations

import click

from agentops_local.analytics.pruning import parse_age
from agentops_local.analytics.questions.active import Active
from agentops_local.analytics.questions.active import active as ask
from agentops_local.cli.common import Settings, db_option, examples, json_option, price, print_json, screen_width
from agentops_local.cli.table import Cell, Column, Row, table
from agentops_local.clock import now_us
from agentops_local.figures import money, seconds

_COLUMNS = (
    Column("SESSION"), Column("STATE"), Column("FOR", right=True), Column("QUIET", right=True),
    Column("PROCESSES", spare=3), Column("LAST EVENT", least=8), Column("EVENTS", right=True),
    Column("ERRORS", right=True, spare=2), Column("COST", right=True), Column("TAGS", least=6, spare=1),
)  # fmt: skip


@click.command(epilog=examples("agentops-local active", "agentops-local active --quiet 2m --json"))
@click.option(
    "--quiet",
    metavar="AGE",
    default="10m",
    show_default=True,
    help="Point out sessions silent for longer: 90s, 10m, 2h.",
)
@json_option
@db_option
@click.pass_obj
def active(settings: Settings, quiet: str, as_json: bool) -> None:
    """List the sessions that run; some may be stuck.

    QUIET is how long ago anything was recorded into a session; a call under way is recorded when it ends, so a quiet
    session waits for a long call, or is stuck. Sessions of other machines are listed as unknown: whether their
    processes live cannot be told from here.
    """
    path = settings.path()
    price(path)
    found = ask(parse_age(quiet), db=path)
    if as_json:
        print_json([one.to_json() for one in found])
    elif not found:
        click.echo("nothing is running")
    else:
        now = now_us()
        click.echo("\n".join(table(_COLUMNS, [_row(one, now) for one in found], screen_width())))


def _row(one: Active, now: int) -> Row:
    of = one.session
    last = of.last_event
    pids = ", ".join(str(owner.identity.pid) for owner in one.processes[:3])
    more = f" and {len(one.processes) - 3} more" if len(one.processes) > 3 else ""
    return (
        of.id[:13], of.state, seconds((now - of.init_us) / 1e6),
        Cell(seconds(one.quiet_s), "red" if one.is_quiet else None, bold=one.is_quiet), pids + more,
        f"{last.kind} {last.name or ''}".strip() if last else "-", f"{of.counts.events:,}",
        f"{of.counts.kinds['errors']:,}", money(of.counts.cost, of.counts.unpriced), ", ".join(of.tags),
    )  # fmt: skip
