"""The outer side of the fault tests: it starts programs, holds them to what they said, and reads the database as any
other program would. No test waits for time to pass; what is waited for is a line on a pipe, and not for ever."""

from __future__ import annotations

import json
import os
import random
import selectors
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from tests.reliability.scorecard import Score
from tests.reliability.tools.inside import conversation

ROOT = Path(__file__).parents[3]
# Read before the tests take such variables away.
SCALE = float(os.environ.get("AGENTOPS_TEST_SCALE", "1"))
_SEED = os.environ.get("AGENTOPS_TEST_SEED", "")
PATIENCE = 60.0  # seconds until a silent program counts as hung

SESSION = "0190a000-0000-7000-8000-000000000001"
DB = ".agentops/agentops.db"

# Forking a process that has threads is what some of the programs do on purpose.
_QUIET = "ignore:This process:DeprecationWarning"
_BEGIN = "from tests.reliability.tools.inside import *\n"


def scaled(count: int) -> int:
    """A number of repetitions: AGENTOPS_TEST_SCALE=10 makes the faults ten times as many."""
    return max(1, round(count * SCALE))


def seed(otherwise: int | None = None) -> int:
    """Where a test draws its chances from: AGENTOPS_TEST_SEED, or another number each time. A test prints it.

    Args:
        otherwise: the number in place of another one each time.
    """
    if _SEED:
        return int(_SEED)
    return random.randrange(1 << 32) if otherwise is None else otherwise


def flat(source: str) -> str:
    """A piece of a program, without the indentation it has in the test."""
    return textwrap.dedent(source)


