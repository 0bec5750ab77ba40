"""A program, started so that its LLM calls are answered from a session, and waited for."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agentops_local.analytics.reading import reading
from agentops_local.clock import new_id
from agentops_local.config import SESSION_VARIABLE
from agentops_local.errors import AgentOpsLocalError, WrongUse
from agentops_local.replay.answer import Unanswerable, written
from agentops_local.replay.player import DIFFERS
from agentops_local.replay.recording import calls
from agentops_local.replay.tape import VARIABLE, Orders, Tally, Tape
from agentops_local.store.location import VARIABLE as DATABASE

TAG = "replay"

_LOOK_S = 0.05  # how often it is looked whether one of the program's processes was stopped
_MOMENT_S = 0.3  # for the program to end, if it was the program itself
_GRACE_S = 5.0  # for it to end when it is told to


class NotReplayable(AgentOpsLocalError):
    """There is nothing in a session that could be answered, or the program cannot be started."""


@dataclass(frozen=True)
class Wishes:
    """How it is to be replayed.

    Attributes:
        overrides: files with other answers, by the number of the call or the id of its event.
        start: the number or the id of the first call that goes to the provider; None: none does.
        is_live, is_strict, is_offline, ignored: as in `Orders`.
        is_recorded: whether the replay is recorded as a session of its own.
    """

    overrides: Mapping[str, Path]
    start: str | None = None
    is_live: bool = False
    is_strict: bool = False
    is_offline: bool = False
    is_recorded: bool = True
    ignored: Sequence[str] = ()


@dataclass(frozen=True)
class Outcome:
    """What came of a replay.

    Attributes:
        code: the exit code of the program; 3 if it was stopped.
        session: what it was recorded as, if it recorded anything.
    """

    code: int
    session: str | None
    tally: Tally


def replay(
    database: Path, session: str, command: Sequence[str], wishes: Wishes, environ: Mapping[str, str] = os.environ
) -> Outcome:
    """Runs a program whose LLM calls are answered from a session.

    Args:
        database: where the session is, and where the replay is recorded.
        session: its id.
        command: the program and its arguments.
        environ: the environment that it would have; where `import agentops` is to mean us, that is to be in it.

    Raises:
        NotReplayable: if the session has no LLM calls, or there is no such program.
        WrongUse: for a wish that cannot be fulfilled.
    """
    if wishes.is_offline and (wishes.is_live or wishes.start is not None):
        raise WrongUse("--offline allows no connection, and --from and --live need one: give one of them")
    new = str(new_id())
    with tempfile.TemporaryDirectory(prefix="agentops-replay-") as folder:
        tape = Tape(Path(folder) / "tape.db")
        with reading(database) as connection:
            tape.write(calls(connection, session), _patterns(wishes.ignored))
        _give_orders(tape, session, wishes)
        prepared = {**environ, "PYTHONPATH": python_path(environ), VARIABLE: str(tape.path),
                    DATABASE: str(database if wishes.is_recorded else Path(folder) / "agentops.db"),
                    SESSION_VARIABLE: new}  # fmt: skip
        code = _run(command, prepared, tape)
        tally = tape.tally()
    is_there = wishes.is_recorded and _is_recorded(database, new)
    return Outcome(DIFFERS if tally.end is not None else code, new if is_there else None, tally)


def _is_recorded(database: Path, session: str) -> bool:
    """Whether the program has recorded anything here; it may record nothing, or elsewhere."""
    with reading(database) as connection:
        return connection.execute("SELECT 1 FROM sessions WHERE id = ?", (session,)).fetchone() is not None


def python_path(environ: Mapping[str, str]) -> str:
    """PYTHONPATH with what answers at its head, and all that it held behind it."""
    here = str(Path(__file__).resolve().parent / "site")
    held = environ.get("PYTHONPATH")
    # An empty entry means the working directory, so the rest is kept to the letter.
    rest = [] if not held else [entry for entry in held.split(os.pathsep) if entry != here]
    return os.pathsep.join([here, *rest])


def _give_orders(tape: Tape, session: str, wishes: Wishes) -> None:
    events = tape.events()
    if not events:
        raise NotReplayable(f"session {session} has no LLM calls: there is nothing to answer from")
    for name, file in wishes.overrides.items():
        number = _find(events, name)
        try:
            tape.override(number, written(file.read_text(encoding="utf-8").removesuffix("\n"), number))
        except (Unanswerable, UnicodeDecodeError) as error:
            raise WrongUse(f"{file} is no answer: {error}") from error
    start = None if wishes.start is None else _find(events, wishes.start)
    tags = [TAG, f"{TAG} of {session}"]
    tape.order(Orders(session, start, wishes.is_live, wishes.is_strict, wishes.is_offline, tags, list(wishes.ignored)))


def _patterns(texts: Sequence[str]) -> list[re.Pattern[str]]:
    try:
        return [re.compile(text) for text in texts]
    except re.error as error:
        raise WrongUse(f"{error.pattern!r} is no regular expression: {error.msg}") from error


def _find(events: Sequence[str], name: str) -> int:
    """The number of a call: as it is given, or of the event whose id begins so."""
    if name.isdecimal() and len(name) < 8:
        fitting = [int(name)] if 1 <= int(name) <= len(events) else []
    else:
        fitting = [number for number, event in enumerate(events, 1) if event.startswith(name.lower())]
    if len(fitting) != 1:
        raise WrongUse(f"{name!r} is {'several calls' if fitting else 'no call'} of the session: "
                       f"give a number from 1 to {len(events)}, or the id of an LLM event")  # fmt: skip
    return fitting[0]


def _run(command: Sequence[str], environ: Mapping[str, str], tape: Tape) -> int:
    # CreateProcess would find .exe files only.
    program = shutil.which(command[0], path=environ.get("PATH")) or command[0]
    try:
        process = subprocess.Popen([program, *command[1:]], env=environ)  # noqa: S603 - to start it is the purpose
    except OSError as error:
        raise NotReplayable(f"{command[0]} cannot be started: {error.strerror or error}") from error
    with _signals_are_the_programs(process):
        code = _wait(process, tape)
    return code if code >= 0 else 128 - code  # as a shell says it


def _wait(process: subprocess.Popen[bytes], tape: Tape) -> int:
    """Waits for the program; it is ended when one of its processes was stopped."""
    while not _has_ended(process, _LOOK_S) and not tape.is_ended():
        pass
    for seconds, end in ((_MOMENT_S, process.terminate), (_GRACE_S, process.kill)):
        if _has_ended(process, seconds):
            break
        end()
    return process.wait()


def _has_ended(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


@contextmanager
def _signals_are_the_programs(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Ctrl-C reaches the program as well, and what it means is for the program to decide; a SIGTERM is passed on."""

    def pass_on(number: int, _frame: object) -> None:
        process.send_signal(number)

    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield
        return
    before = {signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN),
              signal.SIGTERM: signal.signal(signal.SIGTERM, pass_on)}  # fmt: skip
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
