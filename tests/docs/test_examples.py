"""The documentation is executed: what it shows, works."""

from __future__ import annotations

import os
import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agentops_local.pricing.overrides import load
from agentops_sync.policy import Policies
from tests.fakes.agentops_api import AgentOpsAPI

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str) -> list[Any]:
    """Every fenced block of a language, named by its page and number."""
    found = []
    for page in PAGES:
        texts = re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
        found += [pytest.param(text, id=f"{page.name}-{number}") for number, text in enumerate(texts, 1)]
    return found


def run(*command: str, folder: Path, told: str = "") -> subprocess.CompletedProcess[str]:
    """Runs a command in a folder, as a user would."""
    return subprocess.run(command, cwd=folder, input=told, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def recorded(project: Path) -> Path:
    """A project in which the first example of the README has run."""
    first = re.search(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    assert first is not None
    done = run(sys.executable, "-c", first.group(1), folder=project)
    assert done.returncode == 0, done.stderr
    return project


@pytest.mark.parametrize("code", blocks("python"))
def test_python(code: str, project: Path) -> None:
    """Every Python example runs as it stands, without a word on stderr."""
    done = run(sys.executable, "-c", code, folder=project)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[AgentOpsAPI]:
    """A look-alike of AgentOps, to which is uploaded whatever does not say otherwise."""
    with AgentOpsAPI(actions_work=True) as running:
        monkeypatch.setenv("AGENTOPS_API_ENDPOINT", running.url)
        monkeypatch.setenv("AGENTOPS_API_KEY", running.api_key)
        yield running


@pytest.fixture
def uploaded(recorded: Path, server: AgentOpsAPI) -> Path:
    """That project, uploaded."""
    done = run(sys.executable, "-m", "agentops_sync", "once", folder=recorded)
    assert done.returncode == 0, done.stdout + done.stderr
    return recorded


@pytest.mark.parametrize("query", blocks("sql"))
def test_sql(query: str, recorded: Path, request: pytest.FixtureRequest) -> None:
    """Every SQL example finds something in what the README's example recorded, or in what of it was uploaded."""
    if "egress" in query:
        request.getfixturevalue("uploaded")
    with closing(sqlite3.connect(recorded / ".agentops" / "agentops.db")) as connection:
        assert connection.execute(query).fetchall()


def commands() -> list[str]:
    """The agentops-local commands of the README's console blocks, comments removed."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\$ (agentops-local .*?)(?:\s+#.*)?$", text, re.M)
    return [line for line in lines if line.split()[1] not in ("tail", "serve")]  # they never end by themselves


@pytest.mark.parametrize("command", commands())
def test_commands(command: str, recorded: Path) -> None:
    """Every command that the README shows works on what its example recorded."""
    done = run(sys.executable, "-m", "agentops_local.cli", *shlex.split(command)[1:], folder=recorded)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip()


def test_sync_commands(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agentops-sync commands of the README, one after the other, upload what its example recorded."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\$ agentops-sync (.*?)(?:\s+#.*)?$", text, re.M)
    assert [line.split()[0] for line in lines] == ["once", "status", "verify"]
    with AgentOpsAPI(actions_work=True) as server:
        monkeypatch.setenv("AGENTOPS_API_ENDPOINT", server.url)
        monkeypatch.setenv("AGENTOPS_API_KEY", server.api_key)
        for line in lines:
            done = run(sys.executable, "-m", "agentops_sync", *shlex.split(line), folder=recorded)
            assert done.returncode == 0, done.stdout + done.stderr
            assert done.stdout.strip()


@pytest.mark.parametrize("text", blocks("toml"))
def test_policies_and_prices(text: str, project: Path) -> None:
    """Every upload policy, and every list of prices, that the docs show can be understood."""
    if "[[price]]" in text:
        (project / "prices.toml").write_text(text, encoding="utf-8")
        assert load(project / "agentops.db").entries
        return
    (project / "sync.toml").write_text(text, encoding="utf-8")
    assert Policies.load(project / "agentops.db").for_session("", [], None).name


def sync_commands() -> list[str]:
    """The agentops-sync commands of the page about uploading, comments removed, in its order."""
    text = (ROOT / "docs" / "sync.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\$ (agentops-sync .*?)(?:\s+#.*)?$", text, re.M)
    return [line for line in lines if not line.endswith(" run")]  # it never ends by itself


@pytest.mark.parametrize("command", sync_commands())
def test_commands_of_the_page_about_uploading(command: str, uploaded: Path, server: AgentOpsAPI) -> None:
    """Every command that the page about uploading shows works on what was uploaded."""
    words = shlex.split(command)[1:]
    told = server.api_key if words == ["login"] else ""
    done = run(sys.executable, "-m", "agentops_sync", *words, folder=uploaded, told=told)
    assert done.returncode == 0, done.stdout + done.stderr


def test_help_in_the_docs() -> None:
    """The help texts in the docs are those that the commands print."""
    done = subprocess.run(
        [sys.executable, "-m", "cogapp", "--check", *map(str, PAGES)],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
