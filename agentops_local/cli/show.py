"""`agentops-local show`: one session, from its header to its last event."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import click

from agentops_local.analytics import ratings, story
from agentops_local.analytics.reading import reading
from agentops_local.analytics.sessions import Summary, summary
from agentops_local.analytics.timeline import Line, arranged, last_seqs, lines
from agentops_local.analytics.whole import whole_events
from agentops_local.cli import lines as event_lines
from agentops_local.cli.common import (
    Settings,
    complete_session,
    db_option,
    examples,
    json_option,
    pick,
    price,
    screen_width,
    styled,
    to_json,
)  # fmt: skip
from agentops_local.cli.score import judged
from agentops_local.cli.sessions import COLOURS, how_it_ended, token_pair
from agentops_local.cli.table import Cell, Column, Row, table
from agentops_local.cli.text import counted, many, moment, offset, one_line, wrap
from agentops_local.figures import money, seconds

_EVENTS = (
    Column("AFTER", right=True),
    Column("EVENT", least=16),
    Column("AGENT", least=8, spare=3),
    Column("TOOK", right=True, spare=1),
    Column("TOKENS", right=True, spare=2),
    Column("COST", right=True, spare=2),
    Column("WHAT", least=24),
)
_OWNERS = (
    Column("PID", right=True), Column("PROGRAM", least=8), Column("HOST", least=8, spare=1), Column("JOINED"),
    Column("LEFT"), Column("NOW"),
)  # fmt: skip
_AGENTS = (Column("AGENT", least=8), Column("ID"))
_DEFAULT_AGENT = "Default Agent"
_EVENTS_SHOWN = 200
_OTHERS_SHOWN = 20  # processes, agents


@click.command(
    epilog=examples(
        "agentops-local show last",
        "agentops-local show 0197a1b2 --events 0",
        "agentops-local show last --full | less -R",
        "agentops-local show last --json | jq '.events[] | select(.kind == \"errors\")'",
    )
)
@click.argument("session", shell_complete=complete_session)
@click.option(
    "--events",
    "-n",
    type=click.IntRange(0),
    metavar="N",
    help="The last N events; 0 for all.  [default: 200, with --json all]",
)
@click.option("--full", is_flag=True, help="Show what went in and came out of each event, whole.")
@json_option
@db_option
@click.pass_obj
def show(settings: Settings, session: str, events: int | None, full: bool, as_json: bool) -> None:
    """Show a session: how it ended, where it ran, and its events.

    SESSION is the beginning of its id, or `last` for the newest. If several begin so, they are listed and the exit code
    is 2; if there is none, it is 1.

    Events stand in the order in which they began, those that happened in the course of another under it, and errors
    under the event that failed. AFTER is the time since the session began, in seconds. With --json all is printed
    whole, in the order of commits.
    """
    path = settings.path()
    price(path)
    with reading(path) as connection:
        found = summary(connection, pick(connection, session))
        if as_json:
            _print_json(connection, found, events or 0)
            return
        click.echo("\n".join(_header(connection, found, settings.utc)))
        seqs = last_seqs(connection, found.seq, _EVENTS_SHOWN if events is None else events)
        told = arranged(lines(connection, seqs))
        if not told:
            return
        click.echo()
        if len(told) < found.counts.events:
            click.echo(f"the last {len(told):,} of {found.counts.events:,} events; --events 0 shows them all\n")
        if full:
            _print_whole(connection, found, told)
        else:
            click.echo("\n".join(table(_EVENTS, [_row(line, found) for line in told], screen_width())))


def _print_json(connection: sqlite3.Connection, found: Summary, events: int) -> None:
    """One object; the events are printed as they are read, for prompts whole are long."""
    given = [one.to_json() for one in ratings.of_session(connection, found.seq)]
    head = {**found.to_json(), **story.background(connection, found.seq), "given": given}
    click.echo(f'{{"session": {to_json(head)},\n"events": [', nl=False)
    separator = "\n"
    for event in whole_events(connection, last_seqs(connection, found.seq, events)):
        click.echo(separator + to_json(event), nl=False)
        separator = ",\n"
    click.echo("\n]}")


def _header(connection: sqlite3.Connection, found: Summary, utc: bool) -> Iterator[str]:
    """The session, its host, processes and agents."""
    yield styled(f"Session {found.id}", bold=True)
    for name, text in _fields(connection, found, utc):
        head = f"  {name:<8}"
        lines = wrap(text, screen_width(), " " * len(head), head) if text else []
        if name == "state":
            lines = [styled(line, fg=COLOURS.get(found.state)) for line in lines]
        yield from lines
    yield from _processes(connection, found, utc)
    yield from _agents(connection, found)


def _fields(connection: sqlite3.Connection, found: Summary, utc: bool) -> Iterator[tuple[str, str]]:
    counts = found.counts
    yield "state", _state(found, utc)
    ended = f" to {moment(found.end_us, utc)}" if found.end_us is not None else ""
    yield "time", f"{moment(found.init_us, utc)}{ended} ({seconds(found.duration_s)})"
    yield "tags", ", ".join(found.tags)
    kinds = ", ".join(counted(kind, count) for kind, count in counts.kinds.items() if count)
    yield "events", f"{counts.events:,}" + (f" ({kinds})" if kinds else "")
    if counts.kinds["llms"]:
        priced = f" ({many(counts.unpriced, 'call')} unpriced)" if counts.unpriced and counts.cost else ""
        yield "tokens", f"{counts.prompt_tokens:,} in, {counts.completion_tokens:,} out"
        yield "cost", money(counts.cost, counts.unpriced) + priced
    yield "host", " · ".join(story.host(connection, found.seq))
    yield "video", story.video(connection, found.seq) or ""
    yield from judged(ratings.of_session(connection, found.seq))


def _state(found: Summary, utc: bool) -> str:
    sentence = how_it_ended(found, utc)
    reason = f": {found.end_state_reason}" if found.end_state_reason else ""
    return sentence or f"{found.state}{reason}"


def _processes(connection: sqlite3.Connection, found: Summary, utc: bool) -> Iterator[str]:
    rows: list[Row] = []
    for owner in story.owners(connection, found.seq):
        life = "left" if owner.end_us is not None else owner.life().value
        colour = {"alive": "cyan", "unknown": "yellow", "dead": None if found.end_us else "red"}.get(life)
        manner = f" ({owner.exit})" if owner.exit not in (None, "end") else ""
        rows.append(
            (
                str(owner.identity.pid),
                owner.program or "",
                owner.host or "",
                moment(owner.start_us, utc, "%H:%M:%S"),
                moment(owner.end_us, utc, "%H:%M:%S") + manner,
                Cell(life, colour),
            )
        )
    yield from _some("processes", _OWNERS, rows)


def _agents(connection: sqlite3.Connection, found: Summary) -> Iterator[str]:
    agents = story.agents(connection, found.seq)
    if [agent["name"] for agent in agents] != [_DEFAULT_AGENT]:
        yield from _some("agents", _AGENTS, [(agent["name"], agent["id"]) for agent in agents])


def _some(what: str, columns: tuple[Column, ...], rows: list[Row]) -> Iterator[str]:
    if rows:
        yield ""
        yield from table(columns, rows[:_OTHERS_SHOWN], screen_width())
    if len(rows) > _OTHERS_SHOWN:
        yield f"and {len(rows) - _OTHERS_SHOWN:,} more {what} (--json has them all)"


def _row(line: Line, found: Summary) -> Row:
    colour = "red" if line.kind == "errors" else None
    return (
        offset(line.init_us - found.init_us),
        Cell("  " * min(line.depth, 12) + event_lines.titled(line), colour),
        _agent(line),
        event_lines.took(line),
        token_pair(line.prompt_tokens, line.completion_tokens),
        event_lines.paid(line),
        Cell(event_lines.said(line), colour),
    )


def _agent(line: Line) -> str:
    return "" if line.agent is None or line.agent == _DEFAULT_AGENT else one_line(line.agent)


def _print_whole(connection: sqlite3.Connection, found: Summary, told: list[Line]) -> None:
    for line in told:
        indent = "  " * min(line.depth, 12)
        facts = (
            offset(line.init_us - found.init_us), event_lines.titled(line), _agent(line),
            event_lines.took(line), token_pair(line.prompt_tokens, line.completion_tokens), event_lines.paid(line),
        )  # fmt: skip
        colour = "red" if line.kind == "errors" else None
        click.echo(styled(indent + "  ".join(filter(None, facts)), bold=True, fg=colour))
        for event in whole_events(connection, [line.seq]):
            for text in event_lines.told_whole(event, f"{indent}  "):
                click.echo(text)
        click.echo()
