"""Files of other users, and processes that are not root."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Makes a path look as if it belonged to another user, neither us nor root."""
    if sys.platform == "win32":
        pytest.skip("there are no owners of files")
    really = os.geteuid()

    def give_away(path: Path) -> None:
        if really == 0:
            os.chown(path, 12345, -1, follow_symlinks=False)
        monkeypatch.setattr(os, "geteuid", lambda: 54321)

    return give_away


@pytest.fixture
def as_nobody() -> Iterator[Callable[[Callable[[Path], object]], str]]:
    """Runs a function, in a process that is not root, on a folder of its own; gives the repr of what it
    returned or raised.
    """
    if sys.platform == "win32":
        pytest.skip("there are no owners of files")
    folder = Path(tempfile.mkdtemp()).resolve()  # not tmp_path: that is below a folder which only we may enter

    def run(function: Callable[[Path], object]) -> str:
        reading, writing = os.pipe()
        if os.geteuid() == 0:
            os.chown(folder, 65534, 65534)
        if (pid := os.fork()) == 0:
            try:
                if os.geteuid() == 0:
                    os.setgid(65534)
                    os.setuid(65534)
                answer = repr(function(folder))
            except BaseException as error:  # noqa: BLE001 - it is the answer
                answer = repr(error)
            os.write(writing, answer.encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as text:
            answer = text.read()
        os.waitpid(pid, 0)
        return answer

    yield run
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            path.chmod(0o700)
    shutil.rmtree(folder)
