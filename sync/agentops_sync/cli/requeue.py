"""`agentops-sync requeue`: send again what was given up."""

from __future__ import annotations

import click

from agentops_local.analytics.reading import reading
from agentops_local.cli.common import examples, pick
from agentops_local.cli.text import many
from agentops_sync.cli.common import connection_options, settings_of
from agentops_sync.ledger import Ledger
from agentops_sync.requeue import requeue as send_again


@click.command(
    short_help="Send again what was given up.",
    epilog=examples("agentops-sync requeue", "agentops-sync requeue last --uncertain"),
)
@click.argument("session", required=False)
@connection_options
@click.option("--uncertain", is_flag=True, help="Also errors that the server may have: those it will have twice.")
@click.pass_context
def requeue(ctx: click.Context, session: str | None, uncertain: bool) -> None:
    """Send again what was given up: dead letters, sessions in conflict, parked kinds and keys.

    With SESSION (an id, the beginning of one, or `last`) only what belongs to it. A running agentops-sync begins at
    once.
    """
    settings = settings_of(ctx)
    for path in settings.paths():
        number = None
        if session is not None:
            with reading(path) as connection:
                whole = pick(connection, session)
                number = connection.execute("SELECT seq FROM sessions WHERE id = ?", (whole,)).fetchone()[0]
        ledger = Ledger(path, settings.url(), reserve=settings.reserve())
        try:
            again = send_again(ledger, number, uncertain)
        finally:
            ledger.close()
        parts = [
            f"{many(again.dead, 'dead letter')}",
            f"{many(again.uncertain, 'uncertain error')}" if uncertain else "",
            f"{many(again.sessions, 'session')}" if again.sessions else "",
            f"{again.parked:,} parked" if again.parked else "",
        ]
        click.echo(f"{path} → {ledger.url}: {', '.join(filter(None, parts))} to be sent again")
