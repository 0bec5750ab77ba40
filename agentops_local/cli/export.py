"""`agentops-local export`: sessions as files for other programs and people."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import click

from agentops_local.cli.common import Settings, complete_session, db_option, examples, price
from agentops_local.cli.filtering import filter_options
from agentops_local.cli.text import many

if TYPE_CHECKING:
    from agentops_local.analytics.filters import Filter
    from agentops_local.exporting.work import Exported, Sessions

_FORMATS = ("v2", "jsonl", "csv", "parquet", "html", "otlp")  # exporting.FORMATS and TABLES, not loaded yet
_TABLES = ("events", "llms", "tools", "actions", "errors", "sessions")


# All but tabs and the ends of lines; and what turns the direction of writing.
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")

_HELP = """\
Write sessions as files.

SESSION is the beginning of an id, or `last`. Without any, the options below say which: those that began since,
with a tag, in a state, in which an agent or model took part; or --all.

\b
v2       JSON as the AgentOps API gives it; of several sessions a list
jsonl    a row a line, all that is known: `agentops-local import` takes it
csv      a table; texts that a spreadsheet would take for formulas get a '
parquet  the same with types; needs the extra `parquet`
html     a page to share: it holds all it needs and runs no script
otlp     OpenTelemetry traces as JSON, by its conventions for generative AI

A file appears when it is whole, readable by you alone: prompts hold secrets.
"""


@click.command(
    help=_HELP,
    epilog=examples(
        "agentops-local export last",
        "agentops-local export last --format html -o run.html",
        "agentops-local export --all --format jsonl -o runs.jsonl",
        "agentops-local export --since 7d --format csv --table llms -o calls.csv",
        "agentops-local export --state fail -o failed/",
    ),
)
@click.argument("sessions", metavar="[SESSION]...", nargs=-1, shell_complete=complete_session)
@click.option("--format", "-f", "form", type=click.Choice(_FORMATS), default="v2", show_default=True, help="See above.")
@click.option(
    "--out", "-o", metavar="PLACE", default="-", help="A file; a folder, for a file each; - for stdout (default)."
)
@click.option("--all", "every", is_flag=True, help="All sessions.")
@click.option("--table", type=click.Choice(_TABLES), help="Which one, of csv and parquet.  [default: events]")
@click.option("--without-content", is_flag=True, help="Ids, times, names and numbers only: nothing that was said.")
@click.option("--each-message-once", is_flag=True, help="jsonl: messages on lines of their own, not in each call anew.")
@click.option("--force", is_flag=True, help="Replace a file that is there already.")
@db_option
@click.pass_obj
@filter_options
def export(
    settings: Settings, sessions: tuple[str, ...], form: str, out: str, every: bool, table: str | None,
    without_content: bool, each_message_once: bool, force: bool, where: Filter,
) -> None:  # fmt: skip
    """Writes sessions as files."""
    from agentops_local.analytics.filters import Filter

    narrowed = where != Filter()
    if bool(sessions) + (narrowed or every) != 1:
        raise click.UsageError("name sessions, or say which with --all, --since, --tag and the like: one of the two")
    if out == "-" and form == "parquet" and sys.stdout.isatty():
        raise click.UsageError("parquet is nothing to look at: name a file with -o")
    price(settings.path())
    wanted: Sessions = where if not sessions else sessions[0] if len(sessions) == 1 else list(sessions)
    done = _export(settings, wanted, form, out, {
        "table": table, "content": not without_content, "each_message_once": each_message_once, "force": force,
    })  # fmt: skip
    if done.files or not done.sessions:
        places = str(done.files[0]) if len(done.files) == 1 else many(len(done.files), "file")
        click.echo(f"{many(done.sessions, 'session')}, {many(done.events, 'event')}: {places}", err=True)


def _export(settings: Settings, wanted: Sessions, form: str, out: str, how: dict[str, Any]) -> Exported:
    """The export itself; on a terminal it says how far it is, where the file is not the terminal."""
    from agentops_local.exporting.work import export as run

    how = {name: value for name, value in how.items() if value is not None}
    if out == "-":
        stream = cast("BinaryIO", _Screen(sys.stdout.buffer)) if sys.stdout.isatty() else sys.stdout.buffer
        done = run(settings.path(), wanted, form, stream, **how)
        sys.stdout.flush()
        return done
    if not sys.stderr.isatty():
        return run(settings.path(), wanted, form, _place(out), **how)
    try:
        return run(settings.path(), wanted, form, _place(out), heard=_tell, **how)
    finally:
        click.echo("\r\033[K", nl=False, err=True)


class _Screen:
    """Standard output that is a terminal, which might obey what was recorded: control characters stand as escapes, as
    in JSON."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, data: bytes) -> int:
        """Writes some whole characters."""
        text = _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", bytes(data).decode("utf-8", "replace"))
        self._stream.write(text.encode())
        return len(data)


def _place(out: str) -> str:
    return out if out.endswith(("/", os.sep)) else str(Path(out).expanduser())


def _tell(events: int) -> None:
    click.echo(f"\r{events:,} events", nl=False, err=True)
