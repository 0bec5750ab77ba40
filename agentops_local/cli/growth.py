"""`agentops-local context`: how the prompts of a session grew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from agentops_local.cli.common import (
    Settings,
    complete_session,
    db_option,
    examples,
    json_option,
    print_json,
    screen_width,
    styled,
)  # fmt: skip
from agentops_local.cli.table import Cell, Column, Row, table
from agentops_local.cli.text import cut, many, offset, one_line
from agentops_local.figures import money, seconds, tokens

if TYPE_CHECKING:
    from agentops_local.analytics.one_session.growth import Break, Context, Turn, Weight

_BLOCKS = "▁▂▃▄▅▆▇█"
_CALLS = (
    Column("CALL", right=True), Column("AFTER", right=True, spare=3), Column("AGENT", least=6, spare=4),
    Column("MSGS", right=True), Column("NEW", right=True), Column("TOKENS", right=True),
    Column("NEW TOKENS", right=True), Column("CACHED", right=True), Column("COST", right=True, spare=2),
    Column("GOES ON FROM", spare=1),
)  # fmt: skip
_MESSAGES = (
    Column("SHARE", right=True), Column("TOKENS", right=True), Column("SENT", right=True), Column("AT", right=True),
    Column("ROLE", least=4), Column("MESSAGE", least=20),
)  # fmt: skip
_CALLS_SHOWN, _BREAKS_SHOWN, _MESSAGES_SHOWN = 30, 10, 10
_BAR = 60  # columns of the curve


@click.command(
    epilog=examples(
        "agentops-local context last",
        "agentops-local context last --calls 0 --messages 30",
        "agentops-local context last --json | jq '.breaks[] | [.call, .message]'",
    )
)
@click.argument("session", shell_complete=complete_session)
@click.option(
    "--calls", type=click.IntRange(0), default=_CALLS_SHOWN, show_default=True, metavar="N",
    help="Show the last N calls; 0 for all.",
)  # fmt: skip
@click.option(
    "--messages", type=click.IntRange(0), default=_MESSAGES_SHOWN, show_default=True, metavar="N",
    help="Show the N most expensive messages; 0 for all.",
)  # fmt: skip
@json_option
@db_option
@click.pass_obj
def context(settings: Settings, session: str, calls: int, messages: int, as_json: bool) -> None:
    """Show how the prompts of a run grew, and what that cost.

    SESSION is the beginning of its id, or `last` for the newest.

    NEW counts messages after those that a call has in common with the one it GOES ON FROM, in the same conversation. A
    message is paid for each time it is SENT; what it cost is an estimate: the tokens of each call divided among its
    messages by their characters. The cache breaks where a message has changed that was sent before, or where less came
    from it although none has.
    """
    from agentops_local.analytics.one_session.growth import context as ask

    found = ask(session, db=settings.path(), messages=messages)
    if as_json:
        print_json(found.to_json())
    else:
        click.echo("\n".join(_told(found, calls)))


def sparkline(values: Sequence[int], columns: int = _BAR) -> str:
    """A curve of so many characters at most; each shows the highest of its part."""
    if not values:
        return ""
    size = min(columns, len(values))
    parts = [values[index * len(values) // size : (index + 1) * len(values) // size] for index in range(size)]
    highest = max(1, *values)
    return "".join(_BLOCKS[min(7, max(part) * 8 // (highest + 1))] for part in parts)


def _told(found: Context, calls: int) -> Iterator[str]:
    turns = found.turns
    yield styled(f"Session {found.session.id}", bold=True)
    if not turns:
        yield "  no LLM call"
        return
    threads = len({turn.conversation for turn in turns})
    yield f"  {many(len(turns), 'LLM call')} in {many(threads, 'conversation')}, {many(found.messages, 'message')}"
    counted = found.estimated_from == "tokens"
    sizes = [(turn.tokens or 0) if counted else turn.characters for turn in turns]
    unit = "tokens" if counted else "characters"
    yield f"  {unit} of the prompts: {tokens(min(sizes))} to {tokens(max(sizes))}, {sum(sizes):,} together"
    cached = sum(turn.cached or 0 for turn in turns)
    if cached:
        yield f"  {cached:,} of them from the provider's cache ({_percent(cached / max(1, sum(sizes)))})"
    if found.uncounted:
        yield f"  {many(found.uncounted, 'call')} without a count of tokens"
    yield f"  {sparkline(sizes, min(_BAR, screen_width() - 2))}"
    yield ""
    shown = turns[-calls:] if calls else turns
    if len(shown) < len(turns):
        yield f"the last {len(shown):,} of {len(turns):,} calls; --calls 0 shows them all"
    yield from table(_CALLS, [_row(turn, found.session.init_us) for turn in shown], screen_width())
    yield from _messages(found.weights, counted)
    yield from _breaks(found.breaks)


def _row(turn: Turn, began: int) -> Row:
    colour = "yellow" if turn.relation.value == "changes" else None
    share = turn.cached_share
    return (
        f"{turn.number:,}", offset(turn.init_us - began), _agent(turn), f"{turn.messages:,}", f"{turn.added:,}",
        "" if turn.tokens is None else tokens(turn.tokens), "" if turn.new_tokens is None else f"{turn.new_tokens:+,}",
        "" if share is None else _percent(share), money(turn.cost), Cell(_relation(turn), colour),
    )  # fmt: skip


def _agent(turn: Turn) -> str:
    return "" if turn.agent in (None, "Default Agent") else one_line(turn.agent or "")


def _relation(turn: Turn) -> str:
    if turn.before is None:
        return "(begins)"
    how = {"extends": "", "repeats": ", the same", "rewinds": ", shorter", "changes": ", changed"}
    return f"{turn.before:,}{how[turn.relation.value]}"


def _messages(weights: Sequence[Weight], counted: bool) -> Iterator[str]:
    if not weights:
        return
    yield ""
    yield styled("What the messages cost, each with all the times it was sent (estimated)", bold=True)
    rows = [
        (
            _percent(weight.share), "" if weight.tokens is None else tokens(weight.tokens), f"{weight.times:,}",
            f"{weight.index:,}", weight.role or "", weight.beginning,
        )
        for weight in weights
    ]  # fmt: skip
    yield from table(_MESSAGES, rows, screen_width())
    if not counted:
        yield "No tokens were counted: the shares are of characters."


def _breaks(breaks: Sequence[Break]) -> Iterator[str]:
    yield ""
    if not breaks:
        yield "No call broke the provider's cache: what was sent before was sent again."
        return
    yield styled(f"Where the provider's cache broke: {many(len(breaks), 'call')}", bold=True)
    for one in breaks[:_BREAKS_SHOWN]:
        yield from _break(one)
    if len(breaks) > _BREAKS_SHOWN:
        yield f"  and {len(breaks) - _BREAKS_SHOWN:,} more (--json has them all)"


def _break(one: Break) -> Iterator[str]:
    now, was = one.turn.cached, one.before.cached
    cached = "" if now is None and was is None else f"; cached tokens {was or 0:,} → {now or 0:,}"
    calls = f"  call {one.turn.number:,} after {one.before.number:,}"
    if one.index is None:
        why = f"another model, {one.before.model} → {one.turn.model}" if one.turn.model != one.before.model else ""
        text = f"{calls}: nothing changed{cached}, after {seconds(one.waited_s)}{', ' if why else ''}{why}"
        yield cut(f"  {one_line(text)}", screen_width())
        return
    yield cut(f"{calls}: message {one.index:,} ({one_line(one.role or '?')}) changed{cached}", screen_width())
    if one.change is not None:
        for name, text in (("was", one.change.one), ("now", one.change.other)):
            yield cut(f"    {name}: {one_line(text)}", screen_width())


def _percent(share: float) -> str:
    return f"{share * 100:.0f}%" if share >= 0.0995 or not share else f"{share * 100:.1f}%"
