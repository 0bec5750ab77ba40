"""`agentops-local restore`: a backup put in the place of the database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import click

from agentops_local.analytics.owners import open_owners
from agentops_local.analytics.uploading import lock_file
from agentops_local.cli.backup import copying
from agentops_local.cli.common import Settings, db_option, examples, json_option, print_json
from agentops_local.cli.text import many, moment
from agentops_local.figures import size
from agentops_local.process import Liveness
from agentops_local.recovery.backup import Refused
from agentops_local.recovery.digest import Holding
from agentops_local.recovery.restore import Restored, look_at_backup, look_at_database
from agentops_local.recovery.restore import restore as put_back


@click.command(
    epilog=examples(
        "agentops-local restore .agentops/backups/agentops-20260801T120000.db",
        "agentops-local restore runs.db --yes --json",
    )
)
@click.argument("file", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Also while a process records: it goes on in the restored database.")
@json_option
@db_option
@click.pass_obj
def restore(settings: Settings, file: Path, yes: bool, force: bool, as_json: bool) -> None:
    """Put a backup in the place of the database.

    FILE is looked through first. What it holds, and what it would replace, is shown, and asked about. The database in
    place is not deleted but put aside, under a name with `.replaced-`; afterwards every table is compared with the
    backup, row by row. Whatever ends this, one of the two is in place, and whole.

    It is refused while a process records (see --force) and while agentops-sync serves the database. What was uploaded
    since the backup is not sent again: agentops-sync looks at what the server holds before it sends anything.
    """
    path = settings.path()
    found = look_at_backup(file, path)
    present = look_at_database(path)
    if not as_json:
        click.echo(f"restores  {_told(found, settings.utc)}")
        replaced = _told(present, settings.utc) if present else "nothing that can be read"
        is_there = path.exists() and path.stat().st_size
        click.echo(f"replaces  {replaced if is_there else 'nothing: there is no database yet'}")
    if not yes:
        click.confirm("Go on?", abort=True, err=as_json)
    with _not_served(path), copying() as progress:
        done = put_back(path, file, partial(_refuse, force), progress)
    _tell(done, as_json)


def _refuse(force: bool, connection: sqlite3.Connection) -> None:
    alive = sorted({owner.identity.pid for owner, _, _ in open_owners(connection) if owner.life() is Liveness.ALIVE})
    if alive and not force:
        who = f"process {alive[0]} records" if len(alive) == 1 else f"processes {', '.join(map(str, alive))} record"
        raise Refused(f"{who} to the database: end it, or use --force (it goes on in the restored database)")


@contextmanager
def _not_served(path: Path) -> Iterator[None]:
    """Keeps agentops-sync away, whose ledger is about to be another."""
    from filelock import FileLock, Timeout

    if not path.parent.is_dir():
        yield
        return
    lock = FileLock(lock_file(path), mode=0o600)
    try:
        lock.acquire(timeout=1)  # whoever only looks whether somebody serves it holds it for a moment
    except Timeout:
        raise Refused(f"agentops-sync serves {path}: stop it first") from None
    try:
        yield
    finally:
        lock.release()


def _told(held: Holding, utc: bool) -> str:
    last = f", the last of {moment(held.last_us, utc)}" if held.last_us is not None else ""
    text = f"{held.path}: {many(held.sessions, 'session')}, {many(held.events, 'event')}{last}; {size(held.bytes)}"
    return f"{text}, schema version {held.version}"


def _tell(done: Restored, as_json: bool) -> None:
    held = done.held
    if as_json:
        print_json(
            {
                "path": str(held.path), "bytes": held.bytes, "sessions": held.sessions, "events": held.events,
                "schema": held.version, "generation": held.generation, "tables": done.tables,
                "replaced": None if done.replaced is None else str(done.replaced),
            }
        )  # fmt: skip
        return
    held_now = f"{many(held.sessions, 'session')}, {many(held.events, 'event')}"
    click.echo(f"{held.path} holds {held_now}; {done.tables} tables compared, equal")
    if done.replaced is not None:
        click.echo(f"what was there before is {done.replaced}")
