"""Uploading from a disk that is full, and stays full: a small one, a program that records on it, a daemon.

Beside them stands somebody who takes every byte that comes free, as the log files of a busy machine do. On ext4 such a
one may be quicker than SQLite, which has to wait there for the journal's commit, and eat the reserve (in 3 of 14 runs
when this was measured); there it is the waiting events of the program alone that stand by.
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

    def __init__(self, disk: Path, server: AgentOpsAPI, greedy: bool) -> None:
        self.disk = disk
        self.db = disk / DB
        self.log = disk.parent / "agentops-sync.log"
        self.server = server
        self.greedy = greedy
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
        self.compete()
        return self.is_uploaded()

    def compete(self) -> None:
        """Takes what is free, if anybody does."""
        if self.greedy:
            self.glutton.eat()

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


def mount(kind: str, disk: Path) -> bool:
    """Mounts a small disk; whether that is possible here. ext4 lets go of blocks later than it says so."""
    words = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if kind == "ext4":
        image = disk.with_name("image")
        with image.open("wb") as file:
            file.truncate(10 << 20)
        make = ["mkfs.ext4", "-q", "-m", "0", "-J", "size=4", "-b", "4096", str(image)]
        if shutil.which("mkfs.ext4") is None or subprocess.run(make, capture_output=True).returncode:
            return False
        words = ["mount", "-o", "loop", str(image), str(disk)]
    return subprocess.run(words, capture_output=True).returncode == 0


@pytest.fixture
def place(request: pytest.FixtureRequest, project: Path) -> Iterator[Place]:
    """A disk of some megabytes, and a server."""
    disk = project / "disk"
    disk.mkdir()
    kind = getattr(request, "param", "tmpfs")
    if not mount(kind, disk):
        pytest.skip(f"a small disk ({kind}) cannot be mounted here")
    try:
        with AgentOpsAPI() as server:
            made = Place(disk, server, greedy=kind == "tmpfs")
            yield made
            made.glutton.close()
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def more(place: Place, program: Program) -> None:
    """Has the program record more, for which there is no room unless the daemon has made some."""
    for _ in range(ROUNDS):
        program.tell("more")
        program.expect("unstored", len(program.said("unstored")) + 1)
        place.compete()


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


@pytest.mark.parametrize(
    ("place", "size", "kills"),
    [("tmpfs", 20, 0), ("tmpfs", 20, 3), ("tmpfs", 3_000, 0), ("tmpfs", 3_000, 3), ("ext4", 20, 0)],
    indirect=["place"],
)
def test_uploading_goes_on(place: Place, spawn: Spawn, score: Score, size: int, kills: int) -> None:
    """From a disk that stays full all that is stored is uploaded, once, also by a daemon that is killed; the program
    goes on and its losses are counted. When there is room again, what waits is stored within a second."""
    program = spawn(RECORD, place.db, SESSION, "tmpfs", size)
    place.fill(program)
    more(place, program)
    waiting = int(program.said("unstored")[-1][1])
    assert waiting > 40, "some have found no room in memory"
    for kill in range(kills):
        with place.daemon() as daemon:
            enough = len(place.server.requests) + 1 + kill
            daemon.becomes(lambda: place.is_uploaded_all_the_same() or len(place.server.requests) >= enough, 5)  # noqa: B023 - called at once
    with place.daemon() as daemon:
        more(place, program)
        daemon.until(place.is_uploaded_all_the_same)
        assert shutil.disk_usage(place.disk).free < 4096 or not place.greedy
        assert "uses its reserve" in place.log.read_text()
        place.glutton.leave()
        program.tell("end")
        recovered = float(program.expect("recovered")[1])
        program.finish()
        daemon.until(place.is_uploaded)
        assert daemon.stop() == 0
    print(f"{waiting} waited or were lost, {recovered:.3f} s until they were stored; {reserved(place.db)}")
    compare(place, program, score, lost=query(place.db, "SELECT sum(events) FROM losses")[0][0])
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
