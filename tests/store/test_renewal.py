"""The WAL is written anew, and something comes in between."""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from types import FrameType

import pytest

from agentops_local.store.connection import connect, open_or_create
from agentops_local.store.renewal import renew
from tests.reliability.tools.crash import DB, query


@pytest.mark.skipif(os.name != "posix", reason="elsewhere no WAL is written anew")
def test_a_renewal_whose_connection_is_closed_on_the_way(project: Path) -> None:
    """A WAL is not touched by a renewal whose connection is closed in the midst of it, as a fork in a signal handler
    does: others may have emptied that WAL since, and begun it anew."""
    path = project / DB
    cut, other = open_or_create(path, True), connect(path)
    with closing(other):
        for number in range(50):
            cut.execute("INSERT INTO about (key, value) VALUES (?, ?)", (f"old {number}", "x" * 4000))

        def meanwhile(_: FrameType, event: str, arg: object) -> None:
            if event == "c_return" and arg is os.pread:
                sys.setprofile(None)
                cut.close()
                other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                other.execute("INSERT INTO about (key, value) VALUES ('new', 1)")

        sys.setprofile(meanwhile)
        with pytest.raises(sqlite3.ProgrammingError):
            renew(cut, f"{path}-wal")
        # Whoever comes next has to go by the WAL, as after a sudden end of the others.
        (project / "copy.db").write_bytes(path.read_bytes())
        (project / "copy.db-wal").write_bytes(Path(f"{path}-wal").read_bytes())
    assert query(project / "copy.db", "SELECT count(*) FROM about WHERE key LIKE 'old %' OR key = 'new'") == [(51,)]
    assert query(project / "copy.db", "PRAGMA integrity_check") == [("ok",)]
