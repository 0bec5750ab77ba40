from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.analytics.recording import Book
from tests.cli.calling import COMMAND, call, environment
from tests.importing.looking import query, said

RUN = {"traj": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], "task_id": 7, "reward": 1.0}


@pytest.fixture
def runs(project: Path) -> Path:
    """A file of two runs."""
    file = project / "runs.jsonl"
    file.write_text(json.dumps(RUN) + "\n" + json.dumps({**RUN, "reward": 0}) + "\n")
    return file


def test_all_of_it(runs: Path) -> None:
    """A file that is taken in is told in a line, with exit code 0; a second time, that nothing is new."""
    assert call("import", runs)[:2] == (0, "2 new sessions, 2 new events from 1 file\n")
    assert call("import", runs)[:2] == (0, "nothing new: 2 sessions with 2 events are here already\n")
    assert "7" in call("sessions", "--tag", "task_id:7").out


def test_some_of_it_is_wrong(runs: Path) -> None:
    """What cannot be taken in is named on stderr, the rest is taken in, and the exit code is 1; with `--strict` the
    file is refused, and there is no database."""
    with runs.open("a") as file:
        file.write("{wrong\n")
    strict = call("import", "--strict", runs)
    assert (strict.code, "nothing was taken in" in strict.err, "line 3" in strict.err) == (1, True, True)
    assert not Path(".agentops").exists()
    some = call("import", runs)
    assert (some.code, some.out) == (1, "2 new sessions, 2 new events from 1 file\n")
    assert some.err.startswith(f"skipped {runs}, line 3: it is not JSON")
    found = call("import", runs, "--json")
    assert (found.code, found.json["skipped"], found.json["there"]) == (1, 1, 2)
    assert [place for _, place, _ in found.json["wrong"]] == ["line 3"]


def test_a_session_of_which_something_is_missing(runs: Path) -> None:
    """A session of which something was skipped is told by its id."""
    runs.write_text(json.dumps([*RUN["traj"], 7]))  # type: ignore[misc]  # a list
    partial = call("import", runs)
    (session,) = query(Path(".agentops/agentops.db"), "SELECT id FROM sessions")[0]
    assert (partial.code, partial.lines[1]) == (1, f"of 1 session something was skipped: {session}")


def test_a_dry_run(runs: Path) -> None:
    """`--dry-run` tells what would come, and writes nothing."""
    assert call("import", "--dry-run", runs)[:2] == (0, "would bring 2 new sessions, 2 new events from 1 file\n")
    assert not Path(".agentops").exists()


def test_how_runs_are_understood(runs: Path) -> None:
    """The outcome, the model and the tags of runs are what the options say."""
    call("import", runs, "--outcome", "task_id", "--model", "gpt-4o", "--tag", "reward")
    db = Path(".agentops/agentops.db")
    assert query(db, "SELECT end_state, tags FROM sessions") == [
        ("Success", '["reward:1.0"]'), ("Success", '["reward:0"]'),
    ]  # fmt: skip
    assert query(db, "SELECT DISTINCT model FROM llms") == [("gpt-4o",)]


def test_from_an_export_by_a_pipe(book: Book, tmp_path: Path) -> None:
    """What `export` writes to a pipe, `import -` takes in: the same, also with `--strict`, which reads it twice."""
    state = book.session("a tag")
    book.llm(state, "question", cost="0.5")
    book.tool(state, params={"a": 1})
    book.end(state)
    exported = call("export", "--all", "--format", "jsonl").out
    for number, words in enumerate(([], ["--strict"])):
        other = tmp_path / f"{number}.db"
        line = [*COMMAND, "--db", str(other), "import", "-", *words]
        done = subprocess.run(line, input=exported, env=environment(), capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout) == (0, "1 new session, 2 new events from 1 file\n"), done.stderr
        assert said(other) == said(book.path)


def test_wrong_use(runs: Path) -> None:
    """No file, one that is not there, a format that does not exist and stdin named twice are told."""
    for words, code in (([], 2), ([runs, "--format", "xml"], 2), (["-", "-"], 2), ([runs.with_name("none")], 1)):
        assert call("import", *words).code == code
    runs.write_text('{"no": "session"}')
    refused = call("import", runs)
    assert (refused.code, "--format" in refused.err) == (1, True)
