"""`agentops-local compare`: two runs side by side."""

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
from agentops_local.cli.sessions import COLOURS
from agentops_local.cli.table import Cell, Column, Note, Row, table
from agentops_local.cli.text import clean, cut, many, one_line, width, wrap
from agentops_local.figures import money, seconds

if TYPE_CHECKING:
    from agentops_local.analytics.one_session.alignment import Alignment, Done, Pair
    from agentops_local.analytics.one_session.compare import Comparison, Metric
    from agentops_local.analytics.one_session.contrast import Change, PromptDiff
    from agentops_local.analytics.one_session.divergence import Divergence, TalkPair
    from agentops_local.analytics.sessions import Summary

_STEPS_SHOWN, _TALKS_SHOWN, _CHANGES_SHOWN, _LINES_SHOWN = 40, 5, 20, 60
_AROUND = 3  # steps that are shown before and after those that are not alike
_METRICS = (Column("", least=8), Column("A", right=True), Column("B", right=True), Column("DIFFERENCE", right=True))
_STEPS = (
    Column("", least=1), Column("#", right=True), Column("A", least=14), Column("#", right=True), Column("B", least=14),
    Column("", least=8, spare=1),
)  # fmt: skip
_CHANGES = (Column("", least=12), Column("A", least=12), Column("B", least=12))
_NAMES = {
    "duration_s": "duration", "llms": "LLM calls", "apis": "API calls", "prompt_tokens": "tokens in",
    "completion_tokens": "tokens out", "cache_read_tokens": "  from the cache", "cache_write_tokens": "  to the cache",
    "reasoning_tokens": "  for reasoning", "unpriced": "unpriced calls",
}  # fmt: skip


@click.command(
    epilog=examples(
        "agentops-local compare 0197a1b2 last",
        "agentops-local compare 0197a1b2 0197c3d4 --steps 0 | less -R",
        "agentops-local compare 0197a1b2 last --json | jq .first_diverging_message",
    )
)
@click.argument("a", metavar="A", shell_complete=complete_session)
@click.argument("b", metavar="B", shell_complete=complete_session)
@click.option(
    "--steps", type=click.IntRange(0), default=_STEPS_SHOWN, show_default=True, metavar="N",
    help="Show N steps at most; 0 for all.",
)  # fmt: skip
@json_option
@db_option
@click.pass_obj
def compare(settings: Settings, a: str, b: str, steps: int, as_json: bool) -> None:
    """Compare two runs: numbers, messages, prompts, steps.

    A and B are the beginnings of their ids; `last` is the newest.

    Conversations are paired by agent and thread, else by their order, and compared message by message. Steps that are
    alike stand beside each other: = the same, ~ the same step that was asked or gave something else, ≠ another step,
    - only A, + only B.
    """
    from agentops_local.analytics.one_session.compare import compare as ask

    found = ask(a, b, db=settings.path())
    if as_json:
        print_json(found.to_json())
    else:
        click.echo("\n".join(_told(found, steps)))


def _told(found: Comparison, steps: int) -> Iterator[str]:
    for name, one in (("A", found.a), ("B", found.b)):
        yield from _session(name, one)
    yield ""
    yield from table(_METRICS, [_metric(metric) for metric in found.metrics if metric.a or metric.b], screen_width())
    for title, metrics in (("Calls of models", found.models), ("Calls of tools", found.tools)):
        if metrics:
            yield from _head(title)
            yield from table(_METRICS, [_metric(metric) for metric in metrics[:_CHANGES_SHOWN]], screen_width())
            yield from _more(len(metrics) - _CHANGES_SHOWN)
    yield from _conversations(found)
    for prompt in found.prompts:
        yield from _prompt(prompt)
    yield from _steps(found.steps, steps)
    for title, changes in (("Environment", found.environment), ("Packages", found.packages)):
        if changes:
            yield from _head(title)
            yield from table(_CHANGES, [_change(change) for change in changes[:_CHANGES_SHOWN]], screen_width())
            yield from _more(len(changes) - _CHANGES_SHOWN)


def _session(name: str, one: Summary) -> Iterator[str]:
    reason = f": {one.end_state_reason}" if one.end_state_reason else ""
    tags = f"  [{', '.join(one.tags)}]" if one.tags else ""
    text = one_line(f"{name}  {one.id}  {one.state}{reason}{tags}")
    yield styled(cut(text, screen_width()), bold=True, fg=COLOURS.get(one.state))


def _metric(metric: Metric) -> Row:
    name = _NAMES.get(metric.name, metric.name or "-")
    more = metric.difference
    sign = "" if more is None or more <= 0 else "+"
    return name, _number(metric, metric.a), _number(metric, metric.b), f"{sign}{_number(metric, more)}" if more else ""


def _number(metric: Metric, value: float | None) -> str:
    if metric.name == "duration_s":
        return seconds(value)
    if metric.name == "cost":
        from decimal import Decimal

        return money(None if value is None else Decimal(repr(value)))
    return "" if value is None else f"{value:,.0f}"


