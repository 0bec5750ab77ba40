"""The tour: what `agentops-local demo` goes through, step by step, on real processes in a folder of its own.

A step is a heading and a function; `STEPS` lists them in order.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Collection
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import click

from agentops_local.demo import ledger, logs
from agentops_local.demo.upload import Transfer, Upload, missing_extra
from agentops_local.store.location import FILE, FOLDER, VARIABLE

_PACKAGES = Path(__file__).resolve().parents[2]


class Failed(Exception):
    """A step did not do what it was to do; the text says what."""


class Tour:
    """The demo under way.

    Args:
        folder: an empty folder.
        commands: the names of the commands that the command line has.
        color: whether colours are allowed.
    """

    def __init__(self, folder: Path, commands: Collection[str], color: bool = True) -> None:
        self.folder = folder
        self.database = folder / FOLDER / FILE
        self.commands = commands
        self.ledgers = folder / "acknowledged"
        self.readers = ""  # the session of the agent that reads the logs
        self.balance: ledger.Balance | None = None
        self.transfer: Transfer | None = None  # None: the collector's extra is not installed
        # Keys and settings of the user's own have no part in this.
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AGENTOPS_")}
        self.environ = {**kept, VARIABLE: str(self.database)}
        if "AGENTOPS_LOCAL_STRICT" in os.environ:
            self.environ["AGENTOPS_LOCAL_STRICT"] = os.environ["AGENTOPS_LOCAL_STRICT"]
        if path := _python_path():
            self.environ["PYTHONPATH"] = os.pathsep.join(path)
        if not color:
            self.environ["NO_COLOR"] = "1"

    def run(self) -> ledger.Balance:
        """Goes through all steps; returns what was acknowledged and what is stored. What was uploaded of it is in
        `transfer`."""
        for number, step in enumerate(STEPS, 1):
            click.echo()
            click.secho(f"{number}. {step.heading}", bold=True)
            step.take(self)
        assert self.balance is not None  # noqa: S101 - one of the steps is to count
        return self.balance

    def say(self, text: str) -> None:
        """A line of output, below its heading."""
        click.echo(f"   {text}")

    def show(self, command: str, *arguments: str) -> None:
        """Runs a command of the command line, as a user would in this folder, if there is one of that name."""
        if command not in self.commands:
            return
        click.echo()
        click.secho(f"$ agentops-local {' '.join([command, *arguments])}", fg="cyan")
        sys.stdout.flush()
        line = [sys.executable, "-m", "agentops_local.cli", command, *arguments]
        code = subprocess.run(line, cwd=self.folder, env=self.environ, check=False).returncode  # noqa: S603 - our own
        if code:
            self.say(f"(exit code {code})")

    def start(self, program: str) -> subprocess.Popen[str]:
        """Starts a program of the demo; what it prints can be read."""
        return subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", f"agentops_local.demo.{program}", str(self.folder)],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C is for us: we end the program, and those it has started
        )

    def session_of(self, pid: int) -> str:
        """The session of a process, by its ledger."""
        return next(session for session, _ in ledger.entries(self.ledgers / f"{pid}.ids"))


def _python_path() -> list[str]:
    """What our processes need on PYTHONPATH to find what this one has found, for they start in another folder."""
    given = os.environ.get("PYTHONPATH")
    path = [str(Path(entry).absolute()) for entry in given.split(os.pathsep)] if given else []
    # Python was started in the folder that holds our package (`python -m`), and may know it from nowhere else.
    if sys.path and Path(sys.path[0]).resolve() == _PACKAGES:
        path.insert(0, str(_PACKAGES))
    return path


def end(program: subprocess.Popen[str]) -> None:
    """Ends a program and all that it has started, if it still runs."""
    if program.poll() is None:
        if sys.platform == "win32":
            program.kill()
        else:
            os.killpg(program.pid, signal.SIGKILL)
    for pipe in (program.stdin, program.stdout):
        if pipe is not None:
            pipe.close()
    program.wait()


# Steps --------------------------------------------------------------------------------------------------------------


def _write(tour: Tour) -> None:
    lines = logs.write_logs(tour.folder / "logs")
    files = len(logs.SERVICES) * len(logs.HOURS)
    tour.say(f"{files} log files of a shop, {lines:,} lines, with {len(logs.PLANTED)} faults planted in them.")
    tour.say(f"They lie in {tour.folder}")


def _read(tour: Tour) -> None:
    tour.say("What stands in for the model is a handful of rules: its tokens are words, and")
    tour.say("its price is made up. Processes, files, tools and the kill are real.")
    click.echo()
    planner = tour.start("planner")
    try:
        for line in planner.stdout or ():
            tour.say(line.rstrip("\n"))
        if planner.wait() != 0:
            raise Failed(f"the planner ended with exit code {planner.returncode}")
    finally:
        end(planner)
    click.echo()
    report: dict[str, str] = json.loads((tour.folder / "report.json").read_text(encoding="utf-8"))
    for name, finding in report.items():
        tour.say(f"{name:<16} {finding}")
    right = len(report.keys() & logs.PLANTED.keys())
    tour.say(f"{right} of {len(logs.PLANTED)} planted faults found, {len(report) - right} false alarms.")
    tour.readers = tour.session_of(planner.pid)


def _die(tour: Tour) -> None:
    repair = tour.start("adrift")
    try:
        said = (repair.stdout.readline() if repair.stdout else "").strip()
        if not said:
            raise Failed(f"the second agent ended with exit code {repair.wait()}")
        tour.say(f"{'repair':<9} pid {repair.pid:<7} {said}, and is killed")
    finally:
        end(repair)


def _look(tour: Tour) -> None:
    tour.show("sessions")
    tour.show("show", tour.readers[:13], "--events", "12")  # the head of the id, down to its millisecond
    tour.show("show", "last")
    tour.show("stats")
    tour.show("doctor")


def _upload(tour: Tour) -> None:
    if missing := missing_extra():
        tour.say(f"Skipped: {missing} is not installed (pip install 'agentops-local[server]').")
        return
    tour.say("A collector, the daemon agentops-sync, and between them a network that fails.")
    tour.say("What became of a request without an answer is looked up on the server; here")
    tour.say("that is done after a second, else after a minute.")
    try:
        with closing(Upload(tour)) as upload:
            tour.say(f"collector pid {upload.collector_pid}, network {upload.url}")
            upload.drop_and_kill()
            upload.drain()
            tour.say("another daemon has sent the rest")
            tour.transfer = upload.verify()
    except RuntimeError as error:
        raise Failed(str(error)) from error


def _count(tour: Tour) -> None:
    balance = tour.balance = ledger.compare(tour.ledgers, tour.database)
    tour.say("Each process wrote down, outside the database, the id of every event whose")
    tour.say("record() had returned. Each of them has to be in the database, once.")
    if balance.unacknowledged:
        tour.say(f"{balance.unacknowledged} more stored: its process was killed before it could write down the id.")


class Step(NamedTuple):
    """One step of the tour."""

    heading: str
    take: Callable[[Tour], None]


STEPS = (
    Step("A folder of logs", _write),
    Step("An agent reads them: a planner and three workers in one session", _read),
    Step("Another agent dies without a word", _die),
    Step("What the recorder has kept", _look),
    Step("Acknowledged and stored", _count),
    Step("Uploaded, over a network that drops twice, by a daemon that is killed", _upload),
)
