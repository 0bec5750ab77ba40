"""`agentops-local rm`: sessions erased, for good."""

from __future__ import annotations

import click

from agentops_local.analytics.erase import refuse, unfinished
from agentops_local.analytics.owners import Status
from agentops_local.analytics.reading import reading
from agentops_local.analytics.sessions import summary
from agentops_local.cli.common import Settings, complete_session, db_option, examples, json_option, pick
from agentops_local.cli.erasing import erase, rewrite_option, tell


@click.command(
    epilog=examples(
        "agentops-local rm 0197a1b2-c3d4",
        "agentops-local rm last --json",
        "agentops-local rm --force 0197a1b2-c3d4",
        "agentops-local rm --rewrite",
    )
)
@click.argument("sessions", metavar="[SESSION]...", shell_complete=complete_session, nargs=-1)
@click.option("--force", is_flag=True, help="Also sessions that run, or may run.")
@rewrite_option
@json_option
@db_option
@click.pass_obj
def rm(settings: Settings, sessions: tuple[str, ...], force: bool, rewrite: bool, as_json: bool) -> None:
    """Erase sessions, for good.

    From the tables, from the file and from its write-ahead log. SESSION is the beginning of an id, or `last`. Messages
    that another session holds as well stay, for that one.
    Without a SESSION what an earlier erasure has left is finished.

    A running session is refused, with exit code 1, and then none is erased. With --force what it has recorded so far is
    erased; what it records afterwards begins it anew.
    """
    path = settings.path()
    erasable = frozenset(Status) if force else frozenset({Status.ENDED, Status.DIED})
    with reading(path) as connection:
        if not (sessions or rewrite or unfinished(connection)):
            raise click.UsageError("name a session: `agentops-local sessions` lists them")
        names = list(dict.fromkeys(pick(connection, name) for name in sessions))
        for name in names:
            refuse(name, summary(connection, name).status, erasable)
    tell(path, erase(path, names, erasable, rewrite), as_json)
