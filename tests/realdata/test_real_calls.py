"""Laws that the calls of 200 real runs hold us to, made with OpenAI's own library by four processes at once.

The runs are not part of the project; without them these tests are skipped.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from benchmarks import real_runs
from benchmarks.common import together
from benchmarks.real_runs import Run
from tests.fakes.llm import LLMServer
from tests.realdata import calls
from tests.realdata.calls import Model, usage

FILE = real_runs.data_file()
pytestmark = [
    pytest.mark.skipif(FILE is None, reason=f"needs {real_runs.NAME}, which AGENTOPS_LOCAL_REAL_DATA may name"),
    pytest.mark.timeout(300),
]
PROCESSES = 4
# gpt-4o-2024-08-06, US dollars for a token.
INPUT, CACHED, OUTPUT = (Decimal(rate) / 1_000_000 for rate in ("2.50", "1.25", "10.00"))


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    """The runs, as they lie in the file."""
    pytest.importorskip("openai", reason="openai is not installed")
    pytest.importorskip("opentelemetry.instrumentation.genai.openai", reason="its instrumentor is not installed")
    pytest.importorskip("genai_prices", reason="genai-prices is not installed")
    assert FILE is not None
    return real_runs.load(FILE)


@pytest.fixture(scope="module")
def database(runs: list[Run], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every call of the runs, recorded by itself."""
    path = tmp_path_factory.mktemp("realcalls") / "agentops.db"
    model = Model(runs)
    with LLMServer() as server:
        server.answer_with(model)
        assert FILE is not None
        work = [(str(FILE.resolve()), str(path), server.openai, part, PROCESSES) for part in range(PROCESSES)]
        made = together("tests.realdata.calls:drive", work)
    assert model.strange == []
    assert sum(made) == len(server.requests) == 2454
    return path


@pytest.fixture
def connection(database: Path) -> Iterator[sqlite3.Connection]:
    """The database as any SQLite program opens it."""
    with closing(sqlite3.connect(database)) as opened:
        yield opened


def test_equal_to_the_recording(connection: sqlite3.Connection, runs: list[Run]) -> None:
    """Every prompt, completion and tool call is read back equal to the recording, in its session and in its order."""
    sessions = dict(connection.execute("SELECT t.value, s.id FROM sessions s, json_each(s.tags) t").fetchall())
    assert len(sessions) == 200
    for number, run in enumerate(runs):
        kept = connection.execute(
            "SELECT prompt, completion FROM llms WHERE session_id = ? ORDER BY seq", (sessions[f"run:{number}"],)
        ).fetchall()
        assert [(json.loads(prompt), json.loads(completion)) for prompt, completion in kept] == calls.calls(run)


def test_every_token_is_counted(connection: sqlite3.Connection, runs: list[Run]) -> None:
    """The tokens of all calls, by kind, are exactly those that the server has told."""
    told = [usage(*call) for run in runs for call in calls.calls(run)]
    sums = connection.execute(
        "SELECT count(*), sum(prompt_tokens), sum(completion_tokens), sum(cache_read_tokens) FROM llms"
    ).fetchone()
    assert sums == (2454, *(sum(getattr(one, kind) for one in told) for kind in ("input", "output", "cache_read")))


def test_every_dollar_is_counted(connection: sqlite3.Connection, runs: list[Run]) -> None:
    """The cost of each session, and of all, is exact to the last digit."""
    wanted = {}
    for number, run in enumerate(runs):
        told = [usage(*call) for call in calls.calls(run)]
        wanted[f"run:{number}"] = sum(
            (one.input - one.cache_read) * INPUT + one.cache_read * CACHED + one.output * OUTPUT for one in told
        )
    rows = connection.execute(
        "SELECT t.value, (SELECT sum(e.cost_pusd) FROM events e WHERE e.session = s.seq), "
        "(SELECT unpriced FROM session_stats WHERE session_id = s.id) FROM sessions s, json_each(s.tags) t"
    ).fetchall()
    assert {tag: Decimal(pusd).scaleb(-12) for tag, pusd, _ in rows} == wanted
    assert {unpriced for _, _, unpriced in rows} == {0}


def test_a_conversation_is_stored_once(connection: sqlite3.Connection, runs: list[Run]) -> None:
    """Of each run every message is stored once, though each prompt repeats all that came before."""
    messages = sum(len(run["traj"]) for run in runs)
    assert connection.execute("SELECT count(*) FROM message_texts").fetchone()[0] <= messages
