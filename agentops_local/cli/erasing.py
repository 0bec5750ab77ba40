"""What `rm`, `prune` and `erase` have in common: erasing with a bar, and telling what was done."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path

import click

from agentops_local.analytics.checkup import copies
from agentops_local.analytics.erase import Erased, Eraser, StillRunning, work
from agentops_local.analytics.owners import Status
from agentops_local.analytics.reading import reading
from agentops_local.cli.common import F, print_json
from agentops_local.cli.text import many, one_line
from agentops_local.figures import size


def rewrite_option(command: F) -> F:
    """Adds `--rewrite`."""
    text = "Rewrite the file though it is large or somebody records; recording waits about a second for 100 MB."
    return click.option("--rewrite", is_flag=True, help=text)(command)


def erase(
    path: Path, names: Sequence[str], erasable: frozenset[Status], rewrite: bool, passing: bool = False
) -> Erased:
    """Erases sessions, and what an earlier erasure has left.

    Args:
        names: whole ids.
        erasable: in which of these states a session may be.
        rewrite: whether the file is rewritten in any case.
        passing: whether one that turns out to be in another state is passed over, not refused.
    """
    with reading(path) as connection:
        steps = work(connection, names)
    bar = click.progressbar(length=steps, label="erasing", file=sys.stderr, hidden=not sys.stderr.isatty())
    with bar, closing(Eraser(path, erasable, bar.update, rewrite)) as eraser:
        try:
            refused = [error for error in map(partial(_try, eraser), names) if error is not None]
            done = eraser.finish()
        except KeyboardInterrupt:
            raise click.ClickException("interrupted: `agentops-local rm` without a session finishes it") from None
    if refused and not passing:
        raise refused[0]
    return done


def _try(eraser: Eraser, name: str) -> StillRunning | None:
    try:
        eraser.erase(name)
    except StillRunning as error:
        return error
    return None


def tell(path: Path, done: Erased, as_json: bool) -> None:
    """Prints what was erased; exit code 1 if it can still be read somewhere."""
    if as_json:
        print_json(asdict(done))
    elif not done.bytes_before:
        click.echo("nothing is to be erased")
    else:
        things = (many(done.events, "event"), many(done.messages, "message"), many(done.blobs, "blob"))
        sizes = f"{size(done.bytes_before)} → {size(done.bytes_after)}"
        click.echo(f"erased {many(done.sessions, 'session')}: {', '.join(things)}; {sizes}")
        tell_unwritten(done)
    tell_what_stays(path, done)


def tell_unwritten(done: Erased) -> None:
    """Says so if the file was not rewritten."""
    if not done.rewritten:
        text = "the file was not rewritten, for it is large or somebody records: the space will be used again, and"
        click.echo(f"{text} gaps in its pages may hold traces; `agentops-local rm --rewrite` rewrites it")


def tell_what_stays(path: Path, done: Erased) -> None:
    """Names the copies beside the database; exit code 1 if what was erased can still be read in the WAL."""
    for copy in copies(path):
        name = one_line(str(copy.relative_to(path.parent)))
        click.echo(f"{name} lies beside the database and may hold what was erased: delete it, too", err=True)
    if not done.wal_emptied:
        raise click.ClickException(
            "a program that reads the database keeps its write-ahead log, and with it what was erased: close it, then "
            "run `agentops-local rm` without a session"
        )
