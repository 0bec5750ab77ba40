"""API keys, kept for the daemon: a program tells `init(api_key=...)`, and the daemon, another process, uploads later.

The database holds the hash of a key only. The keys themselves lie in one file of the user's, 0600 in a folder of 0700:

    # Keys of agentops-local. Whoever can read this file can upload in your name.
    2b4ef3a1-6c5e-4a52-8a0f-0d9a3c7f1e11 default
    7d1f0c52-0b1e-4d0e-9a55-6f0a2f7f3b10

A key a line; `default` marks the one for recordings that were made without a key; what follows a `#` is a comment. It
is `credentials` in the folder `agentops-local` of the user's configuration: XDG_CONFIG_HOME or ~/.config, on macOS
~/Library/Application Support, on Windows %LOCALAPPDATA%. AGENTOPS_LOCAL_CREDENTIALS names another file.

This part runs in the recorded program, so it loads nothing of a third party and parses nothing but lines.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from uuid import UUID

from agentops_local.errors import AgentOpsLocalError, WrongUse
from agentops_local.log import logger

VARIABLE = "AGENTOPS_LOCAL_CREDENTIALS"
SAVE_VARIABLE = "AGENTOPS_LOCAL_SAVE_KEY"

_HEAD = "# Keys of agentops-local. Whoever can read this file can upload in your name.\n"
_DEFAULT = "default"
_PATIENCE = 2.0  # seconds; whoever holds the lock writes a few lines
_IN_HOME = {"win32": "AppData/Local", "darwin": "Library/Application Support"}  # else the XDG one


class WrongCredentials(AgentOpsLocalError):
    """The file of keys cannot be used; the message names it and the remedy, and never shows a key."""


def credentials_file(environ: Mapping[str, str] = os.environ) -> Path:
    """The absolute path of the file of keys, links followed; nothing is made.

    Raises:
        WrongCredentials: if the user has no home directory.
    """
    named = environ.get(VARIABLE)
    try:
        path = Path(named).expanduser() if named else _folder(environ) / "agentops-local" / "credentials"
        return path.resolve()
    except (OSError, RuntimeError) as error:
        raise WrongCredentials(f"there is no place for API keys ({error}): name a file with {VARIABLE}") from error


def read_keys(file: Path) -> list[tuple[str, bool]]:
    """The keys in a file, as UUID text, and whether each is marked as the default one; none if there is no file.

    Raises:
        WrongCredentials: if others can read it (not on Windows), if it belongs to another user, or if a line is no key.
    """
    return [
        (key, is_default)
        for number, line in enumerate(_lines(file), 1)
        if (words := _words(line))
        for key, is_default in (_entry(words, f"{file}, line {number}"),)
    ]


def save_key(key: str, default: bool = False, environ: Mapping[str, str] = os.environ) -> bool:
    """Keeps a key, beside those that are there; the file is replaced as a whole, so no reader sees half of it.

    Args:
        key: a UUID in any spelling.
        default: mark it as the one for recordings that were made without a key, instead of the one that is.

    Returns:
        Whether anything changed.

    Raises:
        WrongUse: if it is no UUID.
        WrongCredentials: as `read_keys` does, or if the file is being written by another process for too long.
        OSError: if it cannot be written.
    """
    wanted = _uuid(key)
    if wanted is None:
        raise WrongUse("an API key is a UUID, such as the project's settings on the server show it")
    file = credentials_file(environ)
    make_folder(file.parent)
    with _locked(file.with_name(f"{file.name}.lock")):
        held = dict(read_keys(file))
        if wanted in held and held[wanted] >= default:
            return False
        lines = [line for line in map(str.rstrip, _lines(file)) if not _is_of(line, wanted)]
        if default:
            lines = [_unmarked(line) for line in lines]
        lines.append(f"{wanted} {_DEFAULT}" if default else wanted)
        _replace(file, ("" if held or len(lines) > 1 else _HEAD) + "\n".join(lines) + "\n")
    return True


def remember_key(key: str | None, environ: Mapping[str, str] = os.environ) -> None:
    """Keeps a key that a program has given, unless it is kept already, comes from the environment (which the daemon
    reads itself), is no UUID, or AGENTOPS_LOCAL_SAVE_KEY=0 forbids it. What goes wrong is told in the log only."""
    wanted = _uuid(key)
    given = {_uuid(environ.get(name)) for name in ("AGENTOPS_API_KEY", "AGENTOPS_PARENT_KEY")}
    if wanted is None or wanted in given or environ.get(SAVE_VARIABLE, "").lower() in ("0", "false", "no"):
        return
    try:
        if all(wanted != known for known, _ in read_keys(credentials_file(environ))):
            save_key(wanted, environ=environ)
    except (OSError, AgentOpsLocalError) as error:
        logger.warning("agentops_local: the API key is not kept for the upload: %s", error)


# The text ----------------------------------------------------------------------------------------------------------


def _words(line: str) -> list[str]:
    return line.partition("#")[0].split()


def _entry(words: list[str], place: str) -> tuple[str, bool]:
    key = _uuid(words[0])
    if key is None or words[1:] not in ([], [_DEFAULT]):
        raise WrongCredentials(f"{place} is no API key: write the key (a UUID), and '{_DEFAULT}' behind one of them")
    return key, len(words) > 1


def _is_of(line: str, key: str) -> bool:
    words = _words(line)
    return bool(words) and _uuid(words[0]) == key


def _unmarked(line: str) -> str:
    words, (_, mark, comment) = _words(line), line.partition("#")
    return words[0] + (f" {mark}{comment}" if mark else "") if words[1:] == [_DEFAULT] else line


def _uuid(text: object) -> str | None:
    try:
        return str(UUID(str(text)))
    except ValueError:
        return None


# The file ----------------------------------------------------------------------------------------------------------


def _folder(environ: Mapping[str, str]) -> Path:
    # A relative one is ignored, as XDG has it: it would mean another folder in every working directory.
    chosen = Path(environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CONFIG_HOME", ""))
    if chosen.is_absolute() and sys.platform != "darwin":
        return chosen
    named = environ.get("USERPROFILE" if sys.platform == "win32" else "HOME")
    return (Path(named) if named else Path.home()) / _IN_HOME.get(sys.platform, ".config")


def _lines(file: Path) -> list[str]:
    """The lines of the file, if it may be trusted; looked at through the open file, which nobody can exchange."""
    try:
        stream = file.open(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise WrongCredentials(f"{file} cannot be read ({error.strerror}): make it yours, or remove it") from error
    with stream:
        if sys.platform != "win32":
            info = os.fstat(stream.fileno())
            if info.st_uid not in (0, os.geteuid()):
                raise WrongCredentials(f"{file} belongs to another user: remove it, or name another with {VARIABLE}")
            if stat.S_IMODE(info.st_mode) & 0o077:
                raise WrongCredentials(f"{file} can be read by others: chmod 600 '{file}', and have the keys replaced")
        return stream.read().splitlines()


def make_folder(folder: Path) -> None:
    """Makes a folder of the user's configuration and those above it, 0700, unless they are there."""
    if not folder.is_dir():
        if folder.parent != folder:
            make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def _replace(file: Path, text: str) -> None:
    temporary = file.with_name(f"{file.name}.{os.getpid()}.new")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()  # of a process that died here, with our number
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())  # else a power cut may leave the new name with nothing in it
        temporary.replace(file)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """An exclusive lock between processes, gone with its holder. It stays in the folder: to remove a lock file lets two
    hold it at once."""
    # Never through a link: in a folder of many users it would have us make a file, or lock one, anywhere.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        until = time.monotonic() + _PATIENCE
        while not _try(descriptor):
            if time.monotonic() > until:
                raise WrongCredentials(f"{path} has been held by another process for {_PATIENCE:.0f} s: end it")
            time.sleep(0.005)
        yield
    finally:
        os.close(descriptor)  # and with it the lock


if sys.platform == "win32":
    import msvcrt

    def _try(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _try(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
