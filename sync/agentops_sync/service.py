"""The daemon as a service of the user: a systemd unit, a launchd agent or a task of the Windows Task Scheduler.

The templates lie in `services/`, so they can be read, and adapted, without us. What is filled in is the command: this
Python by its absolute path, for a service has no virtual environment and no PATH of the user's. No API key gets into a
service file: those are read by more eyes than the file of keys (see `agentops_local.credentials`).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

from agentops_local.credentials import make_folder
from agentops_local.errors import WrongUse

NAME = "agentops-sync"
LABEL = "local.agentops.sync"  # launchd names agents by a reversed domain
PLATFORMS = ("linux", "darwin", "win32")

_HOLE = re.compile("@([A-Z]+)@")
_UNIT_SPECIAL = re.compile(r'[\s"\'\\;]')


@dataclass(frozen=True, slots=True)
class Service:
    """A service file for one platform.

    Attributes:
        path: where the system looks for it.
        text: what it holds.
        encoding: in which it is written: the Task Scheduler wants UTF-16.
        enable: commands that make the system run it, now and from the next login on.
        disable: commands that end that.
    """

    path: Path
    text: str
    encoding: str
    enable: tuple[str, ...]
    disable: tuple[str, ...]


def make_service(
    databases: Sequence[Path],
    endpoint: str | None = None,
    *,
    arguments: Sequence[str] = ("run",),
    platform: str = sys.platform,
    environ: Mapping[str, str] = os.environ,
    python: str = sys.executable,
) -> Service:
    """The service for this platform; nothing is written.

    Args:
        databases: the database files to upload; they need not exist yet.
        endpoint: the server, as `--endpoint`; None: the daemon's own default.
        arguments: what follows `python -m agentops_sync`, before `--db` and `--endpoint`.
        platform: as `sys.platform` has it.
        environ: where the user's folders are looked up.
        python: the interpreter that has agentops_sync installed.

    Raises:
        WrongUse: for a platform without services of a user, an endpoint that holds a password, or `--api-key`.
    """
    if endpoint is not None and "@" in urlsplit(endpoint).netloc:
        raise WrongUse("the endpoint holds a user name or password, which does not belong into a service file")
    if any(word.startswith("--api-key") for word in arguments):
        raise WrongUse("an API key does not belong into a service file: keep it with `agentops-sync login`")
    command = [os.path.abspath(python), "-m", "agentops_sync", *arguments]  # noqa: PTH100 - a link to it stays a link
    for database in databases:
        command += ["--db", str(database.absolute())]
    if endpoint is not None:
        command += ["--endpoint", endpoint]
    if any("\n" in word or "\0" in word for word in command):
        raise WrongUse("a path with a line break cannot be named in a service file: move the database")
    makers = {"linux": _systemd, "darwin": _launchd, "win32": _scheduler}
    if platform not in makers:
        raise WrongUse(f"no service is known for {platform}: have `{' '.join(command)}` started at login")
    return makers[platform](command, environ)


def install_service(
    databases: Sequence[Path],
    endpoint: str | None = None,
    *,
    arguments: Sequence[str] = ("run",),
    platform: str = sys.platform,
    environ: Mapping[str, str] = os.environ,
    python: str = sys.executable,
) -> tuple[list[Path], tuple[str, ...]]:
    """Writes the service file for the user who calls; an older one is replaced. Nothing is enabled.

    Args: as for `make_service`.

    Returns:
        The files that were written, and the commands that enable the service.

    Raises:
        WrongUse: as `make_service` does.
        OSError: if the file cannot be written.
    """
    service = make_service(databases, endpoint, arguments=arguments, platform=platform, environ=environ, python=python)
    make_folder(service.path.parent)
    # Whoever could write to it would have his commands run in the user's name, at every login.
    service.path.touch(mode=0o600)
    service.path.chmod(0o600)
    service.path.write_text(service.text, encoding=service.encoding)
    return [service.path], service.enable


# Platforms ---------------------------------------------------------------------------------------------------------


def _systemd(command: Sequence[str], environ: Mapping[str, str]) -> Service:
    configuration = environ.get("XDG_CONFIG_HOME", "")
    folder = Path(configuration) if os.path.isabs(configuration) else _home(environ) / ".config"  # noqa: PTH117
    name = f"{NAME}.service"
    return Service(
        folder / "systemd" / "user" / name,
        _filled(name, {"COMMAND": " ".join(map(_unit_word, command))}),
        "utf-8",
        (
            "systemctl --user daemon-reload",
            f"systemctl --user enable --now {name}",
            "loginctl enable-linger  # only if it is to run while you are not logged in",
        ),
        (f"systemctl --user disable --now {name}",),
    )


def _unit_word(word: str) -> str:
    """A word of ExecStart: systemd expands % and $ in it, and reads it as a shell would."""
    word = word.replace("%", "%%").replace("$", "$$")
    return (
        '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"' if _UNIT_SPECIAL.search(word) or not word else word
    )


def _launchd(command: Sequence[str], environ: Mapping[str, str]) -> Service:
    library = _home(environ) / "Library"
    path = library / "LaunchAgents" / f"{LABEL}.plist"
    values = {
        "LABEL": LABEL,
        "ARGUMENTS": "\n".join(f"        <string>{escape(word)}</string>" for word in command),
        "LOG": escape(str(library / "Logs" / f"{NAME}.log")),
    }
    return Service(
        path,
        _filled(f"{NAME}.plist", values),
        "utf-8",
        (f"launchctl bootstrap gui/$(id -u) '{path}'",),
        (f"launchctl bootout gui/$(id -u)/{LABEL}",),
    )


def _scheduler(command: Sequence[str], environ: Mapping[str, str]) -> Service:
    data = environ.get("LOCALAPPDATA")
    path = (Path(data) if data else _home(environ) / "AppData" / "Local") / "agentops-local" / f"{NAME}.xml"
    user = "\\".join(filter(None, (environ.get("USERDOMAIN"), environ.get("USERNAME"))))
    if not user:
        raise WrongUse("USERNAME is not set, and the Task Scheduler wants to know whose task it is: set it")
    values = {
        "USER": escape(user),
        "PROGRAM": escape(command[0]),
        "ARGUMENTS": escape(subprocess.list2cmdline(command[1:])),
    }
    return Service(
        path,
        _filled(f"{NAME}.xml", values),
        "utf-16",
        (f'schtasks /Create /TN {NAME} /XML "{path}" /F', f"schtasks /Run /TN {NAME}"),
        (f"schtasks /End /TN {NAME}", f"schtasks /Delete /TN {NAME} /F"),
    )


def _home(environ: Mapping[str, str]) -> Path:
    named = environ.get("USERPROFILE") if sys.platform == "win32" else environ.get("HOME")
    return Path(named) if named else Path.home()


def _filled(name: str, values: Mapping[str, str]) -> str:
    """A template with its values; in one pass, so that a value which looks like a hole stays what it is."""
    return _HOLE.sub(lambda hole: values[hole[1]], _template(name))


def _template(name: str) -> str:
    here = Path(__file__).parent
    for folder in (here / "services", here.parent / "services"):  # the wheel's; that of a checkout
        if (folder / name).is_file():
            return (folder / name).read_text(encoding="utf-8")
    raise WrongUse(f"the template {name} is missing: install agentops-local anew")
