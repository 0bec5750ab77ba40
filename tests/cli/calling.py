"""The command, called as people and programs call it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from click.testing import CliRunner

from agentops_local.cli import cli

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "agentops_local.cli"]


class Said(NamedTuple):
    """What a command has said."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """What it said on standard output, by line."""
        return self.out.splitlines()

    @property
    def json(self) -> Any:
        """The same, as JSON."""
        return json.loads(self.out)


def call(*args: object, **environ: str) -> Said:
    """Calls the command in this process."""
    given = {"COLUMNS": "80", **environ}
    result = CliRunner().invoke(cli, [*map(str, args)], env=given, prog_name="agentops-local", terminal_width=78)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Said(result.exit_code, result.stdout, result.stderr)


def environment(**more: str) -> dict[str, str]:
    """The environment of a command in a process of its own."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", **more}


def execute(*args: object, **environ: str) -> Said:
    """Calls the command in a process of its own."""
    done = subprocess.run(
        [*COMMAND, *map(str, args)], env=environment(**environ), capture_output=True, timeout=60, check=False
    )
    return Said(done.returncode, done.stdout.decode(), done.stderr.decode())


def on_terminal(*args: object, width: int = 80, **environ: str) -> Said:
    """Calls the command on a terminal of its own."""
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    given = {**environment(**environ), "TERM": "xterm"}
    given.pop("COLUMNS")
    program = subprocess.Popen([*COMMAND, *map(str, args)], env=given, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    heard = b""
    try:
        while chunk := os.read(ours, 1 << 16):
            heard += chunk
    except OSError:  # Linux: the other side is closed
        pass
    os.close(ours)
    return Said(program.wait(60), heard.decode(), "")
