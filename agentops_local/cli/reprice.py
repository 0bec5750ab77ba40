"""`agentops-local reprice`: every call priced anew."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone

import click

from agentops_local.analytics.reading import reading
from agentops_local.analytics.totals import dollars
from agentops_local.cli.common import Settings, db_option, examples, json_option, print_json, screen_width
from agentops_local.cli.table import Column, table
from agentops_local.cli.text import many
from agentops_local.figures import money
from agentops_local.pricing.access import opened
from agentops_local.pricing.reprice import Model, Reprice

_COLUMNS = (
    Column("MODEL", least=8), Column("PROVIDER", least=6, spare=2), Column("CALLS", right=True),
    Column("BEFORE", right=True), Column("AFTER", right=True), Column("UNPRICED", right=True, spare=1),
    Column("SOURCE", least=12, spare=3),
)  # fmt: skip


@click.command(
    epilog=examples(
        "agentops-local reprice --dry-run", "agentops-local reprice --as-of 2026-11-01", "agentops-local reprice --json"
    )
)
@click.option("--as-of", metavar="DATE", type=click.DateTime(["%Y-%m-%d"]), help="Take the prices of this day (UTC).")
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@json_option
@db_option
@click.pass_obj
def reprice(settings: Settings, as_of: datetime | None, dry_run: bool, as_json: bool) -> None:
    """Look up every price again, and price all calls anew.

    By the price at the time of each call, or that of --as-of. What a provider or the program itself has reported stays.
    A server keeps the cost that was uploaded to it.
    """
    path = settings.path()
    with reading(path):
        pass  # it is there, and ours
    as_of_us = None if as_of is None else int(as_of.replace(tzinfo=timezone.utc).timestamp()) * 1_000_000
    with opened(path) as access:
        found = Reprice(access, as_of_us, dry_run).run()
    if as_json:
        print_json([_json(one) for one in found])
    else:
        click.echo("\n".join(_report(found, dry_run)))


def _json(one: Model) -> dict[str, object]:
    return {
        "provider": one.provider or None, "model": one.model, "calls": one.calls, "before": float(dollars(one.before)),
        "after": float(dollars(one.after)), "unpriced": one.unpriced, "uploaded": one.uploaded,
        "source": one.source or None,
    }  # fmt: skip


def _report(found: list[Model], dry_run: bool) -> Iterator[str]:
    if not found:
        yield "no call to price"
        return
    rows = [
        (one.model, one.provider, f"{one.calls:,}", money(dollars(one.before)), money(dollars(one.after), one.unpriced),
         f"{one.unpriced:,}" if one.unpriced else "", one.source)
        for one in found
    ]  # fmt: skip
    yield from table(_COLUMNS, rows, screen_width())
    if uploaded := sum(one.uploaded for one in found):
        yield f"{many(uploaded, 'call')} had been uploaded with another cost, which the server keeps"
    if dry_run:
        yield "nothing was changed"
