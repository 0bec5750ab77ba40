"""`agentops-local tail`: events as they happen, of all processes."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator

import click

from agentops_local.analytics.feed import Feed
from agentops_local.analytics.reading import reading
from agentops_local.analytics.sessions import LAST, as_id, find_session, shown_length
from agentops_local.analytics.timeline import lines
from agentops_local.analytics.whole import whole_events
from agentops_local.cli.common import Settings, complete_session, db_option, examples, screen_width, styled, to_json
from agentops_local.cli.lines import streamed
from agentops_local.cli.sessions import COLOURS
from agentops_local.cli.text import one_line
from agentops_local.errors import DatabaseUnusable

_INTERVAL = 0.2  # seconds between two looks


@click.command(
    epilog=examples(
        "agentops-local tail",
        "agentops-local tail --session last --from-start",
        "agentops-local tail -n 0 --json | jq 'select(.kind == \"errors\")'",
    )
)
@click.option(
    "--session",
    shell_complete=complete_session,
    metavar="SESSION",
    help="Only this one: the beginning of its id, or `last`.",
)
@click.option("--from-start", is_flag=True, help="Begin with the first event there is.")
@click.option(
    "-n", "count", type=click.IntRange(0), default=10, show_default=True, metavar="N",
    help="Begin with the last N events.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print events whole, one JSON object a line.")
@db_option
@click.pass_obj
def tail(settings: Settings, session: str | None, from_start: bool, count: int, as_json: bool) -> None:
    """Follow events as they are committed.

    Events of all processes, in the order of their commits. Ctrl-C ends it, with exit code 0.

    A database or a session that is not there yet is waited for, and one that is put in the place of another is
    followed in its turn.
    """
    path = settings.path()
    chosen = ""
    if session is not None:
        try:
            with reading(path) as connection:
                chosen = find_session(connection, session) or ""
        except DatabaseUnusable as error:
            if type(error) is not DatabaseUnusable:
                raise
        if not chosen and session == LAST:
            raise click.ClickException("there is no session yet, so none is the last")
        if not chosen:
            chosen = as_id(session)
            if not chosen:  # else it would be waited for in vain
                raise click.UsageError(f"{session!r} cannot be the beginning of an id")
            click.echo(f"waiting: no session begins with {session!r} yet", err=True)
    reader = _objects if as_json else _Lines(settings.utc)
    feed = Feed(path, reader, chosen, None if from_start else count)
    try:
        _follow(feed, as_json)
    except KeyboardInterrupt:
        pass
    finally:
        feed.close()


def _follow(feed: Feed[str], as_json: bool) -> None:
    told = None
    while True:
        for line in feed.poll():
            click.echo(line)
        if not as_json:
            for end in feed.ends():
                reason = f": {one_line(end.reason)}" if end.reason else ""
                click.echo(styled(f"session {end.session_id} ended: {end.state}{reason}", fg=COLOURS.get(end.state)))
        if feed.trouble != told:
            told = feed.trouble
            if told is not None:
                click.echo(f"waiting: {told}", err=True)
        time.sleep(_INTERVAL)


def _objects(connection: sqlite3.Connection, seqs: list[int]) -> Iterator[str]:
    for event in whole_events(connection, seqs):
        yield to_json(event)


class _Lines:
    """Events as lines, with as much of the session's id as tells it from the others."""

    def __init__(self, utc: bool) -> None:
        self._utc = utc
        self._length = 0

    def __call__(self, connection: sqlite3.Connection, seqs: list[int]) -> Iterable[str]:
        found = lines(connection, seqs)
        ids = sorted({line.session_id for line in found})
        self._length = max(self._length, shown_length(connection, ids))
        return [streamed(line, self._utc, self._length, screen_width()) for line in found]