def _conversations(found: Comparison) -> Iterator[str]:
    pairs = found.conversations
    if not pairs and not any(found.alone):
        return
    parted = [pair for pair in pairs if pair.divergence is not None]
    yield from _head(f"Conversations: {len(pairs):,} compared, {len(pairs) - len(parted):,} the same to the end")
    for pair in parted[:_TALKS_SHOWN]:
        yield from _parting(pair)
    yield from _more(len(parted) - _TALKS_SHOWN)
    for name, alone in zip("AB", found.alone, strict=True):
        if alone:
            yield f"  {many(alone, 'conversation')} of {name} without a partner"


def _parting(pair: TalkPair) -> Iterator[str]:
    divergence = pair.divergence
    if divergence is None:
        return
    agent = "" if pair.a.agent in (None, "Default Agent") else f" of {one_line(pair.a.agent or '')}"
    sizes = f"{pair.messages[0]:,} and {many(pair.messages[1], 'message')}"
    yield styled(f"  The conversations{agent} ({sizes}) part at message {divergence.index:,}", fg="yellow")
    if divergence.only_ids:
        yield "    only the ids of tool calls differ in it"
        if pair.beyond is None:
            yield "    and in all that follow"
            return
        yield styled(f"    and the words at message {pair.beyond.index:,}", fg="yellow")
        divergence = pair.beyond
    yield from _texts(divergence)


def _texts(divergence: Divergence) -> Iterator[str]:
    texts = (divergence.change.one, divergence.change.other)
    for name, role, text, ends in zip("AB", divergence.roles, texts, divergence.ends, strict=True):
        head = f"    {name} "
        told = "ends here" if ends else f"{role or '?'}: {text}"
        yield from wrap(told, screen_width(), " " * len(head), head)


def _prompt(prompt: PromptDiff) -> Iterator[str]:
    agent = "" if prompt.agent in (None, "Default Agent") else f", {prompt.agent}"
    yield from _head(f"Prompt: {prompt.part}{agent}")
    for line in prompt.lines[:_LINES_SHOWN]:
        colour = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])
        for part in _fitted(clean(line).replace("\n", " ")):
            yield styled(part, fg=colour)
    yield from _more(len(prompt.lines) - _LINES_SHOWN)


def _fitted(line: str) -> list[str]:
    """A line of a diff on as many as it needs."""
    if width(line) + 2 <= screen_width():
        return [f"  {line}"]
    return wrap(line[1:], screen_width(), "   ", f"  {line[:1]}")


def _steps(steps: Alignment, most: int) -> Iterator[str]:
    if not steps.pairs:
        return
    yield from _head(_where_they_part(steps))
    rows = _shortened(steps.pairs)
    shown = rows[:most] if most else rows
    yield from table(_STEPS, shown, screen_width())
    yield from _more(len(rows) - len(shown))


def _where_they_part(steps: Alignment) -> str:
    if steps.parts_at is None:
        other = "" if steps.differs_at is None else f"; the first that was not the same is {steps.differs_at + 1:,}"
        return f"Steps: both did the same things{other}"
    rest = steps.pairs[steps.parts_at :]
    a = _step(next((pair.a for pair in rest if pair.a is not None), None)) or "nothing more"
    b = _step(next((pair.b for pair in rest if pair.b is not None), None)) or "nothing more"
    alike = f"alike up to {steps.parts_at:,}, then" if steps.parts_at else "they part at once:"
    return f"Steps: {alike} A did {a}, B {b}"


def _shortened(pairs: Sequence[Pair]) -> list[Row]:
    """The steps, without those that are far from any difference."""
    near: set[int] = set()
    for place, pair in enumerate(pairs):
        if not pair.alike:
            near.update(range(place - _AROUND, place + _AROUND + 1))
    rows: list[Row] = []
    skipped = 0
    for place, pair in enumerate(pairs):
        if place not in near and place >= _AROUND:
            skipped += 1
            continue
        rows += _skipped(skipped)
        skipped = 0
        rows.append(_row(pair))
    return rows + _skipped(skipped)


def _skipped(steps: int) -> list[Row]:
    return [Note(f"{many(steps, 'step')} alike")] if steps else []


def _row(pair: Pair) -> Row:
    mark, colour, said = _mark(pair)
    numbers = ["" if step is None else f"{step.number:,}" for step in (pair.a, pair.b)]
    return (
        Cell(mark, colour), numbers[0], Cell(_step(pair.a), colour), numbers[1], Cell(_step(pair.b), colour),
        Cell(said, dim=True),
    )  # fmt: skip


def _mark(pair: Pair) -> tuple[str, str | None, str]:
    if pair.b is None:
        return "-", "red", ""
    if pair.a is None:
        return "+", "green", ""
    if not pair.alike:
        return "≠", "yellow", ""
    if pair.same_given and pair.same_got:
        return "=", None, ""
    if pair.same_given:
        return "~", None, "gave another answer"
    return "~", None, "asked otherwise"


def _step(step: Done | None) -> str:
    return "" if step is None else one_line(f"{step.kind} {step.name or ''}")


def _change(change: Change) -> Row:
    return change.name, *("-" if value is None else str(value) for value in (change.a, change.b))


def _head(text: str) -> Iterator[str]:
    yield ""
    yield styled(cut(one_line(text), screen_width()), bold=True)


def _more(count: int) -> Iterator[str]:
    if count > 0:
        yield f"  and {count:,} more (--json has them all)"
