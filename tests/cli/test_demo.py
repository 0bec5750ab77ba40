from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import pytest

import agentops_local as agentops
from agentops_local.clock import new_id
from agentops_local.demo import ledger, logs, rules

LAST_LINE = re.compile(r"acknowledged (\d+), stored (\d+), lost 0, doubled 0")


class Demo(NamedTuple):
    """One run of `agentops-local demo`."""

    code: int
    output: str
    errors: str
    folder: Path

    def query(self, sql: str) -> list[tuple]:
        """What a reader of its database finds."""
        path = self.folder / ".agentops" / "agentops.db"
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            return connection.execute(sql).fetchall()


def start(folder: Path, cwd: Path, *options: str | Path, **environ: str) -> Demo:
    """Run the demo, as a user whose faults are raised."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("AGENTOPS_")}
    env |= {"AGENTOPS_LOCAL_STRICT": "1", "COLUMNS": "80", **environ}
    line = [sys.executable, "-m", "agentops_local.cli", "demo", *map(str, options)]
    done = subprocess.run(line, cwd=cwd, env=env, capture_output=True, text=True, timeout=100, check=False)
    return Demo(done.returncode, done.stdout, done.stderr, folder)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A run in a folder of its own, started in an empty one by a user with settings of his own."""
    folder, cwd = tmp_path_factory.mktemp("demo"), tmp_path_factory.mktemp("elsewhere")
    done = start(
        folder, cwd, "--dir", folder, AGENTOPS_LOCAL_DB=str(cwd / "own.db"), AGENTOPS_LOCAL_SESSION=str(new_id())
    )
    yield done
    assert list(cwd.iterdir()) == []  # nothing was recorded or left where the user was


def test_nothing_acknowledged_is_lost_or_doubled(demo: Demo) -> None:
    """The demo ends well, and counts at its end: all that was acknowledged is stored, once."""
    assert (demo.code, demo.errors) == (0, "")
    found = LAST_LINE.fullmatch(demo.output.splitlines()[-2])
    assert found is not None
    assert len(LAST_LINE.findall(demo.output)) == 1
    acknowledged = {event for path in (demo.folder / "acknowledged").iterdir() for _, event in ledger.entries(path)}
    assert int(found[1]) == int(found[2]) == len(acknowledged)
    assert acknowledged <= {UUID(bytes=row[0]) for row in demo.query("SELECT id FROM events")}


def test_all_that_is_recorded_is_uploaded_once(demo: Demo) -> None:
    """Though the network dropped twice and the daemon was killed, the collector holds every event that was recorded,
    once; that is the last line."""
    pytest.importorskip("uvicorn")
    found = re.fullmatch(r"recorded (\d+), uploaded (\d+), lost 0, doubled 0", demo.output.splitlines()[-1])
    assert found is not None, demo.output
    stored = {row[0] for row in demo.query("SELECT id FROM events")}
    assert int(found[1]) == int(found[2]) == len(stored)
    (file,) = (demo.folder / "collector" / "projects").glob("*.db")
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
        rows = [row[0] for row in connection.execute("SELECT id FROM events").fetchall()]
    assert len(rows) == len(stored)
    assert set(rows) == stored


def test_one_worker_is_killed_and_replaced(demo: Demo) -> None:
    """Five processes share the session; one of them never said goodbye, and the session is a success all the same."""
    rows = demo.query("""
        SELECT program, count(*), sum(o.end_us IS NULL), end_state
        FROM owners o JOIN sessions s ON s.seq = o.session WHERE o.program != 'adrift.py' GROUP BY program
    """)
    assert rows == [("planner.py", 1, 0, "Success"), ("worker.py", 4, 1, "Success")]


def test_killed_worker_has_left_its_events(demo: Demo) -> None:
    """All that the killed worker was acknowledged is in the session, and the planner recorded its death as an error."""
    ((pid,),) = demo.query("SELECT pid FROM owners WHERE end_us IS NULL AND program = 'worker.py'")
    promised = ledger.entries(demo.folder / "acknowledged" / f"{pid}.ids")
    stored = demo.query(f"SELECT count(*) FROM events e JOIN owners o ON o.seq = e.owner WHERE o.pid = {pid}")
    assert 9 <= len(promised) <= stored[0][0] <= len(promised) + 1
    code = "-9" if os.name == "posix" else "1"
    assert demo.query("SELECT code FROM errors WHERE error_type = 'WorkerDied'") == [(code,)]


def test_process_that_dies_without_a_word_is_told(demo: Demo) -> None:
    """The second agent's session was ended by nobody; `sessions` and `show` say when its process died."""
    rows = demo.query("""
        SELECT s.end_us, s.end_state, o.end_us
        FROM owners o JOIN sessions s ON s.seq = o.session WHERE o.program = 'adrift.py'
    """)
    assert rows == [(None, "Indeterminate", None)]
    assert demo.output.count("its process died at about") == 2


def test_agent_does_its_work(demo: Demo) -> None:
    """The agent finds the faults that were planted, each in its file, and no others."""
    report = json.loads((demo.folder / "report.json").read_text(encoding="utf-8"))
    assert report.keys() == logs.PLANTED.keys()
    assert "5 of 5 planted faults found, 0 false alarms." in demo.output


