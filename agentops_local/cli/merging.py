"""`agentops-local pack` and `merge`: sessions carried from machine to machine."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agentops_local.cli.common import Settings, complete_session, db_option, examples, json_option, pick, print_json
from agentops_local.cli.filtering import filter_options
from agentops_local.cli.text import many
from agentops_local.figures import size

if TYPE_CHECKING:
    from agentops_local.analytics.filters import Filter
    from agentops_local.importing import Merged


@click.command(
    epilog=examples(
        "agentops-local pack",
        "agentops-local pack -o run.db last",
        "agentops-local pack -o failures.db --state fail --since 7d",
        "agentops-local --db failures.db sessions",
    )
)
@click.argument("sessions", metavar="[SESSION]...", nargs=-1, shell_complete=complete_session)
@click.option("-o", "--output", metavar="FILE", type=click.Path(), help="Default: one in `packs`, beside the database.")
@click.option("--force", is_flag=True, help="Take the place of a file of that name.")
@json_option
@db_option
@click.pass_obj
@filter_options
def pack(
    settings: Settings, sessions: tuple[str, ...], output: str | None, force: bool, where: Filter, as_json: bool
) -> None:
    """Put sessions into a file of their own.

    These SESSIONs (the beginning of an id, or `last`), those that fit the options, or all. The file is a database like
    any other, so every command reads it with --db, and `merge` takes it in elsewhere. What was uploaded of the sessions
    is known in it; keys are not. Nobody who records waits for it.

    Prompts hold secrets: the file is as private as the database (mode 0600), and `rm` and `erase` do not reach it.
    """
    from agentops_local.analytics.filters import Filter
    from agentops_local.importing.packing import pack as make

    if sessions and where != Filter():
        raise click.UsageError("name sessions or narrow them down with options, not both")
    path = settings.path()
    chosen = _chosen(path, sessions, where) if sessions or where != Filter() else None
    with _bar("packing") as progress:
        made = make(path, None if output is None else Path(output), chosen, force=force, progress=progress)
    if as_json:
        print_json({**asdict(made), "path": str(made.path)})
        return
    click.echo(str(made.path))
    click.echo(f"{many(made.sessions, 'session')}, {many(made.events, 'event')}, {size(made.bytes)}; checked")


def _chosen(path: Path, sessions: tuple[str, ...], where: Filter) -> list[str]:
    """The ids of the sessions that are meant."""
    from agentops_local.analytics import filters
    from agentops_local.analytics.reading import reading

    with reading(path) as connection:
        if sessions:
            return [pick(connection, name) for name in sessions]
        found = []
        for number in filters.sessions(connection, where):
            row = connection.execute("SELECT id FROM sessions WHERE seq = ?", (number,)).fetchone()
            if row is not None:
                found.append(str(row[0]))
        return found


@click.command(
    epilog=examples(
        "agentops-local merge node-*.db",
        "agentops-local merge /mnt/node7/agent/.agentops",
        "agentops-local --db all.db merge packs/*.db",
        "agentops-local merge --dry-run --json pack.db",
    )
)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path())
@click.option("--dry-run", is_flag=True, help="Only tell what would come.")
@json_option
@db_option
@click.pass_obj
def merge(settings: Settings, files: tuple[str, ...], dry_run: bool, as_json: bool) -> None:
    """Take in the databases of other machines.

    Each FILE is a database, a pack, or a folder with a database in it. What is here already is left out, so a merge
    may be repeated: it brings what a machine has recorded since. What a machine has uploaded is not uploaded again from
    here; what it has not, agentops-sync uploads from here, once.
    """
    from agentops_local.importing.merging import merge as take_in

    with _bar("merging") as progress:
        done = take_in(settings.path(), list(map(Path, files)), dry_run=dry_run, progress=progress)
    if as_json:
        print_json(asdict(done))
        return
    for line in told(done, dry_run):
        click.echo(line)


def told(done: Merged, dry_run: bool, source: str = "database") -> Iterator[str]:
    """What a merge has brought, in words.

    Args:
        source: what was merged, one of them.
    """
    would = "would bring " if dry_run else ""
    if done.is_nothing:
        if not done.sessions:
            yield f"no session was found in {many(done.files, source)}"
            return
        yield f"nothing new: {_all(done)} here already"
        return
    yield (
        f"{would}{many(done.new_sessions, 'new session')}, {many(done.events, 'new event')} "
        f"from {many(done.files, source)}"
    )
    if done.changed_sessions or done.changed_events:
        yield (
            f"{would}more of {many(done.changed_sessions, 'session')} and {many(done.changed_events, 'event')} "
            "that are here already"
        )
    if done.scores:
        yield f"{would}{many(done.scores, 'new score')} (notes are counted, too)"
    if done.there:
        yield f"{many(done.there, 'event')} here already"
    if done.uploaded:
        yield f"{many(done.uploaded, 'event')} uploaded by another machine: not uploaded from here"


def _all(done: Merged) -> str:
    whole = f"{many(done.sessions, 'session')} with {many(done.there, 'event')}"
    return f"{whole} {'is' if done.sessions == 1 else 'are'}"


@contextmanager
def _bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """A bar that shows how many sessions are done with, where somebody sees it."""
    with click.progressbar(length=1, label=label, file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:

        def show(done: int, total: int) -> None:
            bar.length = max(total, 1)
            bar.update(done - bar.pos)

        yield show
