"""Rights of files, and where a database lies in its project."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

posix_only = pytest.mark.skipif(os.name != "posix", reason="there are no modes and owners of files")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux makes a file without opening it")

BESIDE = Path(".agentops", "agentops.db")


def mode(path: Path) -> int:
    """The rights of a file or folder."""
    return stat.S_IMODE(path.stat().st_mode)


@contextmanager
def umask(value: int) -> Iterator[None]:
    """Another umask for a while."""
    before = os.umask(value)
    try:
        yield
    finally:
        os.umask(before)
