"""`agentops-local run`: starts a program with an environment in which `import agentops` means us.

On POSIX the program takes the place of this process, so its signals, exit status and terminal are its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from typing import NoReturn
from uuid import UUID

import click

from agentops_local.cli.common import Settings, examples
from agentops_local.clock import new_id
from agentops_local.config import SESSION_VARIABLE
from agentops_local.shim import python_path
from agentops_local.store.location import VARIABLE, find_database

# What a shell answers, so that scripts need not know us.
_NOT_EXECUTABLE = 126
_NOT_FOUND = 127


def _session(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """The id of the session that is meant."""
    if value is None:
        return None
    try:
        return str(new_id() if value == "new" else UUID(value))
    except ValueError:
        raise click.BadParameter(f"{value!r} is neither 'new' nor the UUID of a session", ctx, param) from None


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog=examples(
        "agentops-local run -- python agent.py --fast",
        "agentops-local run --session new -- make agents",
        "agentops-local run --db /tmp/try.db -- pytest tests",
    ),
)
@click.option("--db", metavar="PATH", help="The database to record to. Default: that of the whole command.")
@click.option(
    "--session",
    metavar="new|UUID",
    callback=_session,
    help="One session for all the processes: a new one, or the one with this UUID.",
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def run(settings: Settings, db: str | None, session: str | None, command: tuple[str, ...]) -> None:
    """Run a program that imports agentops, and record it here.

    The program is not changed: in it, and in every process it starts, `import agentops` gives agentops_local, whatever
    AgentOps SDK is installed. Its Python must have agentops_local; Python's own options -I and -E shut us out. All its
    processes record to one database, that of the folder you are in, unless the program names another.

    The exit code is the program's; 127 if there is no such program, 126 if it cannot be executed.
    """
    if not command:
        raise click.UsageError("no command is given: write it after --, as in `agentops-local run -- python agent.py`")
    environ = dict(os.environ)
    environ["PYTHONPATH"] = python_path(environ)
    # Found here, once: a process that works in another folder would find another.
    environ[VARIABLE] = str(find_database(db or settings.db))
    if session is not None:
        environ[SESSION_VARIABLE] = session
    _replace(command, environ)


def _replace(command: tuple[str, ...], environ: dict[str, str]) -> NoReturn:
    """Becomes the program or, where there is no exec, waits for it and ends as it does."""
    if os.name != "posix":
        sys.exit(_wait(command, environ))
    sys.stdout.flush()
    sys.stderr.flush()
    # Python ignores these in its own process; the program would inherit it, and `yes | head` complain.
    for name in ("SIGPIPE", "SIGXFZ", "SIGXFSZ"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        os.execvpe(command[0], command, environ)  # noqa: S606 - to start the user's program is the purpose
    except OSError as error:
        _refuse(command[0], error)


def _wait(command: tuple[str, ...], environ: dict[str, str]) -> int:
    # CreateProcess would find .exe files only.
    program = shutil.which(command[0], path=environ.get("PATH"))
    try:
        process = subprocess.Popen([program or command[0], *command[1:]], env=environ)  # noqa: S603 - as above
    except OSError as error:
        _refuse(command[0], error)
    # Ctrl-C reaches the program as well, and what it means is for the program to decide.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return process.wait()


def _refuse(program: str, error: OSError) -> NoReturn:
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        click.echo(f"agentops-local run: {program}: there is no such program", err=True)
        sys.exit(_NOT_FOUND)
    click.echo(f"agentops-local run: {program}: cannot be executed ({error.strerror or error})", err=True)
    sys.exit(_NOT_EXECUTABLE)
