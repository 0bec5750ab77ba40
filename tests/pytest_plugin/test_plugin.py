"""The plugin in a pytest of its own, as users run it."""

from __future__ import annotations

import json
import os
import re
import shlex
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Plugins of other packages in our own environment, each slow to load, and no part of the laws.
_LEFT_OUT = ("langsmith_plugin", "anyio", "schemathesis", "hypothesispytest", "timeout")


def run(folder: Path, *tests: str, options: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    """Runs tests, in which `ao` is the package, under strict warnings."""
    head = "import os, sys\nimport pytest\nimport agentops_local as ao\n"
    for number, code in enumerate(tests):
        (folder / f"test_{number}.py").write_text(head + textwrap.dedent(code))
    without = [word for name in _LEFT_OUT for word in ("-p", f"no:{name}")]
    if "-n" not in shlex.split(options):
        without += ["-p", "no:xdist"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-W", "error", "--strict-markers", "-p", "no:cacheprovider", *without,
         "--basetemp", str(folder.parent / "temporary"), *shlex.split(options)],
        cwd=folder, env={**os.environ, **environ}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def rows(path: Path, sql: str) -> list[tuple]:
    """What a database answers."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def left(folder: Path) -> list[Path]:
    """The databases that pytest has left among its temporary files."""
    return sorted((folder.parent / "temporary").rglob("agentops.db"))


OUTCOMES = """
def test_passes(agent_run):
    ao.record(ao.ToolEvent(name="search"))

def test_fails(agent_run):
    ao.record(ao.ToolEvent(name="search", params={"q": "who?"}))
    assert agent_run.tools("search").count == 2

def test_skips(agent_run):
    pytest.skip("not today")

@pytest.mark.xfail
def test_is_expected_to_fail(agent_run):
    raise ValueError("as expected")

def test_ends_its_session_itself(agent_run):
    ao.init()
    ao.end_session("Fail", "as the program says")

@pytest.fixture
def broken(agent_run):
    ao.record(ao.ToolEvent(name="prepare"))
    raise OSError("no")

def test_is_not_prepared(broken):
    pass
"""


def test_outcomes(project: Path) -> None:
    """A session ends as its test did, unless the program ended it; the report of a failure shows the run and where it
    lies, and of a test that passes nothing is left."""
    done = run(project, OUTCOMES, options="--agentops-keep kept")
    assert "1 failed, 2 passed, 1 skipped, 1 xfailed, 1 error" in done.stdout
    ended = {
        path.name.split("test_0.py-")[1]: rows(path, "SELECT end_state, end_state_reason FROM sessions")[0]
        for path in (project / "kept").iterdir()
    }
    # Its host is looked at once a process, and stands in every database.
    hosts = [rows(path, "SELECT environment FROM sessions") for path in (project / "kept").iterdir()]
    assert hosts == [[(1,)]] * 6
    assert ended["test_passes.db"][0] == "Success"
    assert ended["test_fails.db"] == ("Fail", "the test failed: AssertionError: assert 1 == 2")
    assert ended["test_skips.db"] == ("Indeterminate", "the test skipped: Skipped: not today")
    assert ended["test_is_expected_to_fail.db"][0] == "Indeterminate"
    assert ended["test_ends_its_session_itself.db"] == ("Fail", "as the program says")
    assert ended["test_is_not_prepared.db"] == ("Fail", "the test failed in its setup: OSError: no")
    assert done.stdout.count(" recorded run ") == 2
    assert "tools search" in done.stdout
    assert '{"q":"who?"}' in done.stdout
    lying = left(project)
    assert len(lying) == 2
    assert all(f"database: {path}" in done.stdout for path in lying)
    assert rows(lying[0], "SELECT end_state FROM sessions") == [("Fail",)]


def test_keeping(project: Path) -> None:
    """Of the databases, those of failed tests alone may be kept; none is written over, and none without being asked."""
    for _ in range(2):
        run(
            project,
            OUTCOMES,
            options="--agentops-keep kept --agentops-keep-policy failed -k 'test_passes or test_fails'",
        )
    assert sorted(path.name for path in (project / "kept").iterdir()) == [
        "test_0.py-test_fails-2.db", "test_0.py-test_fails.db",
    ]  # fmt: skip
    assert all((path.stat().st_mode & 0o777) == 0o600 for path in (project / "kept").iterdir())


IDLE = """
def test_idle():
    loaded = [name for name in sys.modules if name.startswith("agentops_local")]
    assert sorted(loaded) == ["agentops_local", "agentops_local.pytest_plugin"]
    assert not {"sqlite3", "orjson", "click", "filelock", "psutil", "requests", "sqlite_utils"} & set(sys.modules)
    assert os.environ["AGENTOPS_LOCAL_DB"] == "of the user"
"""


def test_plugin_costs_nothing(project: Path) -> None:
    """Where nobody asks for the fixture, nothing is loaded but the plugin's own module, nothing is set and nothing is
    written."""
    done = run(project, IDLE, AGENTOPS_LOCAL_DB="of the user", PYTHONDONTWRITEBYTECODE="1")
    assert done.returncode == 0, done.stdout
    assert [path.name for path in project.iterdir()] == ["test_0.py"]


AMONG_OTHERS = """
mine = ao.init(default_tags=["mine"], instrument_llm_calls=False)
client = ao.Client()
before = {name: value for name, value in os.environ.items() if name.startswith("AGENTOPS_")}

def test_first(agent_run):
    assert not {"AGENTOPS_LOCAL_DURABILITY", "AGENTOPS_SYNC_TIMING"} & set(os.environ)
    assert os.environ["AGENTOPS_API_KEY"] == before["AGENTOPS_API_KEY"]
    assert not client.has_sessions
    os.environ["AGENTOPS_LOCAL_BUDGET"] = "0"
    client.record(ao.ToolEvent(name="of the test"))
    ao.init(api_key="0197a1b2-0000-7000-8000-00000000000a", default_tags=["test's"])
    assert agent_run.tools.names == ["of the test"]

def test_between():
    assert {name: value for name, value in os.environ.items() if name.startswith("AGENTOPS_")} == before
    assert ao.Client() is client
    assert client.get_default_tags() == ["mine"]
    assert client.get_session(mine.session_id) is mine
    ao.record(ao.ToolEvent(name="of the program"))

def test_second(agent_run):
    assert agent_run.events == []

def test_unpriced(agent_run):
    ao.record(ao.LLMEvent(model="ours", prompt_tokens=1000000, completion_tokens=0))
    assert agent_run.cost == 2.50
"""


def test_client_of_the_process(project: Path) -> None:
    """A client that the process has already is left as it was, its session goes on, and neither its database nor the
    user's keys get anything of a test; the prices of the project hold in tests as well."""
    (project / ".agentops").mkdir(mode=0o700)
    (project / ".agentops" / "prices.toml").write_text('[[price]]\nmodel = "ours"\ninput = "2.50"\noutput = 10\n')
    done = run(
        project, AMONG_OTHERS, AGENTOPS_LOCAL_DURABILITY="power", AGENTOPS_SYNC_TIMING="{}",
        AGENTOPS_API_KEY="0197a1b2-0000-7000-8000-000000000001",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    own = project / ".agentops" / "agentops.db"
    assert rows(own, "SELECT name FROM events") == [("of the program",)]
    assert rows(own, "SELECT end_state_reason FROM sessions") == [("its process ended without end_session()",)]
    assert not (project.parent / "configuration").exists()


LATE = """
def test_first(agent_run):
    ao.record(ao.ToolEvent(name="of the test"))

def test_later(monkeypatch):
    monkeypatch.setenv("AGENTOPS_API_KEY", "0197a1b2-0000-7000-8000-000000000002")
    assert ao.init(instrument_llm_calls=False) is not None
    assert ao.get_api_key() == "0197a1b2-0000-7000-8000-000000000002"
    ao.end_session("Success")
"""


def test_client_that_comes_later(project: Path) -> None:
    """A client that is first asked for after a test with the fixture knows nothing of it."""
    done = run(project, LATE)
    assert done.returncode == 0, done.stdout
    assert rows(project / ".agentops" / "agentops.db", "SELECT name FROM events") == []


def test_workers(project: Path) -> None:
    """The workers of pytest-xdist keep their tests apart, and their reports show the runs."""
    pytest.importorskip("xdist")
    code = """
    @pytest.mark.parametrize("number", range(6))
    def test_one(agent_run, number):
        ao.record(ao.ToolEvent(name=f"tool {number}"))
        assert agent_run.tools.names == [f"tool {number}"]
        assert number != 4
    """
    done = run(project, code, options="-n 2 --agentops-keep kept")
    assert "1 failed, 5 passed" in done.stdout
    assert "tools tool 4" in done.stdout
    assert len(list((project / "kept").iterdir())) == 6


def test_wrong_setting(project: Path) -> None:
    """A setting that cannot be accepted is an error of the test, and leaves nothing behind."""
    code = """
    @pytest.mark.agent_run(durability="eternal")
    def test_one(agent_run):
        pass

    def test_other():
        assert "AGENTOPS_LOCAL_DB" not in os.environ
        assert ao.Client._instance is None
    """
    done = run(project, code)
    assert "durability 'eternal' is not known" in done.stdout
    assert "1 passed, 1 error" in done.stdout


def test_import_time(project: Path) -> None:
    """The plugin's module imports the standard library and pytest alone."""
    code = """
    import sys, json
    import pytest
    before = set(sys.modules)
    import agentops_local.pytest_plugin
    print(json.dumps(sorted({name.partition(".")[0] for name in set(sys.modules) - before})))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert [name for name in json.loads(done.stdout) if name not in sys.stdlib_module_names] == ["agentops_local"]


def test_docs(project: Path) -> None:
    """Every test that the page about testing shows passes."""
    page = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
    shown = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    done = run(project, *shown)
    assert f"{len(shown)} passed" in done.stdout, done.stdout
