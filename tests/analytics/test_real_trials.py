"""Laws of comparing two trials of one task, of the 200 real runs. Without them these tests are skipped."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest

from agentops_local.analytics.one_session.compare import compare
from agentops_local.analytics.one_session.growth import context
from agentops_local.analytics.one_session.why import why
from agentops_local.event import LLMEvent, ToolEvent
from benchmarks import real_runs
from benchmarks.real_runs import Call, Run
from tests.analytics.recording import Book

FILE = real_runs.data_file()
TASKS = 3
pytestmark = pytest.mark.skipif(FILE is None, reason=f"needs {real_runs.NAME}, which AGENTOPS_LOCAL_REAL_DATA may name")


@pytest.fixture(scope="module")
def runs() -> list[list[Run]]:
    """All trials of some tasks."""
    assert FILE is not None
    found: dict[int, list[Run]] = {}
    for run in real_runs.load(FILE):
        found.setdefault(run["task_id"], []).append(run)
    return [found[task] for task in sorted(found)[:TASKS]]


def record(book: Book, run: Run) -> str:
    """A run, recorded; its id."""
    state = book.session()
    for what in real_runs.events(run):
        if isinstance(what, Call):
            book.add(state, LLMEvent(model="gpt-4o", prompt=what.prompt, completion=what.completion))
        else:
            book.add(state, ToolEvent(name=what.name, params=what.params, returns=what.returns))
    return book.end(state, real_runs.end_state(run))


def conversation(run: Run) -> list[Any]:
    """What was said in a run, up to the last answer of the model."""
    messages: list[Any] = run["traj"]
    last = max(place for place, message in enumerate(messages) if message["role"] == "assistant")
    return messages[: last + 1]


def parting(one: list[Any], other: list[Any]) -> int | None:
    """Where two lists part."""
    for place, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return place
    return None if len(one) == len(other) else min(len(one), len(other))


def test_the_first_diverging_message(book: Book, runs: list[list[Run]]) -> None:
    """Of any two trials of a task the first diverging message is the one that a comparison of the recordings, message
    by message, finds."""
    seen = set()
    for trials in runs:
        ids = [record(book, run) for run in trials]
        for a, b in combinations(range(len(trials)), 2):
            one, other = conversation(trials[a]), conversation(trials[b])
            (pair,) = compare(ids[a], ids[b], db=book.path).conversations
            wanted = parting(one, other)
            assert pair.messages == (len(one), len(other))
            assert (pair.divergence and pair.divergence.index) == wanted
            if pair.divergence is not None and wanted is not None:
                assert pair.divergence.roles == (one[wanted]["role"], other[wanted]["role"])
                seen.add(wanted)
    assert len(seen) > 1, "they all part at the same place, and so prove little"


def test_growth(book: Book, runs: list[list[Run]]) -> None:
    """Every run is one conversation, each call of which sends all that was said before, with the cache unbroken."""
    run = runs[0][0]
    found = context(record(book, run), db=book.path)
    assert [turn.messages for turn in found.turns] == [
        place for place, message in enumerate(run["traj"]) if message["role"] == "assistant"
    ]
    assert ({turn.conversation for turn in found.turns}, found.breaks) == ({0}, ())
    assert found.estimated_from == "characters"


def test_why(book: Book, runs: list[list[Run]]) -> None:
    """Of a run that failed without an error it is told what was said last."""
    run = next(run for trials in runs for run in trials if run["reward"] != 1.0)
    found = why(record(book, run), db=book.path)
    assert (found.verdict, found.cause) == ("fail", None)
    assert found.last_llm is not None
    last = conversation(run)[-1]
    assert found.last_llm.got is not None
    assert (last["content"] or last["tool_calls"][0]["function"]["name"]) in found.last_llm.got
