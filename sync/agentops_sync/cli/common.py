"""What the commands have in common: which databases, which server, under which key."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import NoReturn, TypeVar

import click

from agentops_sync.instance import Settings

F = TypeVar("F", bound=Callable[..., object])


def _keep(ctx: click.Context, parameter: click.Parameter, value: object) -> None:
    """Keeps an option, over what the whole command was given."""
    settings = settings_of(ctx)
    ctx.obj = replace(settings, **{str(parameter.name): value}) if value else settings  # type: ignore[arg-type]


_OPTIONS = (
    click.option(
        "--db", "dbs", multiple=True, metavar="PATH", expose_value=False, callback=_keep,
        help="A database; may be repeated. Default: this project's.",
    ),
    click.option(
        "--endpoint", metavar="URL", expose_value=False, callback=_keep,
        help="The server. Default: AGENTOPS_API_ENDPOINT, else AgentOps itself.",
    ),
    click.option(
        "--api-key", metavar="KEY", expose_value=False, callback=_keep,
        help="For sessions recorded without a key. Others see command lines: AGENTOPS_API_KEY is safer.",
    ),
)  # fmt: skip


def connection_options(command: F) -> F:
    """Adds --db, --endpoint and --api-key, which the whole command takes as well: people write them in either place."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def settings_of(ctx: click.Context) -> Settings:
    """What the user said."""
    return ctx.obj if isinstance(ctx.obj, Settings) else Settings()


def fail(words: str, code: int) -> NoReturn:
    """Ends the command with a line on standard error."""
    click.echo(f"Error: {words}", err=True)
    sys.exit(code)
