"""Where an export goes: a file that is there whole or not at all, a folder of them, a stream.

A file is written under another name beside its own and renamed when all of it is on the disk, so whoever finds the file
finds all of it. Its mode is 0600, for prompts hold secrets.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from agentops_local.errors import AgentOpsLocalError, WrongUse

_NAME = re.compile(r"[^0-9A-Za-z._-]")


class CannotWrite(AgentOpsLocalError):
    """The file cannot be written; nothing of it is there."""


@contextmanager
def writing(path: Path, force: bool = False) -> Iterator[BinaryIO]:
    """A file to be written. It appears at its name when the block ends without an error.

    Args:
        force: whether it may take the place of another.

    Raises:
        WrongUse: there is a file of this name.
        CannotWrite: the disk is full, the folder is not there or not ours, ...
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as stream:  # a pipe, a device: nothing is there to be replaced
            yield stream
        return
    _free(path, force)
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    except OSError as error:
        raise CannotWrite(f"{path} cannot be written ({error.strerror}): name another place with -o") from error
    try:
        with os.fdopen(descriptor, "wb", buffering=1 << 20) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        _free(path, force)  # somebody may have made it meanwhile
        draft.replace(path)
    except BaseException as error:
        with suppress(OSError):
            draft.unlink()
        if isinstance(error, OSError) and error.errno is not None and not isinstance(error, BrokenPipeError):
            raise CannotWrite(f"{path} could not be written ({error.strerror}); nothing of it is kept") from error
        raise


def file_name(session_id: str, suffix: str) -> str:
    """The file of a session in a folder."""
    return f"{_NAME.sub('_', session_id)}.{suffix}"


def _free(path: Path, force: bool) -> None:
    if not force and os.path.lexists(path):
        raise WrongUse(f"{path} is there already: --force replaces it, or name another file with -o")
