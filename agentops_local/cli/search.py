"""`agentops-local search`: where a text occurs."""

from __future__ import annotations

import click

from agentops_local.analytics.filters import Filter
from agentops_local.analytics.questions.search import Hit
from agentops_local.analytics.questions.search import search as ask
from agentops_local.cli.common import Settings, db_option, examples, print_json, screen_width, styled
from agentops_local.cli.filtering import filter_options
from agentops_local.cli.output import data_options, print_csv
from agentops_local.cli.text import clean, cut, one_line, short_moment, width
from agentops_local.clock import now_us

_CSV = (
    "session_id", "event_id", "kind", "name", "field", "role", "timestamp", "sessions", "before", "match", "after",
)  # fmt: skip


@click.command(
    epilog=examples(
        "agentops-local search 'gift card'",
        "agentops-local search timeout --since 7d --agent planner",
        "agentops-local search 退款 --json | jq -r '.[].session_id' | sort -u",
    )
)
@click.argument("text")
@click.option("-n", "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many places.")
@data_options
@db_option
@click.pass_obj
@filter_options
def search(settings: Settings, text: str, limit: int, as_json: bool, as_csv: bool, where: Filter) -> None:
    """Find a text in whatever was recorded.

    In prompts, answers, parameters, results, logs and errors; the latest first. TEXT is any piece of a text of
    three characters or more; fewer take longer. Upper and lower case are alike. A message is told once, with the
    call in which it came up first, however many calls and sessions repeat it. Exit code 1 if nothing is found.
    """
    found = ask(text, limit, where=where, db=settings.path())
    rows = [hit.to_json() for hit in found]
    if as_json:
        print_json(rows)
    elif as_csv:
        print_csv(_CSV, rows)
    else:
        for hit in found:
            click.echo("\n".join(_lines(hit, settings.utc)))
        if len(found) == limit:
            click.echo(styled(f"the latest {limit}; --limit shows more", dim=True))
    if not found:
        click.echo(f"{clean(text)!r} is nowhere", err=True)
        raise click.exceptions.Exit(1)


def _lines(hit: Hit, utc: bool) -> list[str]:
    room = screen_width()
    of = " ".join(filter(None, (hit.kind, one_line(hit.name), hit.role or "", hit.field)))
    more = f", in {hit.sessions} sessions" if hit.sessions > 1 else ""
    head = f"{hit.session_id[:13]}  {hit.event_id[:13]}  {short_moment(hit.at_us, utc, now_us())}  {of}{more}"
    before, match, after = map(_flat, (hit.before, hit.match, hit.after))
    while width(before) > max(0, (room - 2 - width(match)) // 2) and before:
        before = before[1:]
    left = room - 2 - width(before) - width(match)
    return [
        styled(cut(head, room), dim=True),
        f"  {before}{styled(match, bold=True, fg='yellow')}{cut(after, max(0, left))}",
    ]


def _flat(text: str) -> str:
    """A text on one line, with the space at its ends."""
    return one_line(f"|{text}|")[1:-1]
