"""`agentops-local score`: how good a session was, or an event of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

from agentops_local.cli.common import Settings, complete_session, db_option, examples, json_option, print_json
from agentops_local.cli.text import one_line

if TYPE_CHECKING:
    from agentops_local.analytics.ratings import Score

_SHORT = 8  # characters of the id of an event


@click.command(
    epilog=examples(
        "agentops-local score last helpful 0.8",
        "agentops-local score last thumb down --event 0197a1b2 --note 'wrong city'",
        "agentops-local score last note 'ask again with the new prompt'",
        "agentops-local sessions --score 'helpful>=0.5'",
    ),
    context_settings={"ignore_unknown_options": True},  # a value may be below zero
)
@click.argument("session", shell_complete=complete_session)
@click.argument("name")
@click.argument("value")
@click.option("--event", metavar="ID", help="The event that is meant; the beginning of its id will do.")
@click.option("--note", metavar="TEXT", help="A remark on a thumb or a number.")
@click.option("--author", metavar="NAME", help="Who says so.")
@json_option
@db_option
@click.pass_obj
def score(
    settings: Settings, session: str, name: str, value: str, event: str | None, note: str | None, author: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Say how good a session was.

    SESSION is the beginning of its id, or `last`. VALUE is a number, `up` or `down`, or a text. What the same author
    has said under this NAME before is replaced; of notes, whose name is `note`, there may be many. `show` lists them;
    most commands take `--score` to pick sessions by them.

    They stay on this machine: agentops-sync does not upload them.
    """
    from agentops_local.analytics.ratings import as_value
    from agentops_local.analytics.scoring import score as give

    value_of = value if name.strip() == "note" else as_value(value)
    given = give(session, name, value_of, event, note=note, author=author, db=settings.path())
    if as_json:
        print_json(given.to_json())
    else:
        click.echo(told(given))


def told(one: Score) -> str:
    """A score in a line."""
    shown = one_line(one.value) if isinstance(one.value, str) else f"{one.value:.6g}"
    if one.kind == "thumb":
        shown = "up" if one.value else "down"
    where = f" (event {one.event_id[:_SHORT]})" if one.event_id else ""
    remark = f": {one_line(one.remark)}" if one.remark else ""
    author = f", {one_line(one.author)}" if one.author else ""
    return f"{one_line(one.name)} {shown}{where}{remark}{author}"


def judged(given: Iterable[Score]) -> Iterator[tuple[str, str]]:
    """The fields of a session that tell what was said of it, each under its own head."""
    for one in given:
        yield "note" if one.name == "note" else "score", told(one).removeprefix("note ")
