from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agentops_local.analytics.uploading import reserve_file, reserved
from agentops_sync import reserve as module
from agentops_sync.reserve import PIECE, Reserve
from agentops_sync.statements import Statements

SIZE = 4 * PIECE


@pytest.fixture
def reserve(tmp_path: Path) -> Reserve:
    """A reserve that is whole."""
    made = Reserve(tmp_path / "agentops.db", SIZE)
    while made.keep():
        pass
    return made


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A database with an empty table."""
    with closing(sqlite3.connect(tmp_path / "agentops.db", isolation_level=None)) as made:
        made.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, text TEXT)")
        yield made


def size(tmp_path: Path) -> int:
    """Of the file."""
    return reserve_file(tmp_path / "agentops.db").stat().st_size


# The file -----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("reserve")
def test_the_room_is_really_there(tmp_path: Path) -> None:
    """The file has blocks for all of its bytes, is readable for its owner alone, and says what it is."""
    file = reserve_file(tmp_path / "agentops.db")
    info = file.stat()
    assert info.st_size == SIZE
    assert info.st_blocks * 512 >= SIZE
    assert stat.S_IMODE(info.st_mode) == 0o600
    assert file.read_bytes().startswith(b"agentops-sync keeps this room")


def test_what_is_not_used_comes_back(reserve: Reserve, tmp_path: Path) -> None:
    """What was given up is taken back as far as it fits, but for the block that says what the file is."""
    assert reserve.give_up(1)
    assert size(tmp_path) == SIZE - 4096
    assert reserve.give_up(10 * SIZE)
    assert size(tmp_path) == 4096
    assert not reserve.give_up()
    reserve.take_back()
    assert size(tmp_path) == SIZE
    assert reserved(tmp_path / "agentops.db") == (SIZE, SIZE)


def test_a_part_comes_back(reserve: Reserve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where only a part fits any more, that part is taken back, and the file has no holes."""
    left = PIECE + 3 * 4096
    allocate = module._allocate

    def scarce(descriptor: int, begin: int, more: int) -> None:
        nonlocal left
        if more > left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left -= more
        allocate(descriptor, begin, more)

    reserve.give_up(3 * PIECE)
    monkeypatch.setattr(module, "_allocate", scarce)
    reserve.take_back()
    assert left == 0
    assert size(tmp_path) == SIZE - 3 * PIECE + PIECE + 3 * 4096
    assert reserve_file(tmp_path / "agentops.db").stat().st_blocks * 512 >= size(tmp_path)
    assert reserve.explains(sqlite3.OperationalError("disk I/O error"))
    assert not reserve.explains(sqlite3.OperationalError("database is locked"))


def test_where_blocks_cannot_be_asked_for_they_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a filesystem without `posix_fallocate` the room is written to, with what nothing can compress."""

    def unknown(*_: int) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", unknown)
    made = Reserve(tmp_path / "agentops.db", SIZE)
    while made.keep():
        pass
    held = reserve_file(tmp_path / "agentops.db").read_bytes()
    assert len(held) == SIZE
    assert len(set(held[4096:])) == 256


def test_it_takes_a_quarter_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It never takes more than a quarter of the room there is, and grows when there is more."""
    free = 6 * PIECE

    class Usage:
        @property
        def free(self) -> int:
            found = reserved(tmp_path / "agentops.db")
            return free - (found.size if found else 0)

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage())
    made = Reserve(tmp_path / "agentops.db", SIZE)
    while made.keep():
        pass
    assert size(tmp_path) == PIECE
    free = 100 * PIECE
    while made.keep():
        pass
    assert size(tmp_path) == SIZE


def test_it_needs_no_file(reserve: Reserve, tmp_path: Path) -> None:
    """A file that was deleted gives nothing, hurts nothing, and is made anew; one that is not wanted goes."""
    reserve_file(tmp_path / "agentops.db").unlink()
    assert reserve.room == 0
    assert not reserve.explains(sqlite3.OperationalError("database or disk is full"))
    assert not reserve.give_up()
    reserve.take_back()
    while reserve.keep():
        pass
    assert size(tmp_path) == SIZE
    assert not Reserve(tmp_path / "agentops.db", 0).keep()
    assert reserved(tmp_path / "agentops.db") is None


# The transaction ----------------------------------------------------------------------------------------------------


def test_a_transaction_is_run_again(connection: sqlite3.Connection) -> None:
    """A transaction that met a full disk, at any statement and at its end, is run again as a whole, as often as room
    can be made; what its statements return is what they return in the one that is kept."""
    connection.execute(f"PRAGMA max_page_count = {connection.execute('PRAGMA page_count').fetchone()[0] + 2}")
    made = 0

    def make_room(error: sqlite3.Error) -> bool:
        nonlocal made
        assert "full" in str(error)
        made += 1
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        connection.execute(f"PRAGMA max_page_count = {3 + 4 * made}")
        return True

    statements = Statements(connection, make_room)
    numbers = [statements.execute("INSERT INTO t (text) VALUES (?)", ("x" * 2000,)).lastrowid for _ in range(40)]
    changed = statements.execute("UPDATE t SET text = 'y' WHERE n > ?", (10,)).rowcount
    assert statements.in_transaction
    statements.commit()
    assert made > 2
    assert numbers == list(range(1, 41))
    assert changed == 30
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (40,)


def test_not_after_others_have_written(connection: sqlite3.Connection, tmp_path: Path) -> None:
    """Where somebody wrote between the two runs the transaction fails: it would not do the same again."""
    connection.execute(f"PRAGMA max_page_count = {connection.execute('PRAGMA page_count').fetchone()[0]}")

    def make_room(_: sqlite3.Error) -> bool:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        with closing(sqlite3.connect(tmp_path / "agentops.db", isolation_level=None)) as other:
            other.execute("INSERT INTO t (text) VALUES ('of another')")
        connection.execute("PRAGMA max_page_count = 1000")
        return True

    statements = Statements(connection, make_room)
    with pytest.raises(sqlite3.OperationalError, match="full"):
        statements.execute("INSERT INTO t (text) VALUES (?)", ("x" * 20_000,))
    assert connection.execute("SELECT text FROM t").fetchall() == [("of another",)]
