"""Reading the log beside a damaged file, while programs still have both open."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from agentops_local.recovery import log
from agentops_local.recovery.pages import Image


@pytest.mark.parametrize("frame", [2, 3, 40])
def test_a_log_that_is_emptied_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frame: int) -> None:
    """A program that finds its database put aside moves the log into it and empties the log: who reads that meanwhile
    has all pages, and not those of an earlier commit alone."""
    path = tmp_path / "aside.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in ("PRAGMA journal_mode = WAL", "PRAGMA wal_autocheckpoint = 0", "CREATE TABLE t (x)"):
            connection.execute(statement)
        for _ in range(30):
            connection.execute("INSERT INTO t VALUES (randomblob(3000))")
        (count,) = connection.execute("PRAGMA page_count").fetchone()
        read = 0
        genuine = log.checksum

        def checksum(data: bytes, order: str, so_far: tuple[int, int]) -> tuple[int, int]:
            nonlocal read
            read += 1
            if read == 2 * frame:
                assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
            return genuine(data, order, so_far)

        monkeypatch.setattr(log, "checksum", checksum)
        with closing(Image(path)) as image:
            assert read >= 2 * frame
            assert image.count == count
            there = b"".join(image.page(number) for number in range(1, count + 1))
    assert there == path.read_bytes()
