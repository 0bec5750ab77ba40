"""`agentops-sync install-service`: have the system run the daemon."""

from __future__ import annotations

import click

from agentops_local.cli.common import examples
from agentops_sync.cli.common import connection_options, settings_of
from agentops_sync.service import install_service as write_service
from agentops_sync.service import make_service


@click.command(
    "install-service",
    short_help="Have the system run the daemon.",
    epilog=examples("agentops-sync install-service", "agentops-sync install-service --print"),
)
@connection_options
@click.option("--print", "shown", is_flag=True, help="Print the service file, and write nothing.")
@click.pass_context
def install_service(ctx: click.Context, shown: bool) -> None:
    """Write a service of yours that runs `agentops-sync run`: systemd, launchd or the Windows Task Scheduler.

    It names the databases and the endpoint given here, by whole paths; never a key: see `agentops-sync login`. How to
    enable it is printed.
    """
    settings = settings_of(ctx)
    if settings.api_key:
        raise click.UsageError("a service file must hold no key: keep it with `agentops-sync login`")
    paths, endpoint = settings.paths(), settings.endpoint or settings.environ.get("AGENTOPS_API_ENDPOINT")
    if shown:
        click.echo(make_service(paths, endpoint).text, nl=False)
        return
    written, enable = write_service(paths, endpoint)
    for path in written:
        click.echo(f"written: {path}")
    click.echo("to enable it:")
    for command in enable:
        click.echo(f"  {command}")
