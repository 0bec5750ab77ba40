"""`agentops-local doctor`: whether all is well with the database and what is around it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import click

from agentops_local.analytics.checkup import Checkup
from agentops_local.analytics.finding import Finding, Level
from agentops_local.cli.common import Settings, db_option, examples, json_option, print_json, screen_width, styled
from agentops_local.cli.recorded import library_findings
from agentops_local.cli.text import wrap

_MARKS = {Level.FINE: ("ok", "green"), Level.NOTE: ("note", "yellow"), Level.PROBLEM: ("WRONG", "red")}


@click.command(
    epilog=examples(
        "agentops-local doctor",
        "agentops-local doctor --full --json",
        "agentops-local doctor --repair",
        "agentops-local doctor --crash-test --seconds 30",
    )
)
@click.option("--full", is_flag=True, help="Compare every index with its table as well; slower.")
@click.option("--repair", is_flag=True, help="Put back what can be read of damaged files; nothing is deleted.")
@click.option("--crash-test", is_flag=True, help="Kill programs that record, on this disk, and count what is kept.")
@click.option(
    "--seconds",
    metavar="N",
    type=click.FloatRange(0.1),
    default=10,
    show_default=True,
    help="How long --crash-test kills.",
)
@json_option
@db_option
@click.pass_context
def doctor(ctx: click.Context, full: bool, repair: bool, crash_test: bool, seconds: float, as_json: bool) -> None:
    """Check the database, and say what is wrong.

    Where it is and how large; whether it is sound; its filesystem and permissions; SQLite's known faults; who records
    now and whose process died; events lost; copies lying beside it; the settings in force; which libraries' LLM calls
    are recorded, and which are not and why. Keys are never shown.

    With --repair, a damaged file is put aside, a new database is begun, and what can be read of every damaged file
    beside it is put into that; programs may go on recording. The exit code is 1 if something could not be done.

    With --crash-test, programs record to a database of their own beside this one, which is not touched, and are killed
    at random moments; then it is told what can be known of a power cut on this disk without one.

    The exit code is 1 if something is wrong; notes are only worth knowing.
    """
    settings: Settings = ctx.obj
    if repair and crash_test:
        raise click.UsageError("--repair and --crash-test are two commands: use one")
    if repair:
        from agentops_local.cli.repairing import repair as repair_database

        ctx.exit(repair_database(settings.path(), as_json))
    looks: Iterable[Finding] = chain(Checkup(settings.path(), full).run(), library_findings())
    if crash_test:
        from agentops_local.cli.crash_testing import findings

        looks = findings(settings.path(), seconds)
    found = []
    for finding in looks:
        found.append(finding)
        if not as_json:
            click.echo(_told(finding))
    if as_json:
        print_json([finding.to_json() for finding in found])
    ctx.exit(int(any(finding.level is Level.PROBLEM for finding in found)))


def _told(finding: Finding) -> str:
    mark, colour = _MARKS[finding.level]
    head = f"{mark:<6}{finding.about:<14} "
    first, *others = wrap(finding.text, screen_width(), " " * len(head), head)
    return "\n".join([styled(mark, fg=colour) + first[len(mark) :], *others])
