"""The package as a user gets it: built, installed in an empty environment outside the checkout, and used."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
import venv
import zipfile
from contextlib import closing
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# In one group, because each worker would build and install its own; and slow, because packages are fetched.
pytestmark = [pytest.mark.timeout(400), pytest.mark.slow]

PROGRAM = """
import sys
import agentops_local as agentops

agentops.init(db=sys.argv[1])
agentops.record(agentops.ActionEvent("x"))
agentops.end_session("Success")
"""


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command away from the checkout, without any setting of ours or path of this Python."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("AGENTOPS_", "PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=360, check=False)
    if done.returncode:
        line = " ".join(map(str, command))
        pytest.fail(f"{line}\nexit code {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


@pytest.fixture(scope="session")
def package_index(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skip unless pip can fetch the build backend: without an index nothing can be built or installed."""
    folder = tmp_path_factory.mktemp("index")
    pip = (sys.executable, "-m", "pip", "--quiet", "--retries", "1", "--timeout", "15")
    fetch = (*pip, "download", "--no-deps", "hatchling")
    if subprocess.run(fetch, cwd=folder, capture_output=True, timeout=120, check=False).returncode:
        pytest.skip("no package index can be reached: pip could not fetch hatchling")


@pytest.fixture(scope="session")
def wheel(package_index: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source archive, which is built from the checkout."""
    dist = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", dist, ROOT, cwd=dist)
    assert len(list(dist.glob("agentops_local-*.tar.gz"))) == 1
    (built,) = dist.glob("agentops_local-*.whl")
    return built


@pytest.fixture(scope="session")
def files(wheel: Path) -> dict[str, bytes]:
    """The wheel's files by name."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="session")
def metadata(files: dict[str, bytes]) -> Message:
    """What the wheel says of itself."""
    (name,) = (name for name in files if name.endswith(".dist-info/METADATA"))
    return Parser().parsestr(files[name].decode())


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of commands of an environment that holds the wheel and what it asked for."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "env", with_pip=True, symlinks=True)
    commands = folder / "env" / "bin"
    run(commands / "python", "-m", "pip", "install", "--quiet", wheel, cwd=folder)
    return commands


def test_wheel_installs_our_two_packages_only(files: dict[str, bytes]) -> None:
    """A wheel adds two names to an environment, and none so common that it could hide another's package."""
    roots = {name.partition("/")[0] for name in files}
    assert {root for root in roots if not root.endswith(".dist-info")} == {"agentops_local", "agentops_sync"}


def test_wheel_holds_the_schema(files: dict[str, bytes]) -> None:
    """The schema travels beside the code that loads it, byte for byte."""
    assert files["agentops_local/schema.sql"] == (ROOT / "schema.sql").read_bytes()


def test_wheel_is_typed(files: dict[str, bytes]) -> None:
    """Both packages tell type checkers to trust their annotations."""
    assert {"agentops_local/py.typed", "agentops_sync/py.typed"} <= files.keys()


def test_wheel_holds_all_the_code(files: dict[str, bytes]) -> None:
    """No file of the packages stays behind in the checkout."""
    code = {
        path.relative_to(place).as_posix()
        for place, package in ((ROOT, "agentops_local"), (ROOT / "sync", "agentops_sync"))
        for path in (place / package).rglob("*.py")
    }
    assert code == {name for name in files if name.endswith(".py")}


def test_core_asks_for_six_libraries(metadata: Message) -> None:
    """Without extras, an installation brings the six libraries of the core and what those ask for."""
    requirements = metadata.get_all("Requires-Dist") or []
    # What only an old Python needs is part of every later one.
    always = [text for text in requirements if "extra ==" not in text and "python_version <" not in text]
    core = {re.split(r"[^\w-]", text)[0] for text in always}
    assert core == {"click", "filelock", "orjson", "psutil", "requests", "sqlite-utils"}


def test_installed_package_records(installed: Path, tmp_path: Path) -> None:
    """An installed package records an event that another program can read, once, in the view for its kind."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    database = tmp_path / "agentops.db"
    run(installed / "python", program, database, cwd=tmp_path)
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        assert connection.execute("SELECT count(*) FROM actions").fetchall() == [(1,)]


def test_installed_package_imports_nothing_of_the_checkout(installed: Path, tmp_path: Path) -> None:
    """The working folders of the checkout are no packages for the user; the daemon's package is one."""
    code = """
import importlib.util as util
print([name for name in ("sync", "tests", "benchmarks", "agentops_sync") if util.find_spec(name)])
"""
    assert run(installed / "python", "-I", "-c", code, cwd=tmp_path).stdout.strip() == "['agentops_sync']"


def test_installed_requirements_fit_together(installed: Path, tmp_path: Path) -> None:
    """What the package asks for can live in one environment."""
    run(installed / "python", "-m", "pip", "check", cwd=tmp_path)


def test_installed_command_tells_its_version(installed: Path, metadata: Message, tmp_path: Path) -> None:
    """The installed command runs, and names the version that was installed."""
    assert str(metadata["Version"]) in run(installed / "agentops-local", "--version", cwd=tmp_path).stdout
