"""`agentops-sync status`: how far the upload has come."""

from __future__ import annotations

import click

from agentops_local.analytics.reading import reading
from agentops_local.cli.common import examples, json_option, print_json, screen_width, styled
from agentops_local.cli.table import Cell, Column, Row, table
from agentops_local.cli.text import many, wrap
from agentops_sync.cli.common import connection_options, settings_of
from agentops_sync.client import normal_endpoint
from agentops_sync.report import STATES, Report, SessionReport, reports

_NAMED = 3  # sessions with the same reason; of more only their number is told
_COLOURS = {"dead": "red", "uncertain": "yellow", "conflict": "red", "parked": "yellow"}


@click.command(
    short_help="Show how far the upload has come.",
    epilog=examples(
        "agentops-sync status", "agentops-sync status --all", "agentops-sync status --json | jq '.[].events'"
    ),
)
@connection_options
@click.option("--all", "every", is_flag=True, help="Also the sessions of which all is sent.")
@json_option
@click.pass_context
def status(ctx: click.Context, every: bool, as_json: bool) -> None:
    """Show how far the upload has come, for each server that was uploaded to.

    pending: to be sent. flying: sent, not settled yet. done: on the server, by its own word or by a look at what it
    holds. uncertain: errors of which that cannot be told; they are not sent again unless you `requeue` them. dead:
    given up, with the server's words. withheld: kept here by the upload policy.

    The exit code is 0 if all is sent, 1 if something remains.
    """
    settings = settings_of(ctx)
    url = normal_endpoint(settings.endpoint) if settings.endpoint else None
    found: list[Report] = []
    for path in settings.paths():
        with reading(path) as connection:
            here = reports(path, connection, url)
        found += here
        if not here and not as_json:
            click.echo(f"{path}: nothing has been uploaded from here yet: agentops-sync once")
    if as_json:
        print_json([report.to_json() for report in found])
    else:
        for number, report in enumerate(found):
            click.echo("\n" * bool(number) + "\n".join(_told(report, every)))
    ctx.exit(int(not found or not all(report.complete for report in found)))


def _told(report: Report, every: bool) -> list[str]:
    counts = ", ".join(f"{count:,} {state}" for state, count in report.events.items() if count) or "no events"
    lines = [styled(f"{report.database} → {report.target}", bold=True), counts]
    lines.append("agentops-sync is running" if report.served else "agentops-sync is not running")
    if report.progress_at:
        lines[-1] += f"; the server last accepted something at {report.progress_at[:19]} UTC"
    if report.retry_at:
        lines.append(styled(f"nothing is sent before {report.retry_at[:19]} UTC", fg="yellow"))
    if report.last_error:
        lines += wrap(f"last error: {report.last_error}", screen_width(), "  ")
    if report.reserve is not None and report.reserve.is_in_use:
        lines.append(styled(report.reserve.words(), fg="yellow"))
    for parked in report.parked:
        text = f"parked {parked.what} {parked.name}: {parked.reason}; next try at {parked.retry_at[:19]} UTC"
        lines += [styled(line, fg="yellow") for line in wrap(text, screen_width(), "  ")]
    shown = [session for session in report.sessions if every or not session.complete]
    if shown:
        lines += ["", *_table(shown), ""]
        lines += [line for text in _reasons(shown) for line in wrap(text, screen_width(), "  ")]
    hidden = len(report.sessions) - len(shown)
    if hidden:
        lines.append(f"{many(hidden, 'session')} complete")
    for letter in report.dead_letters[:20]:
        text = f"dead: {letter.kind} {letter.event}: {letter.reason}; {letter.words}"
        lines += [styled(line, fg="red") for line in wrap(text, screen_width(), "  ")]
    if len(report.dead_letters) > 20:
        lines.append(f"and {len(report.dead_letters) - 20:,} more: --json lists them all")
    return lines


def _table(sessions: list[SessionReport]) -> list[str]:
    """A row for each session, and a column for each state that there is."""
    states = [state for state in STATES if any(session.events[state] for session in sessions)]
    columns = (Column("SESSION"), Column("STATE"), *(Column(state.upper(), right=True) for state in states))
    return table(columns, [_row(session, states) for session in sessions], screen_width())


def _row(session: SessionReport, states: list[str]) -> Row:
    counts = [
        Cell(f"{session.events[state]:,}" if session.events[state] else "", _COLOURS.get(state)) for state in states
    ]
    return (session.id, Cell(session.state, _COLOURS.get(session.state)), *counts)


def _reasons(sessions: list[SessionReport]) -> list[str]:
    """What sessions wait for, each reason once."""
    waiting: dict[str, list[str]] = {}
    for session in sessions:
        why = session.reason or (f"last error: {session.last_error}" if session.last_error else "")
        if why:
            waiting.setdefault(why, []).append(session.id[:13])
    return [
        f"{', '.join(ids) if len(ids) <= _NAMED else many(len(ids), 'session')}: {why}" for why, ids in waiting.items()
    ]
