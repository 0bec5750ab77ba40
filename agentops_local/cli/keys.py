"""`agentops-local keys`: who may send to the collector."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from agentops_local.analytics.reading import iso
from agentops_local.cli.common import Settings, db_option, examples, json_option, print_json, screen_width
from agentops_local.cli.table import Cell, Column, table
from agentops_local.cli.text import moment
from agentops_local.errors import AgentOpsLocalError
from agentops_local.server import registry
from agentops_local.server.sqlite_writer import SqliteWriter
from agentops_local.server.store import StoreUnavailable

_COLUMNS = (Column("KEY"), Column("PROJECT", least=8), Column("CREATED"), Column("REVOKED"))


@click.group(
    epilog=examples(
        "agentops-local keys add team",
        "agentops-local keys add me --local",
        "agentops-local keys list",
        "agentops-local keys revoke 3f2a91c0",
    )
)
def keys() -> None:
    """Add, list and revoke the API keys of the collector.

    Each key leads to a project, and each project has a database of its own: no project sees another's sessions. As soon
    as one key was ever added, `agentops-local serve` takes registered keys only. A running server needs no restart.
    """


@keys.command(epilog=examples("agentops-local keys add team", "agentops-local keys add me --local"))
@click.argument("name")
@click.option("--local", is_flag=True, help="A key to the database itself: to what is recorded on this machine.")
@db_option
@click.pass_obj
def add(settings: Settings, name: str, local: bool) -> None:
    """Make a key for the project NAME, and print it, once.

    The project is made if there is none of this name; otherwise this is a further key to it. The key is stored nowhere:
    only its hash is.
    """
    with _database(settings) as database:
        key = registry.add_key(database, name, local)
    click.echo(str(key))


@keys.command("list", epilog=examples("agentops-local keys list", "agentops-local keys list --json"))
@json_option
@db_option
@click.pass_obj
def list_(settings: Settings, as_json: bool) -> None:
    """List the keys: how each begins, its project, when it was made and revoked."""
    with _database(settings) as database:
        found = registry.list_keys(database)
    if as_json:
        print_json(
            [
                {"prefix": one.prefix, "project": one.project, "project_id": one.project_id, "local": one.local,
                 "created": iso(one.created_us), "revoked": iso(one.revoked_us)}
                for one in found
            ]
        )  # fmt: skip
    elif not found:
        click.echo("no keys yet: the collector takes any key, from this machine only", err=True)
    else:
        utc = settings.utc
        rows = [
            (one.prefix, f"{one.project} (local)" if one.local else one.project, moment(one.created_us, utc),
             Cell("" if one.revoked_us is None else moment(one.revoked_us, utc), "red"))
            for one in found
        ]  # fmt: skip
        click.echo("\n".join(table(_COLUMNS, rows, screen_width())))


@keys.command(epilog=examples("agentops-local keys revoke 3f2a91c0"))
@click.argument("key")
@db_option
@click.pass_obj
def revoke(settings: Settings, key: str) -> None:
    """Revoke a KEY, given whole or by how it begins. For good, and at once; so are the tokens issued for it."""
    with _database(settings) as database:
        gone = registry.revoke_key(database, key)
    click.echo(f"revoked {gone[0]}" if gone else "it was revoked already", err=True)


@contextmanager
def _database(settings: Settings) -> Iterator[SqliteWriter]:
    """The database; what is wrong with it is told whole, as clients of the collector need not know it."""
    path = settings.path()
    try:
        with SqliteWriter(path) as database:
            yield database
    except StoreUnavailable as error:
        raise AgentOpsLocalError(f"{path} cannot be used: {error.__cause__ or error}") from error
