"""The command `agentops-sync`. The commands live in modules of their own, loaded when they are called."""

from __future__ import annotations

import click

from agentops_local.cli import LazyGroup, show_version, start
from agentops_sync.cli.common import connection_options

_COMMANDS = {
    "run": "agentops_sync.cli.run:run",
    "once": "agentops_sync.cli.run:once",
    "status": "agentops_sync.cli.status:status",
    "verify": "agentops_sync.cli.verify:verify",
    "requeue": "agentops_sync.cli.requeue:requeue",
    "login": "agentops_sync.cli.login:login",
    "install-service": "agentops_sync.cli.service:install_service",
}

_EPILOG = """\b
Exit codes:
  0  all is sent, or the command has done what was asked
  1  something remains, or it did not work
  2  wrong use: an unknown option, no database, an endpoint that may not be used
  3  another agentops-sync serves the database already
\b
Examples:
  agentops-sync once
  agentops-sync --db a/.agentops/agentops.db --db b/.agentops/agentops.db run
  agentops-sync --dry-run | jq .
"""


@click.group(
    cls=LazyGroup,
    places=_COMMANDS,
    epilog=_EPILOG,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@connection_options
@click.option("--dry-run", is_flag=True, help="Print the requests that `once` would send, and send nothing.")
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=show_version, help="Show the version."
)
@click.pass_context
def cli(ctx: click.Context, dry_run: bool) -> None:
    """Upload what AI agents did to AgentOps or to a collector: each event once, whatever the network does.

    The API key of a session comes from the program that recorded it, by the file of keys (see `login`), from
    AGENTOPS_API_KEY or --api-key. What may leave this machine says the upload policy in `.agentops/sync.toml`.
    """
    if dry_run:
        from agentops_sync.cli.run import once

        ctx.invoke(once, dry_run=True)
        ctx.exit()
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
        ctx.exit(2)


def main() -> None:
    """The console script."""
    start(cli, "agentops-sync")
