"""A notebook, driven from outside: a real kernel whose cells record, that is interrupted and restarted in the midst of
it. `main(interrupts, chance)`; what the cells tell is told on, with a line `session ID END` for what became of each."""

from __future__ import annotations

import os
import random
import threading
from pathlib import Path
from typing import Any

from jupyter_client.manager import KernelManager

from tests.reliability.programs.telling import TOLD_IN, say

PATIENCE = 60.0

BEGIN = """
import agentops_local as agentops
from tests.reliability.programs.telling import act, say, think
session = agentops.init()
say("began", session.session_id)
act("first")
assert agentops.init() is session
"""
BUSY = """
number = 0
while True:
    number += 1
    act("busy")
    think("a notebook", number % 10)
"""
AGAIN = """
assert agentops.init() is session and session.is_running
act("again")
"""
ENDED = """
agentops.end_session("Success")
later = agentops.init()
assert later is not session
say("began", later.session_id)
act("later")
"""


class Pipe:
    """Takes what the kernels tell, whichever they are, and tells it on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path, 0o600)
        self._file = os.open(path, os.O_RDWR)  # writing too: so it does not end with a kernel
        self._changed = threading.Condition()
        self.lines: list[list[str]] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        rest = b""
        while True:
            *whole, rest = (rest + os.read(self._file, 1 << 16)).split(b"\n")
            for line in whole:
                say(line.decode())
            with self._changed:
                self.lines += [line.decode().split() for line in whole]
                self._changed.notify_all()

    def more(self, count: int) -> None:
        """Waits for so many lines more."""
        with self._changed:
            wanted = len(self.lines) + count
            assert self._changed.wait_for(lambda: len(self.lines) >= wanted, PATIENCE), self.lines[-3:]

    def began(self, count: int) -> str:
        """The id of the n-th session, once the kernel has told it."""

        def told() -> list[str]:
            return [line[1] for line in self.lines if line[0] == "began"]

        with self._changed:
            assert self._changed.wait_for(lambda: len(told()) >= count, PATIENCE), self.lines[-3:]
            return told()[count - 1]


class Notebook:
    """A kernel and its client.

    Args:
        told: where the cells tell what they recorded.
    """

    def __init__(self, told: Path) -> None:
        self.kernel = KernelManager(kernel_name="python3", transport="ipc")
        self.kernel.start_kernel(env={**os.environ, TOLD_IN: str(told)})
        self.client = self.kernel.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=PATIENCE)

    def send(self, cell: str) -> str:
        """Runs a cell, without waiting for its end."""
        return str(self.client.execute(cell))

    def answer(self, sent: str) -> dict[str, Any]:
        """How a cell ended."""
        while True:
            message = self.client.get_shell_msg(timeout=PATIENCE)
            if message["parent_header"].get("msg_id") == sent:
                content: dict[str, Any] = message["content"]
                return content

    def run(self, cell: str, fails: str | None = None) -> None:
        """Runs a cell to its end, or to the exception that it fails with."""
        content = self.answer(self.send(cell))
        assert content.get("ename") == fails, content

    def restart(self, now: bool) -> None:
        """Ends the kernel, by SIGKILL if it is to be now, and begins a new one."""
        self.kernel.restart_kernel(now=now)
        self.client.wait_for_ready(timeout=PATIENCE)

    def close(self) -> None:
        """Ends the kernel, and waits for it."""
        self.client.stop_channels()
        self.kernel.shutdown_kernel()


def main(interrupts: int, chance: int) -> None:
    """The notebook's life."""
    dice = random.Random(chance)
    pipe = Pipe(Path("told").absolute())
    notebook = Notebook(pipe.path)
    notebook.run(BEGIN)
    for _ in range(interrupts):
        busy = notebook.send(BUSY)
        pipe.more(dice.randrange(3, 60))
        notebook.kernel.interrupt_kernel()
        assert notebook.answer(busy)["ename"] == "KeyboardInterrupt"
        notebook.run(AGAIN)
    notebook.run("1 / 0", fails="ZeroDivisionError")
    notebook.run(AGAIN)
    notebook.send(BUSY)
    pipe.more(dice.randrange(3, 60))
    notebook.restart(now=True)
    say("session", pipe.began(1), "died")
    notebook.run(BEGIN)
    notebook.run(ENDED)
    notebook.run("1 / 0", fails="ZeroDivisionError")
    notebook.restart(now=False)
    say("session", pipe.began(2), "Success")
    say("session", pipe.began(3), "exit")
    notebook.run(BEGIN)
    notebook.close()
    say("session", pipe.began(4), "exit")
