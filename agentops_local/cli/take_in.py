"""`agentops-local import`: files of other programs, and our own exports."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from agentops_local.cli.common import Settings, db_option, examples, json_option, print_json
from agentops_local.cli.merging import told
from agentops_local.cli.text import many, one_line

if TYPE_CHECKING:
    from agentops_local.importing import TakenIn

_FORMATS = ("auto", "v2", "jsonl", "chat", "otlp", "db")  # importing.FORMATS, not loaded yet
_SESSIONS = 3
_NAMED = 20  # of what is skipped, so many are named; `--json` names more

_HELP = """\
Take in files, as if what they tell had been recorded here.

FILE is a path, or - for stdin; compressed with gzip or not. What is here already is left out, so a file may be taken in
again. What cannot be taken in is named by its place and skipped: then the exit code is 1.

\b
v2     sessions as the AgentOps API exports them
jsonl  our own export of all that is known
chat   runs as lists of chat messages: trajectories, fine-tuning files
otlp   OpenTelemetry traces as JSON, of LLM calls, tools and agents
db     another database, as `merge` takes it in
"""


@click.command(
    "import",
    help=_HELP,
    epilog=examples(
        "agentops-local import runs.jsonl.gz",
        "agentops-local import trajectories.json --outcome score --model gpt-4o",
        "agentops-local export --all --format jsonl | ssh pc agentops-local import -",
        "agentops-local import --strict --dry-run traces.json",
    )
    + "\n\n\b\nExit codes:\n  0  all of it\n  1  something was skipped, or it did not work\n  2  wrong use",
)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(allow_dash=True))
@click.option(
    "--format", "-f", "form", type=click.Choice(_FORMATS), default="auto", show_default=True, help="See above."
)
@click.option("--strict", is_flag=True, help="Take in all or, if anything is wrong, nothing.")
@click.option("--dry-run", is_flag=True, help="Only tell what would come.")
@click.option(
    "--outcome", metavar="FIELD", default="reward", show_default=True,
    help="chat: the field that tells how a run ended; 1 is a success, less is none.",
)  # fmt: skip
@click.option("--model", metavar="MODEL", help="chat: the model of runs that name none.")
@click.option(
    "--tag", "tags", metavar="FIELD", multiple=True, default=("task_id", "trial"), show_default=True,
    help="chat: a field that becomes a tag.",
)  # fmt: skip
@json_option
@db_option
@click.pass_obj
def take_in(
    settings: Settings, files: tuple[str, ...], form: str, strict: bool, dry_run: bool, outcome: str, model: str | None,
    tags: tuple[str, ...], as_json: bool,
) -> None:  # fmt: skip
    """Takes in files."""
    from agentops_local.importing import Manner
    from agentops_local.importing import take_in as take

    with _bar() as progress:
        done = take(
            settings.path(), files, form=form, strict=strict, dry_run=dry_run, manner=Manner(outcome, model, tags),
            progress=progress,
        )  # fmt: skip
    if as_json:
        print_json(asdict(done))
    else:
        for line in _report(done, dry_run):
            click.echo(line)
    for line in _wrong(done):
        click.echo(line, err=True)
    if done.skipped:
        raise SystemExit(1)


def _report(done: TakenIn, dry_run: bool) -> Iterator[str]:
    yield from told(done, dry_run, "file")
    if done.partial:
        named = ", ".join(done.partial[:_SESSIONS]) + (", ..." if len(done.partial) > _SESSIONS else "")
        yield f"of {many(len(done.partial), 'session')} something was skipped: {named}"


def _wrong(done: TakenIn) -> Iterator[str]:
    for file, place, reason in done.wrong[:_NAMED]:
        yield one_line(f"skipped {file}, {place}: {reason}")
    if done.skipped > _NAMED:
        yield f"and {done.skipped - _NAMED:,} more"


@contextmanager
def _bar() -> Iterator[Callable[[str, int, int], None]]:
    """A bar that shows how much of a file is read, where somebody sees it."""
    with click.progressbar(length=1, label="reading", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        current = ""

        def show(file: str, done: int, total: int) -> None:
            nonlocal current
            if file != current:
                current, bar.pos = file, 0
            bar.length = max(total, 1)
            bar.update(max(0, min(done, bar.length) - bar.pos))

        yield show
