from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

import pytest

from agentops_local.store import connection as opening


@pytest.mark.parametrize(("system", "value"), [("darwin", 1), ("linux", 0)])
def test_macos_empties_the_cache_of_the_drive(
    project: Path, monkeypatch: pytest.MonkeyPatch, system: str, value: int
) -> None:
    """On macOS, where fsync does not empty the cache of the drive, SQLite is told to have it emptied."""
    monkeypatch.setattr(sys, "platform", system)
    with closing(opening.connect(project / "new.db")) as connection:
        found = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("fullfsync", "checkpoint_fullfsync")]
    assert found == [value, value]
