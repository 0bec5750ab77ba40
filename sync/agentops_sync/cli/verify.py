"""`agentops-sync verify`: what the server holds of a session, against what was recorded."""

from __future__ import annotations

import click

from agentops_local.analytics.reading import reading
from agentops_local.analytics.uploading import is_served
from agentops_local.cli.common import examples, json_option, pick, print_json, styled
from agentops_local.cli.text import many
from agentops_sync.cli.common import connection_options, settings_of
from agentops_sync.client import Client
from agentops_sync.instance import Settings
from agentops_sync.ledger import Ledger
from agentops_sync.verify import KINDS, Verdicts, Verifier

_SHOWN = 10


@click.command(
    short_help="Compare a session with what the server holds.",
    epilog=examples("agentops-sync verify last", "agentops-sync verify 0190a7c2 --repair"),
)
@click.argument("session")
@connection_options
@click.option("--repair", is_flag=True, help="Send what is missing, and the session's row if it differs.")
@json_option
@click.pass_context
def verify(ctx: click.Context, session: str, repair: bool, as_json: bool) -> None:
    """Compare a session with what the server holds of it: missing, doubled, drifted.

    SESSION is an id, the beginning of one, or `last`. The exit code is 0 if everything that was recorded is there,
    once, as it was sent; with --repair, if what was to be mended has been sent.

    The statistics of AgentOps itself count again whatever it is sent again; what they say too much is told, and cannot
    be mended.
    """
    settings = settings_of(ctx)
    path, number, whole = _find(settings, session)
    timing = settings.timing()
    client = Client(settings.url(), timing.connect, timing.read)
    ledger = Ledger(path, settings.url(), reserve=settings.reserve())
    try:
        verifier = Verifier(ledger, client, settings.authorities(path), timing)
        found = verifier.verify(number)
        again = verifier.repair(number, found) if repair and not found.agrees else 0
    finally:
        client.close()
        ledger.close()
    if as_json:
        print_json({**found.to_json(), "sent_again": again})
    else:
        _tell(found)
    if repair and not found.agrees:
        if not as_json:
            click.echo(f"{many(again, 'event')} of session {whole} made ready to be sent again")
        from agentops_sync.cli.run import once

        if not is_served(path):
            ctx.invoke(once, quiet=as_json, dry_run=False, wait=75.0)
    ctx.exit(int(not found.agrees))


def _find(settings: Settings, name: str) -> tuple:  # type: ignore[type-arg]
    paths = settings.paths()
    if len(paths) > 1:
        raise click.UsageError("verify looks at one database: give one --db")
    with reading(paths[0]) as connection:
        whole = pick(connection, name)
        return paths[0], connection.execute("SELECT seq FROM sessions WHERE id = ?", (whole,)).fetchone()[0], whole


def _tell(found: Verdicts) -> None:
    for kind in KINDS:
        if found.local[kind] or found.there[kind]:
            click.echo(f"{kind:<8} {found.local[kind]:>8,} recorded  {found.there[kind]:>8,} on the server")
    told = {
        "not sent yet": [str(found.waiting)] * bool(found.waiting),
        "missing": found.missing,
        "may be missing (the export was cut)": found.unseen,
        "doubled": found.doubled,
        "drifted": [f"{one.kind} {one.id}: {', '.join(one.fields)}" for one in found.drifted],
    }
    for what, which in told.items():
        if which:
            click.echo(styled(f"{what}: {len(which):,}" if what != "not sent yet" else f"{what}: {which[0]}", fg="red"))
            for line in which[:_SHOWN] if what != "not sent yet" else ():
                click.echo(f"  {line}")
    for kind, count in found.foreign.items():
        click.echo(f"from elsewhere: {count:,} {kind}")
    for name, more in found.stats.items():
        events = many(abs(more), name.removesuffix("s"))
        click.echo(f"the server's statistics say {events} {'more' if more > 0 else 'fewer'} than it holds")
    if found.agrees:
        click.echo(styled("everything recorded is on the server, once, as it was sent", fg="green"))
