"""A disk that fills up: a small tmpfs where we may mount one, and a limit on the size of files everywhere."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.reliability.conftest import Spawn
from tests.reliability.scorecard import Score
from tests.reliability.tools.crash import DB, SESSION, Program, acks, check, flat, query

# `fill()` makes the disk full, `free()` takes what filled it away. With the limit it is files that may not grow.
DISK = """
import errno, os, resource, sys
from agentops_local.store.waiting import WaitingRoom
db, session, kind = sys.argv[1:4]
hurry()
folder = os.path.dirname(os.path.dirname(db))

def fill(leave=0):
    if kind == "limit":
        sizes = [os.stat(db + end).st_size for end in ("", "-wal") if os.path.exists(db + end)]
        resource.setrlimit(resource.RLIMIT_FSIZE, (max(sizes, default=8_000) + leave, resource.RLIM_INFINITY))
        return
    with open(os.path.join(folder, "filler"), "ab", buffering=0) as filler:
        try:
            while True:
                filler.write(b"x" * 4096)
        except OSError as error:
            assert error.errno == errno.ENOSPC
        if leave:
            filler.truncate(filler.tell() - leave)

def free():
    if kind == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    else:
        os.unlink(os.path.join(folder, "filler"))

me = Actor(db, session)
"""

CASES = {
    "small events": """
        me.many(5)
        fill(leave=20_000)
        for _ in range(150):
            me.tool()
        say("unstored", me.database.unstored)
        free()
        me.many(5)
    """,
    "big events": """
        me.many(5)
        fill(leave=300_000)
        for number in range(20):
            me.tool(os.urandom(50_000).hex())
        say("unstored", me.database.unstored)
        free()
        me.many(5)
    """,
    "small events between big ones": """
        me.many(5)
        fill(leave=120_000)
        for number in range(10):
            me.tool(os.urandom(50_000).hex())
            me.tool("small")
            me.llm("w", 1, number)
        say("unstored", me.database.unstored)
        free()
        me.many(5)
    """,
    "at once": """
        me.many(5)
        fill()
        me.many(50)
        me.error()
        say("unstored", me.database.unstored)
        free()
        me.many(5)
    """,
    "a checkpoint": """
        from agentops_local.store import file
        me.many(5)
        file.WAL_SIZE = me.database._file._wal_limit = 200_000
        fill(leave=250_000)
        for number in range(60):
            me.tool(os.urandom(5_000).hex())
        say("unstored", me.database.unstored)
        free()
        me.many(5)
    """,
    "at open": """
        fill()
        me.many(20)
        say("unstored", me.database.unstored)
        free()
        me.many(5)
    """,
    "at open, with some room": """
        fill(leave=60_000)
        me.many(20)
        say("unstored", me.database.unstored)
        free()
        me.many(5)
    """,
    "opened again": """
        me.many(5)
        me.recorder.close()
        fill()
        me.many(100)
        say("unstored", me.database.unstored)
        free()
        me.many(5)
    """,
    "twice": """
        me.many(5)
        fill()
        me.many(5)
        free()
        me.many(5)
        fill()
        me.many(5)
        say("unstored", me.database.unstored)
        free()
    """,
}


@pytest.fixture(params=["tmpfs", "limit"])
def disk(request: pytest.FixtureRequest, project: Path) -> Iterator[tuple[str, Path]]:
    """A folder on a disk that can be filled, and the way to fill it."""
    folder = project / "disk"
    folder.mkdir()
    if request.param == "limit":
        yield "limit", folder
        return
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("a tmpfs cannot be mounted here; the limit on the size of files stands in for it")
    yield "tmpfs", folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize("case", CASES)
def test_a_full_disk(disk: tuple[str, Path], spawn: Spawn, score: Score, case: str) -> None:
    """While the disk is full the program goes on and each event is stored or counted; once there is room again, all of
    them are stored, in order."""
    kind, folder = disk
    db = folder / DB
    program = spawn(DISK + flat(CASES[case]) + "\nme.leave()\n", db, SESSION, kind)
    errors = program.finish()
    kept = acks(program, word="kept")
    print(f"{len(acks(program))} stored at once, {len(kept)} kept\n{errors}")
    truth = check(acks(program) + kept, db, score=score)
    assert kept, "the disk was never full"
    assert int(program.said("unstored")[0][1]) == (5 if case == "twice" else len(kept))
    assert program.said("left")[0][2] == "0"
    assert truth.lost == 0
    assert list(truth.events) == [line[2] for line in program.lines if line[0] in ("ack", "kept")]
    assert not _fallback(folder), "a full disk is no reason to go elsewhere"
    assert "instead" not in errors


def test_what_finds_no_room_in_memory_is_counted(disk: tuple[str, Path], spawn: Spawn, score: Score) -> None:
    """Events that neither the disk nor the memory has room for are lost, and the table `losses` tells how many, once;
    the ones that waited are stored in order."""
    kind, folder = disk
    db = folder / DB
    program = spawn(
        DISK
        + """
