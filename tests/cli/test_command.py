from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import click
import pytest

from agentops_local import __version__, cli
from agentops_local.cli import LazyGroup
from tests.analytics.recording import Book
from tests.cli.calling import COMMAND, call, environment, execute, on_terminal

OURS = [
    "sessions", "show", "tail", "stats", "cost", "top", "errors", "why", "slow", "compare", "context", "active",
    "search", "sql", "score", "export", "import", "pack", "merge", "replay", "rm", "erase", "prune", "backup",
    "restore", "doctor",
]  # fmt: skip
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")


def test_the_version_is_told(project: Path) -> None:
    """`--version` tells the version, and nothing else."""
    assert execute("--version") == (0, f"agentops-local {__version__}\n", "")


def test_the_version_loads_little(project: Path) -> None:
    """To tell the version neither SQLite is loaded nor any of the commands."""
    code = (
        "import sys; from agentops_local.cli import cli; cli(['--version'], standalone_mode=False); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "click" in loaded
    assert not loaded & {"sqlite3", "psutil", "requests", "sqlite_utils", "agentops_local.cli.sessions", "asyncio"}


@pytest.mark.parametrize("name", OURS)
def test_every_command_has_help_with_an_example(project: Path, name: str) -> None:
    """Every command tells what it does, in which options, with an example, on 80 columns."""
    said = call(name, "--help")
    assert said.code == 0
    assert "Examples:" in said.out
    assert f"agentops-local {name}" in said.out.partition("Examples:")[2]
    assert max(map(len, said.lines)) <= 80
    assert call(name, "-h").out == said.out


def test_the_help_tells_the_exit_codes(project: Path) -> None:
    """The help of the whole command lists the commands, what the exit codes mean, and how a shell completes it."""
    said = call("--help")
    assert all(f"\n  {name} " in said.out for name in OURS)
    for text in ("Exit codes", "0  done", "1  it did not work", "2  wrong use", "_AGENTOPS_LOCAL_COMPLETE"):
        assert text in said.out
    cut = [line for line in said.lines if line.endswith("...")]
    assert not [line for line in cut if line.split()[0] in OURS], "a first line is too long to be listed"


def test_a_command_that_is_missing_breaks_no_other(project: Path) -> None:
    """A command whose module is not there is not listed and not known; the others are."""
    group = LazyGroup(
        "x", places={"gone": "agentops_local.cli.no_such:gone", "stats": "agentops_local.cli.stats:stats"}
    )
    context = click.Context(group)
    assert group.list_commands(context) == ["stats"]
    assert group.get_command(context, "gone") is None
    assert group.get_command(context, "other") is None


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (["sessions"], 1), (["show", "last"], 1), (["stats"], 1), (["rm", "last"], 1), (["doctor"], 0),
        (["prune", "--older-than", "1d"], 1), (["nonsense"], 2), (["sessions", "--limit", "x"], 2),
        (["sessions", "--state", "odd"], 2), (["prune"], 2), (["prune", "--older-than", "soon"], 2), ([], 2),
        (["tail", "--session", "last"], 1),
    ],
)  # fmt: skip
def test_exit_codes_without_a_database(project: Path, line: list[str], code: int) -> None:
    """Where there is no database, a command that wants one fails with 1, wrong use with 2, neither with a traceback."""
    said = execute(*line)
    assert said.code == code
    assert "Traceback" not in said.err
    assert list(project.iterdir()) == []