class Program:
    """A Python program in a process of its own, in the current folder; `sys.argv[1:]` are the arguments. `begin` is put
    before it: what the fault tests are written with, or nothing for a program that uses only what users do."""

    def __init__(
        self, source: str, *args: object, environment: dict[str, str] | None = None, begin: str = _BEGIN
    ) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`; a pipe could fill up
        self._process = subprocess.Popen(
            [sys.executable, "-c", begin + flat(source), *map(str, args)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": _QUIET, **(environment or {})},
        )
        assert self._process.stdout is not None
        self._out = self._process.stdout.fileno()
        self._rest = b""
        self._ended = False
        self.lines: list[list[str]] = []  # everything it has said, in words

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def fileno(self) -> int:
        """What to wait on."""
        return self._out

    def tell(self, line: str = "go") -> None:
        """Sends a line to its `order`."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def pump(self) -> bool:
        """Takes what it has said since; False at the end of its output, its children's included."""
        chunk = os.read(self._out, 1 << 16)
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        self.lines += [line.decode().split() for line in whole]
        self._ended = self._ended or not chunk
        return bool(chunk)

    def until(self, done: Callable[[], bool]) -> None:
        """Listens until something is true."""
        listen([self], done)

    def expect(self, word: str, times: int = 1) -> list[str]:
        """Listens until a line with this first word has come for the n-th time, and returns that line."""
        self.until(lambda: len(self.said(word)) >= times)
        found = self.said(word)
        assert len(found) >= times, f"it never said {word!r}: {self.lines[-5:]}\n{self.errors()}"
        return found[times - 1]

    def said(self, word: str) -> list[list[str]]:
        """The lines with this first word."""
        return [line for line in self.lines if line and line[0] == word]

    def send(self, number: int) -> None:
        """Sends a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL; then takes what had been said until then."""
        self._process.kill()
        self._process.wait(PATIENCE)
        self.until(lambda: False)

    def finish(self, code: int = 0) -> str:
        """Waits for its end, and its children's; returns what stands on standard error.

        A traceback is a failure of the test.
        """
        assert self._process.stdin is not None
        self._process.stdin.close()
        self.until(lambda: False)
        found = self._process.wait(PATIENCE)
        errors = self.errors()
        assert found == code, f"exit {found} instead of {code}\n{errors}"
        assert "Traceback" not in errors, errors
        return errors

    def errors(self) -> str:
        """What stands on standard error so far."""
        size = os.fstat(self._errors.fileno()).st_size
        return os.pread(self._errors.fileno(), size, 0).decode(errors="replace")

    def close(self) -> None:
        """Ends it whatever it is doing."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            assert stream is not None
            try:
                stream.close()
            except BrokenPipeError:
                pass


def listen(programs: Iterable[Program], done: Callable[[], bool]) -> None:
    """Takes what several programs say, until something is true or all have ended."""
    programs = list(programs)
    with selectors.DefaultSelector() as selector:
        for program in programs:
            if not program._ended:
                selector.register(program, selectors.EVENT_READ)
        while selector.get_map() and not done():
            ready = selector.select(PATIENCE)
            assert ready, f"silent for {PATIENCE:g} s since {[program.lines[-1:] for program in programs]}"
            for key, _ in ready:
                speaker = key.fileobj
                assert isinstance(speaker, Program)
                if not speaker.pump():
                    selector.unregister(speaker)


def await_stop(pid: int) -> None:
    """Until the kernel says T (stopped) of a process that is about to stop itself."""
    deadline = time.monotonic() + PATIENCE
    while Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "T":
        assert time.monotonic() < deadline
        time.sleep(0.001)


# ------------------------------------------------------------------------------------------------ what must hold


def acks(*programs: Program, word: str = "ack") -> list[str]:
    """The ids of the events that were acknowledged (or, with another word, kept)."""
    return [line[2] for program in programs for line in program.said(word)]


def query(db: Path | str, sql: str, *values: object) -> list[tuple]:
    """The rows of a query."""
    with closing(sqlite3.connect(db)) as connection:
        return connection.execute(sql, values).fetchall()


class Truth(NamedTuple):
    """What is in a database."""

    events: Counter[str]
    sessions: list[str]
    owners: list[int]  # pids
    lost: int
    torn: list[str]  # what is not whole: a prompt, a payload, the file


def examine(*dbs: Path | str) -> Truth:
    """What is in databases, each of which must be sound and everything in it whole."""
    truth = survey(*dbs)
    assert not truth.torn, truth.torn[:5]
    return truth


def survey(*dbs: Path | str) -> Truth:
    """What is in databases, sound or not."""
    truth = Truth(Counter(), [], [], 0, [])
    for db in dbs:
        with closing(sqlite3.connect(db)) as connection:
            truth.torn.extend(_torn(connection, db))
            truth.events.update(row[0] for row in connection.execute("SELECT id FROM payloads ORDER BY seq"))
            truth.sessions.extend(row[0] for row in connection.execute("SELECT id FROM sessions ORDER BY id"))
            truth.owners.extend(row[0] for row in connection.execute("SELECT pid FROM owners"))
            lost = connection.execute("SELECT coalesce(sum(events), 0) FROM losses").fetchone()[0]
            truth = truth._replace(lost=truth.lost + lost)
    return truth


def _torn(connection: sqlite3.Connection, db: Path | str) -> Iterator[str]:
    for (line,) in connection.execute("PRAGMA integrity_check(20)"):
        if line != "ok":
            yield f"{db}: {line}"
    for broken in connection.execute("PRAGMA foreign_key_check"):
        yield f"{db}: {broken}"
    for event, kind, params in connection.execute(
        "SELECT id, kind, params FROM payloads WHERE NOT json_valid(coalesce(params, 1)) "
        "OR NOT json_valid(coalesce(returns, 1)) OR NOT json_valid(coalesce(details, 1))"
    ):
        yield f"{db}: {kind} {event} {params}"
    for event, prompt, params in connection.execute("SELECT id, prompt, params FROM llms"):
        if json.loads(prompt) != conversation(**json.loads(params)):
            yield f"{db}: llm {event} {params}"


def check(promised: Iterable[str], *dbs: Path | str, score: Score | None = None, cases: int | None = None) -> Truth:
    """Every promised event is there, none twice and all whole; the figures go to the scorecard first.

    Args:
        promised: the ids of events.
        dbs: where they are, together.
        score: the scorecard.
        cases: what counts as tried, if not the promised events.
    """
    promised = set(promised)
    truth = survey(*dbs)
    missing = promised - set(truth.events)
    doubled = [event for event, times in truth.events.items() if times > 1]
    if score is not None:
        tried = len(promised) if cases is None else cases
        score.add(tried, lost=len(missing), doubled=len(doubled), torn=len(truth.torn))
    assert not truth.torn, truth.torn[:5]
    assert not missing, f"{len(missing)} acknowledged events are lost"
    assert not doubled, f"{len(doubled)} events are doubled"
    return truth