def test_caught_error_is_recorded_with_its_call(demo: Demo) -> None:
    """The tool call that fails is recorded with its error and traceback, though the worker catches it and goes on."""
    rows = demo.query("""
        SELECT t.name, e.error_type, e.logs LIKE '%in read_log%' FROM errors e JOIN tools t ON t.id = e.trigger_event_id
    """)
    assert rows == [("read_log", "UnicodeDecodeError", 1)]


def test_conversations_grow_by_what_was_said(demo: Demo) -> None:
    """Each prompt of a worker is its last one with the answer and a question added, and is given back whole."""
    prompts: dict[str, list[list[dict]]] = {}
    for agent, prompt in demo.query("SELECT agent_name, prompt FROM llms WHERE agent_name LIKE 'worker%' ORDER BY seq"):
        prompts.setdefault(agent, []).append(json.loads(prompt))
    assert len(prompts) == 4
    for talk in prompts.values():
        for before, after in pairwise(talk):
            assert after[: len(before)] == before
            assert [message["role"] for message in after[len(before) :]] == ["assistant", "user"]


def test_model_is_called_what_it_is(demo: Demo) -> None:
    """No event claims a language model: the rules are recorded under their own name, with tokens and a cost."""
    assert demo.query("SELECT DISTINCT model FROM llms") == [(rules.MODEL,)]
    assert demo.query("SELECT count(*) FROM llms WHERE cost > 0 AND prompt_tokens > 0 AND completion_tokens > 0") == (
        demo.query("SELECT count(*) FROM llms")
    )
    assert "a handful of rules" in demo.output


def test_commands_are_shown(demo: Demo) -> None:
    """The commands that are shown are those of the command line, and each of them works."""
    shown = re.findall(r"^\$ agentops-local (\w+)", demo.output, re.MULTILINE)
    assert shown == ["sessions", "show", "show", "stats", "doctor"]
    assert "(exit code" not in demo.output


def test_own_lines_fit_a_terminal(demo: Demo) -> None:
    """What the demo itself says fits 80 columns, paths apart, and is plain where there is no terminal."""
    output = demo.output.replace(str(demo.folder), "")
    assert "\x1b" not in output
    own = [line for line in output.splitlines() if line.startswith("   ")]
    assert [line for line in own if len(line) > 80] == []


# What is left of it --------------------------------------------------------------------------------------------------


def test_temporary_folder_is_removed(tmp_path: Path) -> None:
    """Without --dir and --keep nothing of the demo stays; it says where it was."""
    done = start(tmp_path, tmp_path, TMPDIR=str(tmp_path), TEMP=str(tmp_path))
    assert done.code == 0
    assert list(tmp_path.iterdir()) == []
    assert re.search(rf"{re.escape(str(tmp_path.resolve()))}\S+ is removed", done.output)


def test_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    """A folder that is not empty is left as it is; the exit code is 2."""
    (tmp_path / "mine").write_text("")
    done = start(tmp_path, tmp_path, "--dir", tmp_path)
    assert done.code == 2
    assert "is not empty" in done.errors
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


# The count can fail --------------------------------------------------------------------------------------------------


@pytest.fixture
def recorded(project: Path) -> tuple[Path, Path]:
    """A ledger and a database of three events."""
    session = agentops.init(db=project / "own.db")
    assert session is not None
    ledger.Ledger(project / "acknowledged").watch(session)
    for name in ("a", "b", "c"):
        agentops.record(agentops.ActionEvent(action_type=name))
    session.end_session("Success")
    return project / "acknowledged", project / "own.db"


def change(database: Path, sql: str) -> None:
    """Change a database as no program of ours does."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(sql)


def test_what_is_acknowledged_and_stored_balances(recorded: tuple[Path, Path]) -> None:
    """Three events acknowledged and stored are counted as that."""
    assert ledger.compare(*recorded) == (3, 3, 0, 0, 0)


def test_missing_event_is_counted_as_lost(recorded: tuple[Path, Path]) -> None:
    """An acknowledged event that is not in the database is lost, whatever else is there."""
    change(recorded[1], "DELETE FROM events WHERE name = 'b'")
    assert ledger.compare(*recorded) == (3, 2, 1, 0, 0)


def test_event_stored_twice_is_counted_as_doubled(recorded: tuple[Path, Path]) -> None:
    """An event that is there twice, if only in two sessions, is doubled."""
    sessions = "INSERT INTO sessions (id, revision, init_us) VALUES ('x', 1000, 0)"
    copy = """
        INSERT INTO events (session, id, kind, owner, init_us)
        SELECT (SELECT seq FROM sessions WHERE id = 'x'), id, kind, owner, init_us FROM events WHERE name = 'a'
    """
    for sql in (sessions, copy):
        change(recorded[1], sql)
    assert ledger.compare(*recorded) == (3, 3, 0, 1, 0)


def test_event_stored_before_its_acknowledgement_is_no_fault(recorded: tuple[Path, Path]) -> None:
    """An event whose process died between the commit and its note in the ledger is neither lost nor doubled."""
    (path,) = recorded[0].iterdir()
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    assert ledger.compare(*recorded) == (2, 2, 0, 0, 1)
