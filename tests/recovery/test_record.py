"""The reader of pages and records, held to SQLite itself."""

from __future__ import annotations

import sqlite3
from array import array
from contextlib import closing
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from agentops_local.recovery.census import Census
from agentops_local.recovery.layout import Tree
from agentops_local.recovery.log import read_wal
from agentops_local.recovery.pages import Image, node
from agentops_local.recovery.record import ANY, Unreadable, decode, varint
from agentops_local.recovery.rows import Rows

INTEGERS = st.integers(-(2**63), 2**63 - 1) | st.integers(-300, 300) | st.sampled_from([2**n - 1 for n in range(64)])
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
LONG = st.builds(lambda text, times: text * times, TEXTS, st.integers(0, 400))
VALUES = st.none() | INTEGERS | st.floats(allow_nan=False) | LONG | st.binary(max_size=50)
FAST = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _varint(value: int) -> bytes:
    """A number as SQLite writes it: seven bits a byte, and eight in a ninth."""
    value &= 2**64 - 1
    if value >= 2**56:
        head = value >> 8
        return bytes(head >> shift & 0x7F | 0x80 for shift in range(49, -1, -7)) + bytes([value & 0xFF])
    parts = [value & 0x7F]
    while value := value >> 7:
        parts.append(value & 0x7F | 0x80)
    return bytes(reversed(parts))


@given(INTEGERS, st.binary(max_size=5))
@example(-1, b"")
@example(2**56 - 1, b"")
def test_varints(value: int, after: bytes) -> None:
    """A number is read as it was written, whatever follows; one that is cut off is told from a whole one."""
    raw = _varint(value)
    assert varint(raw + after, 0) == (value, len(raw))
    with pytest.raises(IndexError):
        varint(raw[:-1], 0)


def _rows(path: Path, root: int, columns: int, keyed: bool, number: int | None = None) -> list[list]:
    """The rows of a tree of any file, as our reader reads them."""
    tree = Tree("t", "t", keyed, tuple("abcdefgh"[:columns]), (ANY,) * columns, number)
    with closing(Image(path)) as image:
        waiting, pages = [root], array("L")
        while waiting:
            at = waiting.pop()
            kind, _, _ = node(image.page(at), at, image.usable)
            if kind in (2, 5):
                waiting += image.children(image.page(at), at)
            if keyed or kind == 13:
                pages.append(at)
        census = SimpleNamespace(image=image, pages={"t": pages}, owners=bytearray(image.count + 2))
        return sorted(Rows(cast("Census", census)).of(tree), key=lambda row: cast("int", row[0]))


@FAST
@given(
    st.lists(st.tuples(VALUES, VALUES, VALUES), max_size=30),
    st.sampled_from([512, 1024, 4096, 65536]),
    st.sampled_from(["", "WITHOUT ROWID"]),
)
def test_records(tmp_path: Path, rows: list[tuple], page_size: int, kind: str) -> None:
    """Whatever stands in a table, of rows with numbers or without, on pages of any size and on those beyond them, is
    read as SQLite reads it."""
    path = tmp_path / "any.db"
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"PRAGMA page_size = {page_size}")
        connection.execute(f"CREATE TABLE t (n INTEGER PRIMARY KEY, a, b, c) {kind}")
        connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", ((i * 7 - 20, *row) for i, row in enumerate(rows)))
        root = connection.execute("SELECT rootpage FROM sqlite_master").fetchone()[0]
        truth = [list(row) for row in connection.execute("SELECT * FROM t ORDER BY n")]
    with closing(Image(path)) as image:
        if rows:
            assert image.page_size == page_size
    found = _rows(path, root, 4, bool(kind), None if kind else 0)
    assert repr(found) == repr(truth)  # repr: 0.0 is not 0


@given(st.binary(max_size=200))
@example(b"\x02\x01")
@example(b"\x00")
def test_garbage_is_refused_in_order(data: bytes) -> None:
    """Of any bytes a record is made, or it is said that they are none; nothing else happens."""
    try:
        assert isinstance(decode(data), list)
    except Unreadable:
        pass


@pytest.mark.parametrize("seed", range(5))
def test_the_size_of_pages_is_found_without_the_header(tmp_path: Path, seed: int) -> None:
    """Where the header is gone the size of the pages shows by how they are laid out."""
    size = [512, 1024, 4096, 8192, 65536][seed]
    path = tmp_path / "any.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"PRAGMA page_size = {size}")
        connection.execute("CREATE TABLE t (a)")
        chance = Random(seed)
        for _ in range(2000):
            connection.execute("INSERT INTO t VALUES (?)", (chance.randbytes(chance.randrange(500)),))
    with path.open("r+b") as file:
        file.write(bytes(100))
    with closing(Image(path)) as image:
        assert image.page_size == size


def test_a_wal_counts_as_far_as_sqlite_believes_it(tmp_path: Path) -> None:
    """Wherever a WAL is cut off or altered, the rows are those that SQLite would find, no more and no fewer."""
    path, copy = tmp_path / "any.db", tmp_path / "copy.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, a)")
    connection.execute("INSERT INTO t (a) VALUES ('first')")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    chance = Random(4)
    for number in range(40):
        connection.execute("INSERT INTO t (a) VALUES (?)", (chance.randbytes(number * 40).hex(),))
        if number % 5 == 0:
            connection.execute("UPDATE t SET a = 'again' WHERE n = ?", (number,))
    data, wal = path.read_bytes(), Path(f"{path}-wal").read_bytes()
    connection.close()
    seen = set()
    for number in range(60):
        torn = bytearray(wal)
        at = chance.randrange(len(wal))
        if number % 2:
            torn[at] ^= 1 << chance.randrange(8)
        else:
            del torn[at:]
        copy.write_bytes(data)
        Path(f"{copy}-wal").write_bytes(torn)
        found = _rows(copy, 2, 2, False, 0)
        with closing(sqlite3.connect(copy)) as connection:
            truth = [list(row) for row in connection.execute("SELECT * FROM t ORDER BY n")]
        assert found == truth
        seen.add(len(truth))
    assert len(seen) > 10
    assert read_wal(tmp_path / "none").places == {}


def test_a_rollback_journal_that_was_left(tmp_path: Path) -> None:
    """What a transaction that was cut short has written does not count: its journal says what stood there before."""
    path, copy = tmp_path / "any.db", tmp_path / "copy.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, a)")
        connection.executemany("INSERT INTO t (a) VALUES (?)", (("before" * 50,) for _ in range(200)))
        truth = [list(row) for row in connection.execute("SELECT * FROM t ORDER BY n")]
        connection.execute("PRAGMA cache_size = 5")  # so that it writes into the file before it commits
        connection.execute("BEGIN")
        connection.execute("UPDATE t SET a = ?", ("after" * 80,))
        copy.write_bytes(path.read_bytes())
        Path(f"{copy}-journal").write_bytes(Path(f"{path}-journal").read_bytes())
        connection.execute("ROLLBACK")
    with closing(Image(copy)) as image:
        assert image.logged > 5
    assert _rows(copy, 2, 2, False, 0) == truth
