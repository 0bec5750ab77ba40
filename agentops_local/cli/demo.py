"""`agentops-local demo`: what this is, shown on a small agent at real work."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import click

from agentops_local.cli.common import examples
from agentops_local.demo.tour import Failed, Tour


@click.command(epilog=examples("agentops-local demo", "agentops-local demo --dir /tmp/demo"))
@click.option(
    "--dir",
    "chosen",
    metavar="PATH",
    type=click.Path(file_okay=False, path_type=Path),
    help="Work in this folder, new or empty, and keep it; default: a temporary one.",
)
@click.option("--keep", is_flag=True, help="Keep the temporary folder.")
@click.option("--no-color", is_flag=True, help="Print without colours.")
@click.pass_context
def demo(ctx: click.Context, chosen: Path | None, keep: bool, no_color: bool) -> None:
    """Record a small agent at work, kill a part of it, and count what was kept.

    A planner and three workers, each a process of its own, read a folder of logs in one session; one worker is killed
    while it reads, and replaced. Then the commands of agentops-local show what happened, and agentops-sync uploads it
    to a collector, over a network that drops twice; it is killed in the midst of that, and started again. The last two
    lines compare the events that the processes were acknowledged with those in the database, and those with what the
    collector holds. All of it is offline and takes seconds.

    The exit code is 1 if an event was lost or doubled, or the demo failed.
    """
    color = not (no_color or os.environ.get("NO_COLOR"))
    if not color:
        ctx.color = False
    folder = _folder(chosen)
    keep = keep or chosen is not None
    click.secho("agentops-local demo", bold=True)
    click.echo("   A small agent works, a part of it is killed, and every event is counted.")
    click.echo("   It needs no network, no account and no key.")
    try:
        tour = Tour(folder, _commands(ctx), color=color)
        balance, transfer = tour.run(), tour.transfer
        bad = balance.lost or balance.doubled or (transfer and (transfer.lost or transfer.doubled))
        keep = keep or bool(bad)  # what went wrong can be looked at
    except Failed as error:
        keep = True
        raise click.ClickException(str(error)) from error
    finally:
        click.echo(f"   {_leave(folder, keep)}")
    click.echo()
    counts = (balance.acknowledged, balance.stored, balance.lost, balance.doubled)
    click.secho("acknowledged {}, stored {}, lost {}, doubled {}".format(*counts), bold=True)
    if transfer is not None:
        click.secho("recorded {}, uploaded {}, lost {}, doubled {}".format(*transfer), bold=True)
    sys.exit(1 if bad else 0)


def _folder(chosen: Path | None) -> Path:
    """The folder to work in, made and empty."""
    if chosen is None:
        return Path(tempfile.mkdtemp(prefix="agentops-demo-")).resolve()
    try:
        chosen.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(chosen.iterdir()):
            raise click.BadParameter(f"{chosen} is not empty: name a new folder", param_hint="--dir")
    except OSError as error:
        raise click.BadParameter(f"{chosen} cannot be used ({error.strerror})", param_hint="--dir") from error
    return chosen.resolve()


def _commands(ctx: click.Context) -> list[str]:
    """The commands that the command line has."""
    root = ctx.find_root()
    return root.command.list_commands(root) if isinstance(root.command, click.Group) else []


def _leave(folder: Path, keep: bool) -> str:
    """Removes the folder, unless it is kept; says what became of it."""
    if keep:
        return f"Look on with: cd {folder} && agentops-local sessions"
    shutil.rmtree(folder, ignore_errors=True)
    return f"{folder} is removed; with --keep it stays."
