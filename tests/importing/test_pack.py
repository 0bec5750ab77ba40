"""Packs: what is in them, and what is not."""

from __future__ import annotations

import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from agentops_local.errors import WrongUse
from agentops_local.importing import merge, pack
from tests.analytics.recording import Book, run, secretive, start
from tests.importing.looking import query, said, sound
from tests.recovery.old import SECRET, SESSIONS, make_old


@pytest.fixture
def master(tmp_path: Path) -> Path:
    """A database with something of everything, keys of a collector and gaps where something was erased among it."""
    path = tmp_path / "master" / "agentops.db"
    path.parent.mkdir()
    make_old(path, 4)
    return path


def test_a_pack_of_all(master: Path, tmp_path: Path) -> None:
    """A pack says the same as the database: in every view, of sessions, processes and agents, and of uploads."""
    packed = pack(master, tmp_path / "pack.db")
    assert said(packed.path) == said(master)
    ledger = "SELECT state, count(*) FROM uploads WHERE state <> 'pending' GROUP BY state"
    assert query(packed.path, ledger) == query(master, ledger)
    sound(packed.path)
    assert query(packed.path, "PRAGMA journal_mode") == [("delete",)]
    assert (packed.sessions, packed.events, packed.bytes) == (3, 48, packed.path.stat().st_size)


def test_what_is_in_no_pack(master: Path, tmp_path: Path) -> None:
    """Keys, projects and budgets are in no pack, nor is a byte of what was erased, or of other sessions."""
    with closing(sqlite3.connect(master)) as connection, connection:
        connection.execute("INSERT INTO budgets VALUES ('project', 5, 'allow', 1)")
    packed = pack(master, tmp_path / "pack.db", [SESSIONS[1]])
    for table in ("projects", "api_keys", "budgets"):
        assert query(master, f"SELECT count(*) FROM {table}") > [(0,)]
        assert query(packed.path, f"SELECT count(*) FROM {table}") == [(0,)]
    assert query(packed.path, "SELECT id FROM sessions") == [(SESSIONS[1],)]
    raw = packed.path.read_bytes()
    assert SECRET.encode() not in raw
    assert b"session 0" not in raw
    assert b"session 1" in raw


def test_while_programs_record(book: Book, tmp_path: Path) -> None:
    """A pack made while a program records holds each session as of one moment, and nothing that the program records is
    lost; packs of two moments make, merged, the database."""
    code = """
    import sys
    session = ao.init(db=sys.argv[1], auto_start_session=False) or ao.start_session()
    for number in range(300):
        session.record(ao.ActionEvent(action_type=str(number)))
        if number == 20:
            print("ready", flush=True)
    session.end_session("Success")
    """
    with start(code, book.path, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        first = pack(book.path, tmp_path / "first.db")
        assert program.wait(60) == 0
    names = [row[0] for row in query(first.path, "SELECT action_type FROM actions ORDER BY seq")]
    assert names == list(map(str, range(len(names))))
    assert len(names) > 20
    second = pack(book.path, tmp_path / "second.db")
    merge(tmp_path / "all.db", [first.path, second.path])
    assert said(tmp_path / "all.db") == said(book.path)


def test_a_packing_that_is_killed(book: Book, tmp_path: Path) -> None:
    """A packing that is killed leaves no file of the name, and the next one is made all the same."""
    secretive(book)
    code = """
    import os, sys
    from pathlib import Path
    from agentops_local.importing import packing
    packing.put_in_place = lambda *_: os.kill(os.getpid(), 9)
    packing.pack(Path(sys.argv[1]), Path(sys.argv[2]))
    """
    with pytest.raises(AssertionError):
        run(code, book.path, tmp_path / "pack.db")
    assert not (tmp_path / "pack.db").exists()
    assert pack(book.path, tmp_path / "pack.db").events == 4


def test_a_name_is_looked_for(book: Book) -> None:
    """Two packs of one second get two names; of nothing there is none."""
    secretive(book)
    with pytest.raises(WrongUse, match="nothing to pack"):
        pack(book.path, sessions=[])
    assert pack(book.path).path != pack(book.path).path