def test_the_database_is_named_before_or_after(book: Book, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--db` names the database, before the command or after it; so does the environment."""
    name = book.end(book.session())
    monkeypatch.chdir(tmp_path)
    for line in (["--db", book.path, "sessions"], ["sessions", "--db", book.path]):
        assert [one["session_id"] for one in call(*line, "--json").json] == [name]
    assert len(call("sessions", "--json", AGENTOPS_LOCAL_DB=str(book.path)).json) == 1
    assert call("--utc", "sessions", "--db", book.path).code == 0


def test_what_is_no_database_of_ours_is_refused(project: Path) -> None:
    """Another program's database, or a file that is none, is refused in a sentence, with exit code 1."""
    other = project / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE t (x)")
    connection.close()
    (project / "text.db").write_text("no database " * 100)
    (project / "empty.db").touch()
    for name in ("other.db", "text.db", "empty.db"):
        said = execute("--db", name, "sessions")
        assert (said.code, said.out) == (1, "")
        assert name in said.err
        assert len(said.err.splitlines()) == 1


def test_reading_makes_and_changes_nothing(book: Book) -> None:
    """The commands that read leave the database as it is, byte for byte; once every call has been looked up that has
    no price."""
    state = book.session()
    book.llm(state, "a", "b")
    book.llm(state, "a", "b", cost="0.1")
    book.end(state)
    assert execute("stats").code == 0
    book.recorder.start(book.session())
    book.close()
    before = {file.name: file.read_bytes() for file in book.path.parent.iterdir()}
    for line in (["sessions"], ["show", "last", "--full"], ["stats"], ["doctor", "--full"],
                 ["prune", "--older-than", "0d", "--dry-run"]):  # fmt: skip
        assert execute(*line).code == 0
    after = {file.name: file.read_bytes() for file in book.path.parent.iterdir()}
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) <= {f"{book.path.name}-wal", f"{book.path.name}-shm"}


def test_the_shell_completes_sessions(book: Book) -> None:
    """The shell offers the ids of sessions, newest first, and none where they cannot be read."""
    first, second = book.end(book.session()), book.end(book.session())
    words = {"COMP_CWORD": "2", "_AGENTOPS_LOCAL_COMPLETE": "bash_complete"}
    said = execute(COMP_WORDS="agentops-local show ", **words)
    assert said.lines == [f"plain,{second}", f"plain,{first}"]
    book.close()
    book.path.write_text("broken")
    assert execute(COMP_WORDS="agentops-local show ", **words).out.strip() == ""


@posix
def test_colours_are_for_terminals(book: Book) -> None:
    """A terminal is shown colours, unless NO_COLOR is set; what is no terminal is shown none."""
    book.end(book.session(), "Fail")
    assert "\x1b[31mFail" in on_terminal("sessions").out
    assert "\x1b[" not in on_terminal("sessions", NO_COLOR="1").out
    assert "\x1b[" not in execute("sessions").out
    assert "\x1b[" not in on_terminal("sessions", "--json").out


@posix
@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_tables_fit_the_terminal(book: Book, width: int) -> None:
    """However much there is to say, no line of a table is longer than the terminal is wide."""
    state = book.session("a tag " * 10, "another " * 10)
    for _ in range(3):
        tool = book.tool(state, "a_tool_with_quite_a_long_name", {"q": "x" * 300}, "y" * 300)
        book.error(state, tool, "went wrong " * 30)
        book.llm(state, "ask", completion="said " * 100, model="a-model-with-a-long-name-2026", cost="0.000123")
    book.end(state, "Fail", "because " * 30)
    for line in (["sessions"], ["show", "last"], ["stats"]):
        said = on_terminal(*line, width=width, NO_COLOR="1").lines
        assert max(map(len, said)) <= width, line


def test_a_terminal_that_lacks_characters_is_no_obstacle(book: Book) -> None:
    """Where the output cannot hold a character it is escaped, and the command goes on."""
    state = book.session("東京", "☀️")
    book.llm(state, "ask", completion="→ 東京", cost="0.1")
    said = execute("show", "last", PYTHONIOENCODING="latin-1")
    assert said.code == 0
    assert "\\u6771" in said.out


def test_json_is_safe_to_show(book: Book) -> None:
    """JSON on a terminal has no character that it would obey, and means what was recorded."""
    nasty = "\x1b[2J\x07\x9b31m\x7f\u202eevil\u2028"
    state = book.session(nasty)
    book.tool(state, nasty, {nasty: nasty})
    for line in (["sessions"], ["show", "last"], ["stats"]):
        said = call(*line, "--json")
        assert not set(said.out) & set("\x1b\x07\x9b\x7f\u202e\u2028")
    (event,) = call("show", "last", "--json").json["events"]
    assert (event["name"], event["params"]) == (nasty, {nasty: nasty})
    assert json.loads(call("sessions", "--json").out)[0]["tags"] == [nasty]


@pytest.mark.parametrize("line", [["sessions"], ["show", "last"], ["show", "last", "--full"], ["stats"]])
def test_recorded_text_cannot_command_a_terminal(book: Book, line: list[str]) -> None:
    """Whatever was recorded, and wherever, no control character of it reaches the terminal."""
    nasty = "a\x1b[2J\x1b]0;title\x07\x9b31m\x7f\u202eevil\x00\rover"
    state = book.session(nasty)
    state.agent_names["0197a1b2-0000-7000-8000-000000000001"] = nasty
    tool = book.tool(state, nasty, {nasty: nasty}, nasty)
    book.llm(state, nasty, completion=nasty, model=nasty)
    book.action(state, nasty, nasty)
    book.error(state, tool, nasty)
    book.change("UPDATE owners SET program = ?, host = ?", nasty, nasty)
    book.change("UPDATE sessions SET video = ?", nasty)
    book.change("UPDATE agents SET name = ?", nasty)
    book.end(state, "Fail", nasty)
    said = call(*line)
    assert said.code == 0
    assert not set(said.out) & set("\x1b\x07\x9b\x7f\u202e\x00\r")


def test_the_module_is_the_command() -> None:
    """`main` is what the console script calls."""
    assert callable(cli.main)
    assert COMMAND[-1] == "agentops_local.cli"
