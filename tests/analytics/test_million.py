"""The database that questions are timed on is sound, and each of them gets the answer that SQL by hand gets."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import agentops_local
from agentops_local import LLMEvent
from agentops_local.analytics.checkup import Checkup
from agentops_local.analytics.finding import Level
from agentops_local.analytics.reading import open_reader
from agentops_local.recovery.contents import altered
from benchmarks.by_hand import ByHand
from benchmarks.million import build, more
from benchmarks.plans import scans
from benchmarks.questions import questions

END_US = 1_790_000_000_000_000
EVENTS, SESSIONS, LARGEST, LATER = 3000, 30, 500, 600


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An invented database, with what came later."""
    made = tmp_path_factory.mktemp("project") / ".agentops" / "agentops.db"
    build(made, EVENTS, SESSIONS, LARGEST, end_us=END_US)
    more(made, LATER, 10)
    return made


def rows(path: Path) -> Iterator[str]:
    """The database as statements, without what is a file's own."""
    with closing(sqlite3.connect(path)) as connection:
        yield from (line for line in connection.iterdump() if not line.startswith('INSERT INTO "about"'))


def test_sound(path: Path) -> None:
    """An invented database is sound: doctor finds no problem, no row was altered, each names others that are there."""
    assert [finding for finding in Checkup(path, full=True).run() if finding.level is Level.PROBLEM] == []
    with closing(open_reader(path)) as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert altered(connection) == {}


def test_as_recorded(path: Path, tmp_path: Path) -> None:
    """The recorder finds the messages of an invented conversation where it would have put them, and adds none."""
    copy = tmp_path / "copy.db"
    with closing(sqlite3.connect(path)) as connection, closing(sqlite3.connect(copy)) as target:
        connection.backup(target)
    with closing(open_reader(copy)) as connection:
        asked = connection.execute("SELECT prompt, completion, model FROM llms").fetchall()
        stored = connection.execute("SELECT count(*) FROM messages").fetchone()[0]
    agentops_local.init(db=copy)
    for prompt, completion, model in asked[::7]:
        said = json.loads(completion) if completion.startswith('{"role"') else completion
        agentops_local.record(LLMEvent(prompt=json.loads(prompt), completion=said, model=model, cost=0))
    agentops_local.end_session("Success")
    with closing(open_reader(copy)) as connection:
        assert connection.execute("SELECT count(*) FROM messages").fetchone()[0] == stored
        assert connection.execute("SELECT count(*) FROM events").fetchone()[0] == EVENTS + LATER + len(asked[::7])


def test_same_seed(path: Path, tmp_path: Path) -> None:
    """The same seed and end give the same rows."""
    again = tmp_path / ".agentops" / "agentops.db"
    build(again, EVENTS, SESSIONS, LARGEST, end_us=END_US)
    more(again, LATER, 10)
    assert list(rows(again)) == list(rows(path))


def test_sizes(path: Path) -> None:
    """There are as many events and sessions as were asked for, one session of the largest size, and none is empty."""
    with closing(open_reader(path)) as connection:
        counts = [row[0] for row in connection.execute("SELECT events FROM session_stats ORDER BY events DESC")]
    assert sum(counts) == EVENTS + LATER
    assert len(counts) == SESSIONS + 10
    assert counts[0] == LARGEST
    assert counts[-1] > 0


def test_same_by_hand(path: Path) -> None:
    """Every question gets the answer that SQL by hand gets from the tables, without an index."""
    with closing(sqlite3.connect(path)) as connection:
        for question in questions(path):
            question.same(question.ours(path), question.by_hand(ByHand(connection)))


def test_scans_are_seen(path: Path) -> None:
    """Who reads all events is found out by the plan, through a view as well; who reads those of a session is not."""
    with scans() as lines, closing(sqlite3.connect(path)) as connection:
        hand = ByHand(connection)
        hand.cost("tag")
        hand.search("flight", 1)
        (session,) = connection.execute("SELECT id FROM sessions ORDER BY seq LIMIT 1").fetchone()
        connection.execute("SELECT count(*) FROM payloads WHERE session_id = ?", (session,)).fetchone()
    assert [line.split("  in  ")[0] for line in lines] == ["SCAN e", "SCAN e"]
