"""Uploading from a disk that is full, and stays full: a small tmpfs, a program that records on it, a daemon.

Beside them stands somebody who takes every byte that comes free, as the log files of a busy machine do.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import pytest

from agentops_local.analytics.uploading import reserve_file, reserved
from tests.fakes.agentops_api import AgentOpsAPI
from tests.reliability.conftest import Spawn
from tests.reliability.scorecard import Score
from tests.reliability.test_08_full_disk import DISK
from tests.reliability.tools.crash import DB, SESSION, Program, acks, check, query
from tests.sync.running import Running, environment, states

RECORD = (
    DISK
    + """
import time
from agentops_local.store import database
size = int(sys.argv[4])
me.database.waiting = WaitingRoom(most_writes=40)
me.many(5)
say("begun")
order()
while me.database.unstored < 10:
    me.tool(os.urandom(size).hex())
fill()
say("full")
while order() == "more":
    me.many(10)
    say("unstored", me.database.unstored)
database._RETRY_AFTER = 0.25  # as in life
began = time.monotonic()
while me.database.unstored and time.monotonic() - began < 5:
    me.tool()
    time.sleep(0.01)
say("recovered", time.monotonic() - began)
me.leave()
"""
)
ROUNDS = 6


class Glutton:
    """Takes every byte of a disk that comes free."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "glutton"
        self._file: BinaryIO = self._path.open("ab", buffering=0)

    def eat(self, most: int = 1 << 30) -> None:
        """Takes what there is."""
        with suppress(OSError):
            while most > 0:
                most -= self._file.write(b"x" * 4096)

    def leave(self) -> None:
        """Gives it all back."""
        self.close()
        self._path.unlink()

    def close(self) -> None:
        """Takes no more."""
        self._file.close()


class Place:
    """A small disk with a database on it, and a daemon's settings."""

    def __init__(self, disk: Path, server: AgentOpsAPI) -> None:
        self.disk = disk
        self.db = disk / DB
        self.log = disk.parent / "agentops-sync.log"
        self.server = server
        self.glutton = Glutton(disk)

    def daemon(self, reserve: str = "4MB") -> Running:
        """A daemon; its log and the file of keys are elsewhere."""
        env = environment(
            self.db, self.server.api_key, AGENTOPS_SYNC_RESERVE=reserve,
            AGENTOPS_LOCAL_CREDENTIALS=str(self.disk.parent / "credentials"),
        )  # fmt: skip
        words = ("run", "--db", str(self.db), "--endpoint", self.server.url)
        return Running(*words, env=env, log=self.log)

    def is_uploaded(self) -> bool:
        """Whether all that is stored is uploaded."""
        return states(self.db) == {"done": query(self.db, "SELECT count(*) FROM events")[0][0]}

    def is_uploaded_all_the_same(self) -> bool:
        """The same while somebody takes what comes free."""
        self.glutton.eat()
        return self.is_uploaded()

    def fill(self, program: Program) -> None:
        """Has a daemon make its reserve while there is room, and the program fill the disk afterwards."""
        program.expect("begun")
        with self.daemon() as daemon:
            daemon.until(self.is_uploaded)
            assert daemon.stop() == 0
        self.glutton.eat(1_500_000)
        program.tell()
        program.expect("full")
        self.glutton.eat()


@pytest.fixture
def place(project: Path) -> Iterator[Place]:
    """A disk of 4 MB, and a server."""
    disk = project / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    try:
        with AgentOpsAPI() as server:
            made = Place(disk, server)
            yield made
            made.glutton.close()
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def compare(place: Place, program: Program, score: Score, lost: int) -> None:
    """Every event of which the program was told that it is stored is on the server, once; the others are counted."""
    acked, kept = set(acks(program)), set(acks(program, word="kept"))
    stored = {row[0] for row in query(place.db, "SELECT id FROM payloads")}
    there = [str(row["id"]) for row in place.server.events(SESSION, "tools")]
    doubled = len(there) - len(set(there))
    score.add(len(acked) + len(kept), lost=len(acked - set(there)), doubled=doubled)
    check(acked, place.db)
    assert acked <= stored == set(there)
    assert doubled == 0
    assert len(kept - stored) == lost


@pytest.mark.parametrize("size", [20, 3_000])
@pytest.mark.parametrize("kills", [0, 3])
def test_uploading_goes_on(place: Place, spawn: Spawn, score: Score, size: int, kills: int) -> None:
    """From a disk that stays full all that is stored is uploaded, once, also by a daemon that is killed; the program
    goes on and its losses are counted. When there is room again, what waits is stored within a second."""
    program = spawn(RECORD, place.db, SESSION, "tmpfs", size)
    place.fill(program)
    for kill in range(kills):
        with place.daemon() as daemon:
            enough = len(place.server.requests) + 1 + kill
            daemon.becomes(lambda: place.is_uploaded_all_the_same() or len(place.server.requests) >= enough, 5)  # noqa: B023 - called at once
    with place.daemon() as daemon:
        for number in range(ROUNDS):
            program.tell("more")
            program.expect("unstored", number + 1)
            place.glutton.eat()
        daemon.until(place.is_uploaded_all_the_same)
        assert shutil.disk_usage(place.disk).free < 4096
        assert "uses its reserve" in place.log.read_text()
        waiting = int(program.said("unstored")[-1][1])
        place.glutton.leave()
        program.tell("end")
        recovered = float(program.expect("recovered")[1])
        program.finish()
        daemon.until(place.is_uploaded)
        assert daemon.stop() == 0
    print(f"{waiting} waited or were lost, {recovered:.3f} s until they were stored; {reserved(place.db)}")
    compare(place, program, score, lost=query(place.db, "SELECT sum(events) FROM losses")[0][0])
    assert waiting > 40
    assert program.said("left")[0][2] == "0"
    assert recovered <= 1.0


def test_a_database_that_nobody_has_open(place: Place, spawn: Spawn, score: Score) -> None:
    """A daemon that finds a full disk, and a database that nobody has open, opens it at the cost of its reserve and
    uploads all of it; the program has ended well before, and has said what it could not store."""
    begin, full, _ = RECORD.partition('say("full")')
    program = spawn(f"{begin}{full}\norder()\nme.leave()\n", place.db, SESSION, "tmpfs", 20)
    place.fill(program)
    program.tell()
    program.finish()
    with place.daemon() as daemon:
        daemon.until(place.is_uploaded_all_the_same)
        assert daemon.stop() == 0
    lost = int(program.said("left")[0][2])
    assert lost
    compare(place, program, score, lost)


def test_without_a_reserve_nothing_is_sent(place: Place, spawn: Spawn, score: Score) -> None:
    """Without a reserve nothing is sent from a full disk, for it could not be written down; when there is room again,
    all of it is, within a second or two."""
    program = spawn(RECORD, place.db, SESSION, "tmpfs", 20)
    place.fill(program)
    reserve_file(place.db).unlink()
    place.glutton.eat()
    before = len(place.server.requests)
    with place.daemon(reserve="0") as daemon:
        daemon.until(lambda: "is full" in daemon.log)
        assert len(place.server.requests) == before
        place.glutton.leave()
        program.tell("end")
        program.finish()
        daemon.until(place.is_uploaded)
        assert daemon.stop() == 0
    compare(place, program, score, lost=query(place.db, "SELECT coalesce(sum(events), 0) FROM losses")[0][0])
