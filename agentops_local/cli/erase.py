"""`agentops-local erase`: what must not stay, taken out for good: whatever matches a pattern, an event, a session."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from uuid import UUID

import click

from agentops_local.analytics.censor import MARKER, Censor
from agentops_local.analytics.erase import Erased, refuse
from agentops_local.analytics.erase import work as erasing_work
from agentops_local.analytics.owners import Status
from agentops_local.analytics.reading import iso, reading
from agentops_local.analytics.scrub import Scrubbed, Scrubber, event_of, events_by_id, look, work
from agentops_local.analytics.sent import Sent
from agentops_local.analytics.sessions import shown_length, summary
from agentops_local.analytics.traces import Change
from agentops_local.cli import erasing
from agentops_local.cli.common import (
    Settings,
    complete_session,
    db_option,
    examples,
    json_option,
    pick,
    print_json,
    screen_width,
    to_json,
)  # fmt: skip
from agentops_local.cli.table import Column, table
from agentops_local.cli.text import counted, many, moment
from agentops_local.figures import size

_SHOWN = 50
_PLACES = (Column("SESSION"), Column("EVENT"), Column("KIND"), Column("WHERE", least=12))
_SENT = (Column("LAST SENT"), Column("TO", least=23), Column("POLICY", spare=1), Column("EVENT"))


def _event_ids(ctx: click.Context, param: click.Parameter, values: Sequence[str]) -> tuple[UUID, ...]:
    try:
        return tuple(UUID(value) for value in values)
    except ValueError as error:
        text = f"{error}: an event is named by its whole id, as `agentops-local show SESSION --json` has it"
        raise click.BadParameter(text, ctx, param) from None


@click.command(
    epilog=examples(
        "agentops-local erase --pattern 'sk-[A-Za-z0-9]{20,}' --dry-run",
        "agentops-local erase --pattern 'sk-[A-Za-z0-9]{20,}'",
        "agentops-local erase --pattern '(?i)jane doe' -s last --replace '[them]'",
        "agentops-local erase --event 0197a1b2-c3d4-7000-8000-000000000001",
        "agentops-local erase --session 0197a1b2",
    )
)
@click.option("--pattern", "-p", metavar="REGEX", help="Take out what matches, wherever it was recorded.")
@click.option("--event", "-e", "events", metavar="ID", multiple=True, callback=_event_ids, help="Erase an event.")
@click.option(
    "--session",
    "-s",
    "sessions",
    metavar="SESSION",
    multiple=True,
    shell_complete=complete_session,
    help="Erase a session, as `rm` does; with --pattern, take out what matches in it.",
)
@click.option("--replace", metavar="TEXT", help=f"What takes the place of a match.  [default: {MARKER}]")
@click.option("--dry-run", "-n", is_flag=True, help="Say what would be taken out, and change nothing.")
@click.option("--force", is_flag=True, help="Also sessions that run, or may run.")
@erasing.rewrite_option
@json_option
@db_option
@click.pass_obj
def erase(
    settings: Settings,
    pattern: str | None,
    events: tuple[UUID, ...],
    sessions: tuple[str, ...],
    replace: str | None,
    dry_run: bool,
    force: bool,
    rewrite: bool,
    as_json: bool,
) -> None:
    """Take out what must not stay: a pattern, an event.

    Or sessions. From the tables, the file and its write-ahead log, for good. A pattern is a regular expression of
    Python; it is held against each recorded text and number on its own: what went in and came out, prompts, names,
    tags, reasons. Ids, times and counts stay as they are. Prompts stay whole, with a marker in the place of each
    match.

    A program that goes on recording may record the same again. What was uploaded before is told: it is not taken
    out there. The exit code is 1 if it can still be read somewhere in the file.
    """
    path = settings.path()
    _check(pattern, events, sessions, replace)
    if pattern is not None:
        censor = Censor(pattern, MARKER if replace is None else replace)
        with reading(path) as connection:
            numbers = frozenset(summary(connection, pick(connection, name)).seq for name in sessions) or None
        if dry_run:
            _look(path, censor, numbers, as_json)
        else:
            _scrub(path, censor, numbers, rewrite, as_json)
    elif events:
        _erase_events(path, events, dry_run, rewrite, as_json)
    else:
        _erase_sessions(path, sessions, force, dry_run, rewrite, as_json)


def _check(pattern: str | None, events: Sequence[UUID], sessions: Sequence[str], replace: str | None) -> None:
    if pattern is None and not events and not sessions:
        raise click.UsageError("say what is to be erased: --pattern REGEX, --event ID or --session SESSION")
    if events and (pattern is not None or sessions):
        raise click.UsageError("--event goes alone: an event is erased whole, whatever it matches")
    if replace is not None and pattern is None:
        raise click.UsageError("--replace needs a --pattern: what is erased whole leaves nothing in its place")


# A pattern -----------------------------------------------------------------------------------------------------------


def _look(path: Path, censor: Censor, sessions: frozenset[int] | None, as_json: bool) -> None:
    rows: list[tuple[str, ...]] = []
    more = 0
    with reading(path) as connection:

        def tell(change: Change) -> None:
            nonlocal more
            place = _place(connection, change)
            if as_json:  # as it is found: there may be a great many
                click.echo(("" if not more else ",") + "\n" + to_json(place), nl=False)
            elif more < _SHOWN:
                rows.append((place["session_id"], place["event_id"], place["kind"], place["where"]))
            more += 1

        if as_json:
            click.echo('{"places": [', nl=False)
        found = look(connection, censor, sessions, tell)
        names = _names(connection, found.sessions)
        length = shown_length(connection, [row[0] for row in rows if row[0]])
    if as_json:
        click.echo(f'\n],\n"found": {to_json(_found(found, names))}}}')
        return
    if rows:
        click.echo("\n".join(table(_PLACES, [(row[0][:length], *row[1:]) for row in rows], screen_width())))
    if more > len(rows):
        click.echo(f"and {more - len(rows):,} more (--json has them all)")
    click.echo(f"would take out {_sentence(found)}")
    _tell_uploads(found.uploads)


def _place(connection: sqlite3.Connection, change: Change) -> dict[str, str]:
    """Where a text stands, for people."""
    columns = [name for name in change.new if name != "hash"]
    place = {"session_id": "", "event_id": "", "kind": change.table.removesuffix("s"), "where": ", ".join(columns)}
    if change.table == "events":
        place |= event_of(connection, change.key["seq"])
        place["where"] = ", ".join([*columns, *change.shown])
    elif change.session is not None:
        place["session_id"] = "".join(_names(connection, {change.session}))
    return place


def _scrub(path: Path, censor: Censor, sessions: frozenset[int] | None, rewrite: bool, as_json: bool) -> None:
    with reading(path) as connection:
        steps = work(connection)
    with _bar(steps) as bar, closing(Scrubber(path, bar.update, rewrite)) as scrubber:
        try:
            found = scrubber.scrub(censor, sessions)
            done = scrubber.finish()
        except KeyboardInterrupt:
            raise click.ClickException("interrupted: the same command again finishes it") from None
    _tell(path, found, done, as_json, f"took out {_sentence(found)}")


# Events, sessions ----------------------------------------------------------------------------------------------------


def _erase_events(path: Path, events: Sequence[UUID], dry_run: bool, rewrite: bool, as_json: bool) -> None:
    if dry_run:
        with reading(path) as connection:
            places = [place for event in dict.fromkeys(events) for place in _event_places(connection, event)]
        if as_json:
            print_json({"places": places})
        else:
            click.echo(f"{many(len(places), 'event')} would be erased")
        return
    with reading(path) as connection:
        steps = erasing_work(connection, [])
        for event in events:
            _event_places(connection, event)  # all of them are there, or none is erased
    with _bar(steps) as bar, closing(Scrubber(path, bar.update, rewrite)) as scrubber:
        try:
            for event in dict.fromkeys(events):
                scrubber.erase_event(event)
            done = scrubber.finish()
        except KeyboardInterrupt:
            raise click.ClickException("interrupted: `agentops-local rm` without a session finishes it") from None
    things = ", ".join((many(done.messages, "message"), many(done.blobs, "blob")))
    _tell(path, scrubber.found, done, as_json, f"erased {many(done.events, 'event')}: {things}")


def _event_places(connection: sqlite3.Connection, event: UUID) -> list[dict[str, str]]:
    return [event_of(connection, seq) for seq, _ in events_by_id(connection, event)]


def _erase_sessions(
    path: Path, sessions: Sequence[str], force: bool, dry_run: bool, rewrite: bool, as_json: bool
) -> None:
    erasable = frozenset(Status) if force else frozenset({Status.ENDED, Status.DIED})
    with reading(path) as connection:
        names = list(dict.fromkeys(pick(connection, name) for name in sessions))
        found = [summary(connection, name) for name in names]
        for one in found:
            refuse(one.id, one.status, erasable)
    if not dry_run:
        erasing.tell(path, erasing.erase(path, names, erasable, rewrite), as_json)
    elif as_json:
        print_json([{"session_id": one.id, "events": one.counts.events} for one in found])
    else:
        total = many(sum(one.counts.events for one in found), "event")
        click.echo(f"{many(len(found), 'session')} would be erased: {total}")


# What was done -------------------------------------------------------------------------------------------------------


def _bar(steps: int) -> click._termui_impl.ProgressBar[int]:
    return click.progressbar(length=steps, label="erasing", file=sys.stderr, hidden=not sys.stderr.isatty())


def _tell(path: Path, found: Scrubbed, done: Erased, as_json: bool, sentence: str) -> None:
    if as_json:
        with reading(path) as connection:
            names = _names(connection, found.sessions)
        print_json({**_found(found, names), **asdict(done)})
    else:
        if not (found.rows or done.events):
            click.echo(sentence)
        else:
            click.echo(f"{sentence}; {size(done.bytes_before)} → {size(done.bytes_after)}")
            erasing.tell_unwritten(done)
        _tell_uploads(found.uploads)
    if found.rows or done.events or not done.wal_emptied:
        erasing.tell_what_stays(path, done)


def _sentence(found: Scrubbed) -> str:
    rows = ", ".join(counted(name, count) for name, count in sorted(found.rows.items()))
    if not rows:
        return "nothing: no recorded text or number matches"
    matches = f"{found.matches:,} {'match' if found.matches == 1 else 'matches'}"
    return f"{matches} in {rows}; shown by {many(found.events, 'event')} of {many(len(found.sessions), 'session')}"


def _tell_uploads(uploads: Sequence[Sent]) -> None:
    if not uploads:
        return
    click.echo(f"\nsent to servers before, and not taken out there: {many(len(uploads), 'row')}")
    rows = [
        (moment(one.sent_us, utc=True), one.target, one.policy or "", one.event_id or f"(session {one.session_id[:8]})")
        for one in uploads[:_SHOWN]
    ]
    click.echo("\n".join(table(_SENT, rows, screen_width())))
    if len(uploads) > _SHOWN:
        click.echo(f"and {len(uploads) - _SHOWN:,} more (--json has them all)")


def _found(found: Scrubbed, names: list[str]) -> dict[str, object]:
    uploads = [{**{k: v for k, v in one._asdict().items() if k != "sent_us"}, "sent": iso(one.sent_us)}
               for one in found.uploads]  # fmt: skip
    return {"matches": found.matches, "rows": found.rows, "events_showing": found.events, "session_ids": names,
            "uploads": uploads}  # fmt: skip


def _names(connection: sqlite3.Connection, sessions: set[int]) -> list[str]:
    sql = "SELECT id FROM sessions WHERE seq = ? AND id <> ''"
    rows = [connection.execute(sql, (number,)).fetchone() for number in sorted(sessions)]
    return [row["id"] for row in rows if row is not None]
