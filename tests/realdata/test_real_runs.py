"""Laws that 200 real runs of an agent hold us to, recorded by four processes at once.

The runs are not part of the project; without them these tests are skipped.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks import real_runs
from benchmarks.real_runs import Call, Run, ToolCall

MOST_BYTES = 3_500_000  # for what takes 30.8 MB with every prompt whole

FILE = real_runs.data_file()
pytestmark = [
    pytest.mark.skipif(FILE is None, reason=f"needs {real_runs.NAME}, which AGENTOPS_LOCAL_REAL_DATA may name"),
]


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    """The runs, as they lie in the file."""
    assert FILE is not None
    return real_runs.load(FILE)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs, recorded by four processes."""
    assert FILE is not None
    path = tmp_path_factory.mktemp("realdata") / "agentops.db"
    real_runs.replay_all(FILE.resolve(), path)
    return path


@pytest.fixture
def connection(database: Path) -> Iterator[sqlite3.Connection]:
    """The database as any SQLite program opens it."""
    with closing(sqlite3.connect(database)) as opened:
        yield opened


@pytest.fixture
def session_of(connection: sqlite3.Connection) -> dict[int, str]:
    """The session of each run, by the run's number."""
    found = connection.execute(
        "SELECT substr(t.value, 5), s.id FROM sessions s, json_each(s.tags) t WHERE t.value LIKE 'run:%'"
    )
    return {int(number): session_id for number, session_id in found}


def test_counts(connection: sqlite3.Connection, session_of: dict[int, str]) -> None:
    """Every run is a session of its own, and every call in it is one event."""
    assert len(session_of) == 200
    assert connection.execute("SELECT count(*) FROM sessions").fetchone() == (200,)
    totals = connection.execute("SELECT sum(llms), sum(tools), sum(events) FROM session_stats").fetchone()
    assert totals == (2454, 1164, 2454 + 1164)


def test_prompts(connection: sqlite3.Connection, runs: list[Run], session_of: dict[int, str]) -> None:
    """Every prompt and completion is read back equal to what was recorded, in the order of recording."""
    for number, run in enumerate(runs):
        told = [what for what in real_runs.events(run) if isinstance(what, Call)]
        kept = connection.execute(
            "SELECT prompt, completion FROM llms WHERE session_id = ? ORDER BY seq", (session_of[number],)
        ).fetchall()
        assert [(json.loads(prompt), json.loads(completion)) for prompt, completion in kept] == told


def test_tools(connection: sqlite3.Connection, runs: list[Run], session_of: dict[int, str]) -> None:
    """Every call of a tool is read back with the name, the arguments and the result it was recorded with."""
    for number, run in enumerate(runs):
        told = [what for what in real_runs.events(run) if isinstance(what, ToolCall)]
        kept = connection.execute(
            "SELECT name, params, returns FROM tools WHERE session_id = ? ORDER BY seq", (session_of[number],)
        ).fetchall()
        assert [(name, json.loads(params), returns) for name, params, returns in kept] == told


def test_end_states(connection: sqlite3.Connection, runs: list[Run], session_of: dict[int, str]) -> None:
    """Every session ends as its program declared."""
    kept = dict(connection.execute("SELECT id, end_state FROM sessions WHERE end_us IS NOT NULL"))
    assert kept == {session_of[number]: real_runs.end_state(run) for number, run in enumerate(runs)}
    assert list(kept.values()).count("Success") == 84


def test_bytes(database: Path, runs: list[Run]) -> None:
    """What prompts take in the file grows with what is new in them: a ninth of the prompts themselves at most."""
    taken, _ = real_runs.prompt_bytes(database)
    assert real_runs.whole_bytes(runs) > 30_000_000
    assert taken <= MOST_BYTES
