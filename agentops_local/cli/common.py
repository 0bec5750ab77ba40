"""What the commands have in common: the settings of the whole command, the database, sessions by name, JSON."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    import sqlite3

    from click.shell_completion import CompletionItem

F = TypeVar("F", bound=Callable[..., object])

# Within JSON these stand in strings only, where an escape means the same; a terminal might obey them.
_UNSAFE = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


@dataclass
class Settings:
    """The options of the whole command."""

    db: str | None = None
    utc: bool = False

    def path(self) -> Path:
        """Where the database is, or would be."""
        from agentops_local.store.location import find_database

        return find_database(self.db)


def complete_session(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Sessions whose id begins so, newest first, for the shell."""
    from click.shell_completion import CompletionItem

    from agentops_local.analytics.reading import reading
    from agentops_local.analytics.sessions import list_sessions

    try:
        with reading(Settings(ctx.find_root().params.get("db")).path()) as connection:
            found = list_sessions(connection, 50)
    except Exception:  # noqa: BLE001 - a completion that cannot be had is none, never an error in the shell
        return []
    return [CompletionItem(one.id, help=one.state) for one in found if one.id.startswith(incomplete)]


def _use_database(ctx: click.Context, _parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.obj = Settings(value, ctx.obj.utc if isinstance(ctx.obj, Settings) else False)


def db_option(command: F) -> F:
    """Adds `--db`, which the whole command takes as well: people write it in either place."""
    option = click.option(
        "--db", metavar="PATH", expose_value=False, callback=_use_database, help="The database to look at."
    )
    return option(command)


def json_option(command: F) -> F:
    """Adds `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")(command)


def examples(*lines: str) -> str:
    """The examples at the end of a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def pick(connection: sqlite3.Connection, name: str) -> str:
    """The id of the session that is named.

    Raises:
        NoSuchSession: if there is none.
        Ambiguous: if several are meant.
    """
    from agentops_local.analytics.sessions import pick_session

    return pick_session(connection, name)


def price(path: Path) -> None:
    """Prices the calls that are not priced yet, before their costs are shown. Where the database is not ours to write,
    or that fails, they are shown as they are."""
    from agentops_local.analytics import project

    project.price(path)


def print_json(value: object, indent: int | None = 2) -> None:
    """Prints a value as JSON."""
    click.echo(to_json(value, indent))


def to_json(value: object, indent: int | None = None) -> str:
    """JSON that a terminal may be shown."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def styled(text: str, **style: object) -> str:
    """A text in a colour, where colours are wanted: on a terminal, and without NO_COLOR."""
    if not any(style.values()) or not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return click.style(text, **style)  # type: ignore[arg-type]  # what click.style takes


def screen_width() -> int:
    """Columns of the terminal; 80 where there is none."""
    import shutil

    return max(40, shutil.get_terminal_size().columns)
