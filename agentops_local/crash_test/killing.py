"""Two programs that record, killed at random moments, again and again; and what is left of what they were promised."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agentops_local import clock
from agentops_local.crash_test.writer import OPENING, conversation, text
from agentops_local.errors import AgentOpsLocalError, DatabaseUnusable
from agentops_local.recovery.digest import NotSound, check, opened

COMMAND = (sys.executable, "-m", "agentops_local.crash_test.writer")
_WRITERS = 2
_MOST = 1500  # acknowledgements before a program is killed
_EARLY = 6  # one in so many is killed while it opens the database
_PATIENCE = 60.0  # seconds until a program that says nothing counts as hung


class Failed(AgentOpsLocalError):
    """The test could not be made."""


@dataclass(frozen=True)
class Tally:
    """What became of the events.

    Attributes:
        acknowledged: those whose `record()` had returned before the kill.
        lost: of these, those that are not in the database.
        doubled: rows of an event beyond the first.
        torn: events in the database whose contents are not what was recorded.
        damage: what SQLite finds wrong with the file; None: nothing.
    """

    kills: int
    acknowledged: int
    lost: int
    doubled: int
    torn: int
    damage: str | None

    @property
    def is_good(self) -> bool:
        """Whether everything that was promised was kept."""
        return not (self.lost or self.doubled or self.torn or self.damage)


class Writer:
    """A program that records, and what it has said."""

    def __init__(self, database: Path, session: str, name: str) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `kill`
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [*COMMAND, str(database), session, name],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._errors,
        )  # fmt: skip
        self._said: list[bytes] = []
        self._count = 0
        self._ended = False
        self._changed = threading.Condition()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - a pipe was asked for
        with self._process.stdout as out:
            while chunk := os.read(out.fileno(), 1 << 16):
                with self._changed:
                    self._said.append(chunk)
                    self._count += chunk.count(b"\n")
                    self._changed.notify()
        with self._changed:
            self._ended = True
            self._changed.notify()

    def wait_for(self, count: int) -> None:
        """Waits until it has said so many lines: the first when it opens the database, then one for each event.

        Raises:
            Failed: it has ended by itself, or hangs.
        """
        with self._changed:
            heard = self._changed.wait_for(lambda: self._count >= count or self._ended, _PATIENCE)
            if not heard or self._count < count:
                raise Failed(f"a program that records has {'ended by itself' if heard else 'hung'}: {self._words()}")

    def kill(self) -> set[str]:
        """Kills it, and nothing in it gets a chance to say anything; returns the ids that it was acknowledged."""
        self._process.kill()
        self._process.wait()
        self._listener.join()
        self._errors.close()
        lines = b"".join(self._said).split(b"\n")[:-1]  # the last is empty, or cut: it was not said
        return {line.decode("ascii") for line in lines if line != OPENING}

    def _words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


def kill_for(
    seconds: float, database: Path, dice: random.Random, least: int = 2, told: Callable[[int], object] = lambda _: None
) -> Tally:
    """Kills programs that record for so many seconds, then looks at what they have left.

    Args:
        database: where they record; none yet.
        least: how many are killed in any case.
        told: after each kill, how many there were.

    Raises:
        Failed: a program ended by itself, or hangs.
    """
    session = str(clock.new_id())
    promised: set[str] = set()
    kills = 0
    deadline = time.monotonic() + seconds
    writers = [Writer(database, session, f"w{number}") for number in range(_WRITERS)]
    try:
        while time.monotonic() < deadline or kills < least:
            place = dice.randrange(_WRITERS)
            writers[place].wait_for(1 if dice.randrange(_EARLY) == 0 else dice.randrange(2, _MOST))
            promised |= writers[place].kill()
            kills += 1
            told(kills)
            # It is started again beside the other, which records all the while.
            writers[place] = Writer(database, session, f"w{_WRITERS + kills}")
        for writer in writers:  # as many as may have been killed before their first event
            writer.wait_for(2)
    finally:
        promised |= {event for writer in writers for event in writer.kill()}
    return look(database, promised, kills + _WRITERS)


def look(database: Path, promised: set[str], kills: int) -> Tally:
    """Compares what was promised with what a database holds."""
    try:
        with opened(database) as connection:
            check(connection, "the database")
            stored = Counter(row[0] for row in connection.execute("SELECT id FROM payloads"))
            torn = _torn(connection)
    except (DatabaseUnusable, NotSound, sqlite3.DatabaseError) as error:
        return Tally(kills, len(promised), 0, 0, 0, str(error))
    lost = len(promised - stored.keys())
    return Tally(kills, len(promised), lost, stored.total() - len(stored), torn, None)


def _torn(connection: sqlite3.Connection) -> int:
    """How many events are not what was recorded."""
    torn = 0
    for params, returns in connection.execute("SELECT params, returns FROM tools"):
        torn += returns != text(**json.loads(params))
    for params, prompt, completion in connection.execute("SELECT params, prompt, completion FROM llms"):
        which = json.loads(params)
        torn += json.loads(prompt) != conversation(**which) or completion != text(**which)
    return torn