me.many(5)
me.database.waiting = WaitingRoom(most_writes=10)
fill()
me.many(25)
say("unstored", me.database.unstored)
free()
me.many(5)
me.database.waiting = WaitingRoom(most_bytes=50_000)
fill()
for _ in range(10):
    me.tool(os.urandom(10_000).hex())
me.tool("small")
say("unstored", me.database.unstored)
free()
me.many(1)
me.leave()
""",
        db,
        SESSION,
        kind,
    )
    log = program.finish()
    print(log)
    kept = acks(program, word="kept")
    expected = kept[:10] + kept[25:27] + kept[35:36]
    truth = check(acks(program) + expected, db, score=score)
    assert [line[1] for line in program.said("unstored")] == ["25", "11"]
    assert [row[0] for row in query(db, "SELECT events FROM losses ORDER BY id")] == [15, 8]
    assert program.said("left")[0][2] == "0"
    assert truth.events.total() == len(acks(program)) + len(expected)
    assert log.count("events are kept in memory") == 2
    assert log.count("events are lost, and counted") == 2


def test_the_end_on_a_full_disk(disk: tuple[str, Path], spawn: Spawn, score: Score) -> None:
    """A program that ends while the disk is full ends well, and says how many of its events are not stored."""
    kind, folder = disk
    db = folder / DB
    program = spawn(DISK + "\nme.many(5)\nfill()\nme.many(7)\nme.leave()\n", db, SESSION, kind)
    log = program.finish()
    assert program.said("left")[0][2] == "7"
    assert "7 events could not be stored" in log
    if kind == "tmpfs":
        (folder / "filler").unlink()
    assert check(acks(program), db, score=score).events.total() == 5


def test_another_process_frees_the_disk(disk: tuple[str, Path], spawn: Spawn, score: Score) -> None:
    """What several processes keep in memory is stored by each of them, once."""
    kind, folder = disk
    if kind == "limit":
        pytest.skip("the limit holds for one process")
    db = folder / DB
    source = DISK + "\nme.many(5)\nsay('ready')\norder()\nme.many(20)\nsay('full')\norder()\nme.many(5)\nme.leave()\n"
    programs: list[Program] = [spawn(source, db, SESSION, kind) for _ in range(3)]
    for program in programs:
        program.expect("ready")
    with (folder / "filler").open("wb", buffering=0) as filler, suppress(OSError):
        while filler.write(b"x" * 4096):
            pass
    with pytest.raises(OSError, match="No space"):
        (folder / "more").write_bytes(b"x" * 4096)
    for program in programs:
        program.tell()
        program.expect("full")
    (folder / "filler").unlink()
    for program in programs:
        program.tell()
        program.finish()
    kept = acks(*programs, word="kept")
    assert len(kept) > 3
    truth = check(acks(*programs) + kept, db, score=score)
    assert truth.events.total() == 90


def _fallback(folder: Path) -> list[Path]:
    data = folder.parent.parent / "data"
    assert data.is_dir()
    return list(data.rglob("*.db"))
