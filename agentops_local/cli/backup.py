"""`agentops-local backup`: a copy of the database, made while programs record."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from agentops_local.cli.common import Settings, db_option, examples, json_option, print_json
from agentops_local.cli.text import many
from agentops_local.figures import size
from agentops_local.recovery.backup import Refused, make
from agentops_local.store.backup import Progress


@click.command(
    epilog=examples(
        "agentops-local backup",
        "agentops-local backup --keep 7",
        "agentops-local backup /mnt/disk/runs.db",
        "agentops-local backup /mnt/disk/ --json",
    )
)
@click.argument("target", required=False, type=click.Path())
@click.option("--force", is_flag=True, help="Take the place of a file of that name.")
@click.option("--keep", metavar="N", type=click.IntRange(1), help="Keep the newest N of the default folder.")
@json_option
@db_option
@click.pass_obj
def backup(settings: Settings, target: str | None, force: bool, keep: int | None, as_json: bool) -> None:
    """Copy the database, while programs record.

    TARGET is a file or a folder; by default the copy goes to `backups` beside the database. It holds what had been
    committed when it was begun, is looked through before it gets its name, and is a single file that any SQLite tool
    reads. Nobody who records waits for it.

    Prompts hold secrets: the copy is as private as the database (mode 0600), and `rm` and `prune` do not reach it.
    """
    if keep is not None and target is not None:
        raise click.UsageError("--keep is for the default folder: leave out the target")
    place = Path(target) if target is not None else None
    if target and place and target.endswith(("/", os.sep)) and not place.is_dir():  # a disk that is not mounted, say
        raise Refused(f"there is no folder {place}: make it first")
    with copying() as progress:
        made = make(settings.path(), place, force, keep, progress)
    held = made.held
    if as_json:
        print_json(
            {
                "path": str(held.path), "bytes": held.bytes, "sessions": held.sessions, "events": held.events,
                "schema": held.version, "tables": made.rows, "removed": [str(path) for path in made.removed],
            }
        )  # fmt: skip
        return
    click.echo(str(held.path))
    click.echo(f"{many(held.sessions, 'session')}, {many(held.events, 'event')}, {size(held.bytes)}; checked")
    if made.removed:
        click.echo(f"{many(len(made.removed), 'older backup')} removed")


@contextmanager
def copying() -> Iterator[Progress]:
    """A bar that shows how much of a database is copied, where somebody sees it."""
    with click.progressbar(length=1, label="copying", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:

        def show(left: int, total: int) -> None:
            bar.length = max(total, 1)
            bar.update(total - left - bar.pos)

        yield show
