"""`agentops-local replay`: a program once more, its LLM calls answered from what was recorded."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentops_local.cli.common import Settings, complete_session, db_option, examples, pick
from agentops_local.cli.text import clean, one_line

if TYPE_CHECKING:
    from agentops_local.replay.running import Outcome
    from agentops_local.replay.tape import Tally

LEFT_OVER = 4  # the exit code where the program has not asked for all calls, and was to

_SHOWN = 10  # of what is listed
_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


def _pairs(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, Path]:
    """Files by the call whose answer they hold."""
    found = {}
    for value in values:
        name, equals, file = value.partition("=")
        if not (name and equals and file):
            raise click.BadParameter(f"{value!r} is not of the form CALL=FILE", ctx, param)
        path = Path(file)
        if not path.is_file():
            raise click.BadParameter(f"there is no file {file!r}", ctx, param)
        found[name] = path
    return found


@click.command(
    epilog=examples(
        "agentops-local replay last -- python agent.py --fast",
        "agentops-local replay 0190b2f6 --offline --complete -- python agent.py",
        "agentops-local replay last --override 3=answer.txt --live -- python agent.py",
        "agentops-local replay last --from 5 -- python agent.py",
        "agentops-local replay last --ignore '20[0-9-]{8}' -- python agent.py",
    )
    + """

\b
Exit codes:
  the program's own, but for
  1  there is nothing to replay, or the program cannot be started
  3  it was stopped: it asked what was not recorded
  4  with --complete: it did not ask for all of the calls""",
)
@db_option
@click.option("--override", "overrides", metavar="CALL=FILE", multiple=True, callback=_pairs,
              help="Answer a call with the text of a file, or the message in it (JSON with role or tool_calls). "
                   "CALL is its number, or the id of its event.")  # fmt: skip
@click.option("--from", "start", metavar="CALL",
              help="Answer the calls before this one; from there on the program speaks to the provider.")  # fmt: skip
@click.option("--live", "is_live", is_flag=True, help="Let calls that were not recorded go to the provider.")
@click.option("--ignore", "ignored", metavar="REGEX", multiple=True,
              help="What may differ within messages, such as a date.")  # fmt: skip
@click.option("--strict-params", "is_strict", is_flag=True, help="Stop also where model, tools or settings differ.")
@click.option("--offline", "is_offline", is_flag=True, help="Stop at every other request, too.")
@click.option("--complete", "is_complete", is_flag=True, help="Exit with 4 if a recorded call is not asked for.")
@click.option("--no-record", "is_silent", is_flag=True, help="Do not record the replay as a session.")
@click.argument("session", shell_complete=complete_session)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def replay(
    settings: Settings, /, session: str, command: tuple[str, ...], is_complete: bool, is_silent: bool, **wishes: Any
) -> None:
    """Run a program again, with the LLM calls of a recorded SESSION.

    The program is not changed. Its own libraries build each request, and get the answer that was recorded for the same
    messages, streams as streams; nothing is sent to a provider. The first request that fits no recorded call stops the
    program, and what differs is shown.

    The replay is recorded as a session of its own, with the tag "replay".
    """
    from agentops_local.analytics.reading import reading
    from agentops_local.replay.running import Wishes
    from agentops_local.replay.running import replay as run
    from agentops_local.shim import python_path

    if not command:
        raise click.UsageError("no command is given: write it after --, as in `agentops-local replay last -- "
                               "python agent.py`")  # fmt: skip
    path = settings.path()
    with reading(path) as connection:
        session_id = pick(connection, session)
    environ = {**os.environ, "PYTHONPATH": python_path(os.environ)}
    outcome = run(path, session_id, command, Wishes(is_recorded=not is_silent, **wishes), environ)
    tally = outcome.tally
    if tally.end is not None:
        for line in _difference(tally.end):
            _say(line)
    for line in _summary(outcome):
        _say(line)
    if tally.end is None and is_complete and tally.left:
        sys.exit(LEFT_OVER)
    sys.exit(outcome.code)


def _difference(end: dict[str, Any]) -> list[str]:
    """Why the program was stopped."""
    told = end.get("problem")
    if told is None:
        told = f"call {end['number']} is not asked for as it was recorded (event {end['event']})"
    diff = [_coloured(line) for line in end.get("diff", ())]
    others = [f"  {one_line(one)}" for one in end.get("others", ())]
    return [f"agentops-local replay: stopped: {one_line(told)}", *diff, *others]


def _summary(outcome: Outcome) -> list[str]:
    tally = outcome.tally
    told = [f"{tally.answered} of {tally.calls} recorded calls answered"]
    if tally.passed:
        told.append(f"{tally.passed} {'request' if tally.passed == 1 else 'requests'} sent to the provider")
    if tally.left:
        told.append("not asked for: " + _left(tally))
    if outcome.session is not None:
        told.append(f"session {outcome.session}")
    lines = [f"{one_line(remark)}" for remark in tally.remarks[:_SHOWN]]
    if len(tally.remarks) > _SHOWN:
        lines.append(f"and {len(tally.remarks) - _SHOWN} more differences of this kind")
    return [f"agentops-local replay: {line}" for line in (*lines, "; ".join(told))]


def _left(tally: Tally) -> str:
    shown = ", ".join(str(number) for number, _ in tally.left[:_SHOWN])
    return shown if len(tally.left) <= _SHOWN else f"{shown} and {len(tally.left) - _SHOWN} more"


def _coloured(line: str) -> str:
    colour = _COLOURS.get(line[:1]) if sys.stderr.isatty() and not os.environ.get("NO_COLOR") else None
    return clean(line) if colour is None else click.style(clean(line), fg=colour)


def _say(line: str) -> None:
    click.echo(line, err=True, color=True)
