"""The command `agentops-local`. The commands live in modules of their own, loaded when they are called: so one that
cannot be loaded breaks no other, and `--version` answers at once."""

from __future__ import annotations

import sys
from importlib import import_module

import click

from agentops_local.cli.common import Settings

_COMMANDS = {
    "run": "agentops_local.cli.run:run",
    "sessions": "agentops_local.cli.sessions:sessions",
    "show": "agentops_local.cli.show:show",
    "tail": "agentops_local.cli.tail:tail",
    "stats": "agentops_local.cli.stats:stats",
    "cost": "agentops_local.cli.cost:cost",
    "top": "agentops_local.cli.top:top",
    "errors": "agentops_local.cli.errors:errors",
    "why": "agentops_local.cli.why:why",
    "slow": "agentops_local.cli.slow:slow",
    "compare": "agentops_local.cli.compare:compare",
    "context": "agentops_local.cli.growth:context",
    "active": "agentops_local.cli.active:active",
    "score": "agentops_local.cli.score:score",
    "search": "agentops_local.cli.search:search",
    "sql": "agentops_local.cli.sql:sql",
    "export": "agentops_local.cli.export:export",
    "import": "agentops_local.cli.take_in:take_in",
    "pack": "agentops_local.cli.merging:pack",
    "merge": "agentops_local.cli.merging:merge",
    "replay": "agentops_local.cli.replay:replay",
    "reprice": "agentops_local.cli.reprice:reprice",
    "rm": "agentops_local.cli.rm:rm",
    "erase": "agentops_local.cli.erase:erase",
    "prune": "agentops_local.cli.prune:prune",
    "backup": "agentops_local.cli.backup:backup",
    "restore": "agentops_local.cli.restore:restore",
    "doctor": "agentops_local.cli.doctor:doctor",
    "dashboard": "agentops_local.cli.serve:dashboard",
    "serve": "agentops_local.cli.serve:serve",
    "keys": "agentops_local.cli.keys:keys",
    "demo": "agentops_local.cli.demo:demo",
}

_EPILOG = """\b
Exit codes:
  0  done
  1  it did not work, or (doctor) something is wrong
  2  wrong use: an unknown option, an ambiguous session
\b
Examples:
  agentops-local sessions
  agentops-local show last
  agentops-local --db runs/agentops.db stats --json
\b
Shell completion, bash (zsh and fish alike):
  eval "$(_AGENTOPS_LOCAL_COMPLETE=bash_source agentops-local)"
"""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for.

    Args:
        places: where each command is, as "module:attribute", in the order in which the help lists them.
    """

    def __init__(self, *args: object, places: dict[str, str], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # what click.Group takes
        self._places = places

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands there are."""
        return [name for name in self._places if self.get_command(ctx, name) is not None]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command, imported now; None if there is no such command or its module is not part of this installation."""
        del ctx
        module, _, attribute = self._places.get(cmd_name, "").partition(":")
        if not module:
            return None
        try:
            command = getattr(import_module(module), attribute)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
            return None
        return command if isinstance(command, click.Command) else None

    def invoke(self, ctx: click.Context) -> object:
        """Runs a command; what it cannot do is told in a line and ends with exit code 1, wrong use with 2."""
        import sqlite3

        from agentops_local.errors import AgentOpsLocalError, WrongUse

        try:
            return super().invoke(ctx)
        except WrongUse as error:
            raise click.UsageError(str(error)) from error
        except AgentOpsLocalError as error:
            raise click.ClickException(str(error)) from error
        except sqlite3.Error as error:
            advice = "" if "is full" in str(error) else ": `agentops-local doctor` tells more of the database"
            raise click.ClickException(f"{error}{advice}") from error
        except BrokenPipeError:
            raise  # click knows what that means
        except OSError as error:
            raise click.ClickException(str(error)) from error


def show_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    """Prints the version and ends the command."""
    if wanted and not ctx.resilient_parsing:
        from agentops_local import __version__

        click.echo(f"{ctx.info_name} {__version__}")
        ctx.exit()


@click.group(cls=LazyGroup, places=_COMMANDS, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--db",
    metavar="PATH",
    help="The database. Default: AGENTOPS_LOCAL_DB, else .agentops/agentops.db of the project around this folder.",
)
@click.option("--utc", is_flag=True, help="Show times in UTC instead of local time.")
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=show_version, help="Show the version."
)
@click.pass_context
def cli(ctx: click.Context, db: str | None, utc: bool) -> None:
    """Look at what AI agents did: recorded in this project, read from its database, offline."""
    ctx.obj = Settings(db, utc)


def main() -> None:
    """The console script."""
    start(cli, "agentops-local")


def start(command: click.Command, name: str) -> None:
    """Runs a command as the program of that name."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:  # a terminal that lacks a character must not end the command
            reconfigure(errors="backslashreplace")
    command(prog_name=name)
