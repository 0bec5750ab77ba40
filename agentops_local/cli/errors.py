"""`agentops-local errors`: errors that are alike, counted together."""

from __future__ import annotations

import click

from agentops_local.analytics.filters import Filter
from agentops_local.analytics.questions.alike import Alike
from agentops_local.analytics.questions.alike import errors as ask
from agentops_local.cli.common import (
    Settings,
    complete_session,
    db_option,
    examples,
    print_json,
    screen_width,
    styled,
)  # fmt: skip
from agentops_local.cli.filtering import filter_options
from agentops_local.cli.output import data_options, flat, print_csv
from agentops_local.cli.text import cut, many, one_line, short_moment
from agentops_local.clock import now_us

_CSV = (
    "fingerprint", "error_type", "code", "text", "events", "sessions", "failed", "first_seen", "last_seen", "event_id",
    "session_id", "details",
)  # fmt: skip


@click.command(
    epilog=examples(
        "agentops-local errors --since 7d",
        "agentops-local errors last",
        "agentops-local errors --agent planner --json",
    )
)
@click.argument("session", shell_complete=complete_session, required=False)
@click.option(
    "-n", "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many kinds of errors."
)
@data_options
@db_option
@click.pass_obj
@filter_options
def errors(settings: Settings, session: str | None, limit: int, as_json: bool, as_csv: bool, where: Filter) -> None:
    """Group errors that are alike, and count them.

    How often, in how many sessions, first and last seen. Alike are errors of the same type and code whose words
    differ in numbers, ids, times, paths and addresses only. With a SESSION, only the errors that it has are listed,
    but counted over all sessions: was this seen before?
    """
    found = ask(session, limit, where=where, db=settings.path())
    rows = [one.to_json() for one in found]
    if as_json:
        print_json(rows)
    elif as_csv:
        print_csv(_CSV, [flat(row, "example") for row in rows])
    elif not found:
        click.echo("no errors")
    else:
        for one in found:
            click.echo("\n".join(_lines(one, settings.utc)))


def _lines(one: Alike, utc: bool) -> list[str]:
    room = screen_width()
    now = now_us()
    name = one.error_type or "-"
    code = f" {one_line(one.code)}" if one.code else ""
    where = f" in {one_line(one.failed)}" if one.failed else ""
    session = one.session_id[:13]
    times = f"first {short_moment(one.first_us, utc, now)}, last {short_moment(one.last_us, utc, now)}"
    seen = f"{many(one.sessions, 'session')}, {session}, {times}"
    return [
        f"{one.events:>7,}  {styled(cut(one_line(name) + code + where, room - 9), fg='red')}",
        f"         {cut(one_line(one.text), room - 9)}",
        styled(f"         {cut(seen, room - 9)}", dim=True),
    ]
