"""`agentops-local sessions`: what was recorded, newest first."""

from __future__ import annotations

import click

from agentops_local.analytics.owners import Status
from agentops_local.analytics.ratings import picked
from agentops_local.analytics.reading import reading
from agentops_local.analytics.sessions import STATES, Summary, list_sessions, shown_length
from agentops_local.cli.common import Settings, db_option, examples, json_option, price, print_json, screen_width
from agentops_local.cli.table import Cell, Column, Note, Row, table
from agentops_local.cli.text import moment, short_moment
from agentops_local.clock import now_us
from agentops_local.figures import money, seconds, tokens

COLOURS = {"Success": "green", "Fail": "red", "running": "cyan", "died": "red", "unknown": "yellow"}

COUNTED = ("llms", "tools", "actions", "errors")

_TAIL = (Column("TOKENS", right=True, spare=4), Column("COST", right=True), Column("TAGS", least=6, spare=5))
_HEAD = (Column("SESSION"), Column("STATE", least=7), Column("STARTED"), Column("TOOK", right=True, spare=3))
_KINDS = tuple(Column(kind.upper(), right=True) for kind in COUNTED)
_WIDE = (*_HEAD, *_KINDS, *_TAIL)
_NARROW = (*_HEAD, Column("L/T/A/E", right=True), *_TAIL)
_WIDE_FROM = 100  # columns of the terminal; below, the kinds of events share a column


@click.command(
    epilog=examples(
        "agentops-local sessions",
        "agentops-local sessions --state died",
        "agentops-local sessions --tag nightly --limit 0 --json | jq '.[].cost'",
    )
)
@click.option(
    "--limit", "-n", type=click.IntRange(0), default=20, show_default=True, metavar="N", help="The newest N; 0 for all."
)
@click.option("--tag", multiple=True, metavar="TAG", help="Only those with this tag; may be repeated: all of them.")
@click.option(
    "--state",
    type=click.Choice(STATES, case_sensitive=False),
    help="Only those in this state. `indeterminate` takes in the died and the unknown.",
)
@click.option("--score", multiple=True, metavar="SCORE", help="Only those with such a score: 'helpful>=0.5', thumb=up.")
@json_option
@db_option
@click.pass_obj
def sessions(
    settings: Settings, limit: int, tag: tuple[str, ...], state: str | None, score: tuple[str, ...], as_json: bool
) -> None:
    """List sessions, newest first.

    The state is how the session ended or, where nobody ended it: running, died (none of its processes lives) or unknown
    (its processes cannot be seen from here).

    L/T/A/E counts LLM calls, tools, actions and errors. TOKENS are those in and out. A COST with ≥ is that of the calls
    whose price is known.
    """
    path = settings.path()
    price(path)
    with reading(path) as connection:
        scores = [picked(text) for text in score]
        found = list_sessions(connection, limit, tag, state.lower() if state else None, scores)
        length = shown_length(connection, [one.id for one in found])
    if as_json:
        print_json([one.to_json() for one in found])
    elif not found:
        click.echo("no such sessions" if tag or state or score else "no sessions yet", err=True)
    else:
        now = now_us()
        rows = [row for one in found for row in _rows(one, length, settings.utc, now)]
        click.echo("\n".join(table(_WIDE if screen_width() >= _WIDE_FROM else _NARROW, rows, screen_width())))


def state_cell(summary: Summary) -> Cell:
    """The state in its colour."""
    return Cell(summary.state, COLOURS.get(summary.state))


def how_it_ended(summary: Summary, utc: bool) -> str:
    """The truth about a session that nobody ended, in a sentence; "" for any other."""
    seen = moment(summary.last_seen_us, utc)
    last = summary.last_event
    event = f", last event {last.kind} {last.name or ''}".rstrip() if last else ", no event"
    if summary.status is Status.DIED:
        return f"Indeterminate: its process died at about {seen}{event}"
    if summary.status is Status.UNKNOWN:
        return f"Indeterminate: no end recorded; last seen {seen}{event}"
    return ""


def token_pair(prompt: int | None, completion: int | None) -> str:
    """Tokens in and out."""
    return f"{tokens(prompt or 0)}→{tokens(completion or 0)}" if prompt or completion else ""


def _rows(one: Summary, length: int, utc: bool, now: int) -> list[Row]:
    counts = one.counts
    wide = screen_width() >= _WIDE_FROM
    kinds = [f"{counts.kinds[kind]:,}" for kind in COUNTED]
    failed = "red" if counts.kinds["errors"] else None
    events = [*kinds[:-1], Cell(kinds[-1], failed)] if wide else [Cell("/".join(kinds), failed)]
    row: Row = (
        one.id[:length],
        state_cell(one),
        short_moment(one.init_us, utc, now),
        seconds((now - one.init_us) / 1e6 if one.status is Status.RUNNING else one.duration_s),
        *events,
        token_pair(counts.prompt_tokens, counts.completion_tokens),
        money(counts.cost, counts.unpriced) if counts.kinds["llms"] else "",
        ", ".join(one.tags),
    )
    sentence = how_it_ended(one, utc)
    return [row, Note(sentence, COLOURS[one.state])] if sentence else [row]
