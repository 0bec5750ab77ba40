from __future__ import annotations

import plistlib
import re
import shutil
import subprocess
import sys
from pathlib import Path
from uuid import uuid4
from xml.etree import ElementTree

import pytest

from agentops_local.errors import WrongUse
from agentops_sync.service import PLATFORMS, install_service, make_service

ODD = ['/home/a b/50% of $HOME/"quoted" & <x>/it\'s \\ @LABEL@/.agentops/agentops.db', "/srv/b/agentops.db"]
TASK = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A user."""
    return {
        "HOME": str(tmp_path),
        "USERPROFILE": str(tmp_path),
        "LOCALAPPDATA": str(tmp_path / "local"),
        "USERNAME": "a & b",
        "USERDOMAIN": "HERE",
        "AGENTOPS_API_KEY": str(uuid4()),
    }


def words_of(platform: str, text: str) -> list[str]:
    """The command that the service runs, as its system reads it."""
    if platform == "darwin":
        return list(plistlib.loads(text.encode())["ProgramArguments"])
    if platform == "win32":
        task = ElementTree.fromstring(text.encode("utf-16"))  # noqa: S314 - our own text
        command, arguments = (task.find(f".//{TASK}{name}") for name in ("Command", "Arguments"))
        assert command is not None
        assert arguments is not None
        return [str(command.text), *windows_words(str(arguments.text))]
    (line,) = re.findall("^ExecStart=(.*)$", text, re.MULTILINE)
    words = re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', line)
    return [
        (re.sub(r"\\(.)", r"\1", quoted) if quoted else bare).replace("%%", "%").replace("$$", "$")
        for quoted, bare in words
    ]


def windows_words(line: str) -> list[str]:
    """A command line as the C runtime of Windows takes it apart."""
    words, word, quoted = [], "", False
    for slashes, rest in re.findall(r'(\\*)("|[^\\"])', line):
        word += "\\" * (len(slashes) // 2 if rest == '"' else len(slashes))
        if rest == '"' and len(slashes) % 2 == 0:
            quoted = not quoted
        elif rest == " " and not quoted:
            words.append(word)
            word = ""
        else:
            word += rest
    return [*words, word]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_service_runs_the_daemon_of_this_python(platform: str, environ: dict[str, str]) -> None:
    """The service runs this interpreter by its absolute path, with every database and the endpoint as they are,
    whatever letters are in their names."""
    endpoint = "https://example.org/a?b=1&c=%20"
    service = make_service([Path(path) for path in ODD], endpoint, platform=platform, environ=environ)
    command = [sys.executable, "-m", "agentops_sync", "run", "--db", ODD[0], "--db", ODD[1], "--endpoint", endpoint]
    assert words_of(platform, service.text) == command


@pytest.mark.parametrize("platform", PLATFORMS)
def test_no_service_holds_a_key(platform: str, environ: dict[str, str]) -> None:
    """No key of the environment gets into a service file, and none can be put there."""
    db = [Path("/srv/agentops.db")]
    assert environ["AGENTOPS_API_KEY"] not in make_service(db, platform=platform, environ=environ).text
    with pytest.raises(WrongUse):
        make_service(db, arguments=("run", "--api-key", str(uuid4())), platform=platform, environ=environ)
    with pytest.raises(WrongUse):
        make_service(db, "https://user:word@example.org", platform=platform, environ=environ)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_service_is_written_where_its_system_looks(platform: str, environ: dict[str, str], tmp_path: Path) -> None:
    """The file is written below the user's own folders, whole, and again over an older one; what enables it is told."""
    install_service([tmp_path / "other.db"], platform=platform, environ=environ)
    (path,), enable = install_service([tmp_path / "agentops.db"], platform=platform, environ=environ)
    service = make_service([tmp_path / "agentops.db"], platform=platform, environ=environ)
    assert path == service.path
    assert path.is_relative_to(tmp_path)
    assert path.read_text(encoding=service.encoding) == service.text
    assert enable == service.enable != ()
    assert service.disable != ()


@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_hole_is_filled(platform: str, environ: dict[str, str]) -> None:
    """Nothing of a template is left to be filled in."""
    text = make_service([Path("/srv/agentops.db")], platform=platform, environ=environ).text
    assert re.findall("@[A-Z]+@", text) == []


def test_the_unit_is_one_to_systemd(environ: dict[str, str], tmp_path: Path) -> None:
    """The unit has no fault that systemd could find."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    (path,), _ = install_service([Path(ODD[0])], platform="linux", environ=environ)
    done = subprocess.run(
        ["systemd-analyze", "--user", "--recursive-errors=no", "verify", path],
        capture_output=True, text=True, timeout=60,
        env={**environ, "PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(tmp_path)},
    )  # fmt: skip
    if "Failed to initialize manager" in done.stderr:
        pytest.skip(f"systemd-analyze cannot work here: {done.stderr.strip()}")
    assert (done.returncode, "agentops-sync" in done.stderr) == (0, False), done.stderr


def test_the_agent_is_started_again_only_if_it_fails(environ: dict[str, str]) -> None:
    """The agent is started at login and after a failure, not after an end that was asked for."""
    text = make_service([Path("/srv/agentops.db")], platform="darwin", environ=environ).text
    agent = plistlib.loads(text.encode())
    assert (agent["RunAtLoad"], agent["KeepAlive"]) == (True, {"SuccessfulExit": False})
    assert agent["Umask"] == 0o077


def test_the_task_is_the_users(environ: dict[str, str]) -> None:
    """The task runs as the user who is logged in, without more rights, and without an end."""
    text = make_service([Path("/srv/agentops.db")], platform="win32", environ=environ).text
    task = ElementTree.fromstring(text.encode("utf-16"))  # noqa: S314 - our own text
    found = {
        name: [item.text for item in task.iter(TASK + name)] for name in ("UserId", "RunLevel", "ExecutionTimeLimit")
    }
    assert found == {"UserId": ["HERE\\a & b"] * 2, "RunLevel": ["LeastPrivilege"], "ExecutionTimeLimit": ["PT0S"]}


def test_what_cannot_be_a_service_is_told(environ: dict[str, str]) -> None:
    """A platform without services of a user, and a path that no service file can name, are refused with a remedy."""
    with pytest.raises(WrongUse, match="started at login"):
        make_service([Path("/srv/agentops.db")], platform="freebsd", environ=environ)
    with pytest.raises(WrongUse, match="line break"):
        make_service([Path("/srv/a\nb")], platform="linux", environ=environ)
