"""`agentops-local prune`: old sessions erased."""

from __future__ import annotations

import click

from agentops_local.analytics import pruning
from agentops_local.analytics.erase import Erased, unfinished
from agentops_local.analytics.owners import Status
from agentops_local.analytics.reading import iso, reading
from agentops_local.cli.common import Settings, db_option, examples, json_option, print_json, screen_width
from agentops_local.cli.erasing import erase, rewrite_option, tell
from agentops_local.cli.table import Column, table
from agentops_local.cli.text import many, moment
from agentops_local.clock import now_us
from agentops_local.figures import size

_ROUNDS = 4  # what a session takes in the file is an estimate, so it is measured and tried again
_COLUMNS = (Column("SESSION"), Column("STATE"), Column("STARTED"), Column("ENDED OR LAST SEEN"))


@click.command(
    epilog=examples(
        "agentops-local prune --older-than 30d --dry-run",
        "agentops-local prune --older-than 2w --max-size 500MB",
    )
)
@click.option("--older-than", metavar="AGE", help="Sessions that were over longer ago than this: 30d, 12h, 2w, 90m.")
@click.option("--max-size", metavar="SIZE", help="The oldest sessions, until the rest fits into this: 500MB, 2GiB.")
@click.option("--unknown", is_flag=True, help="Also sessions of which nobody can tell whether they still run.")
@click.option("--dry-run", is_flag=True, help="Only list what would be erased.")
@rewrite_option
@json_option
@db_option
@click.pass_obj
def prune(
    settings: Settings,
    older_than: str | None,
    max_size: str | None,
    unknown: bool,
    dry_run: bool,
    rewrite: bool,
    as_json: bool,
) -> None:
    """Erase old sessions, as `rm` does.

    Only sessions that are over: ended, or none of their processes lives. Those that run stay, and so do those of which
    that cannot be told from here (see --unknown). If the rest is larger than --max-size all the same, the exit code is
    1.
    """
    if older_than is None and max_size is None:
        raise click.UsageError("say what is old: --older-than 30d, --max-size 500MB, or both")
    before = None if older_than is None else now_us() - pruning.parse_age(older_than) * 1_000_000
    most = None if max_size is None else pruning.parse_size(max_size)
    erasable = {Status.ENDED, Status.DIED} | ({Status.UNKNOWN} if unknown else set())
    plan = pruning.Plan(frozenset(erasable), before, most)
    if dry_run:
        _list(settings, plan, as_json)
    else:
        _prune(settings, plan, rewrite, as_json)


def _list(settings: Settings, plan: pruning.Plan, as_json: bool) -> None:
    with reading(settings.path()) as connection:
        going = plan.make(connection)
    if as_json:
        print_json(
            [
                {"session_id": one.id, "status": one.status.value, "init_timestamp": iso(one.init_us),
                 "last_seen": iso(one.over_us)}
                for one in going
            ]
        )  # fmt: skip
        return
    utc = settings.utc
    rows = [(one.id, one.status.value, moment(one.init_us, utc), moment(one.over_us, utc)) for one in going]
    if rows:
        click.echo("\n".join(table(_COLUMNS, rows, screen_width())))
    click.echo(f"{many(len(going), 'session')} would be erased")


def _prune(settings: Settings, plan: pruning.Plan, rewrite: bool, as_json: bool) -> None:
    path = settings.path()
    done = Erased(wal_emptied=True, rewritten=True)
    used, tried = 0, False
    for _ in range(_ROUNDS):
        with reading(path) as connection:
            used = pruning.used_bytes(connection)
            going = plan.make(connection)
            left = unfinished(connection)
        if not going and (tried or not left):
            break
        tried = True
        done = done.and_then(erase(path, [one.id for one in going], plan.erasable, rewrite, passing=True))
    tell(path, done, as_json)
    if plan.most is not None and used > plan.most:
        raise click.ClickException(f"{size(used)} are left: what is not over cannot be erased")
