"""A file as it is given: its bytes unpacked, and what kind of file it is."""

from __future__ import annotations

import gzip
import io
import os
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from agentops_local.errors import WrongUse

STDIN = "-"
_SQLITE = b"SQLite format 3\0"
_GZIP = b"\x1f\x8b"
_IN_USE = ("-wal", "-shm", "-journal", "-generation", ".lock")


class Given:
    """A file that is taken in.

    Attributes:
        name: as it was given.
        modified_us: when it was last changed; of stdin, now.
        size: in bytes; 0 where that is not known.
    """

    def __init__(self, place: str | os.PathLike[str]) -> None:
        self.name = os.fspath(place)
        self.path = None if self.name == STDIN else Path(self.name)
        self._kept: BinaryIO | None = None
        self._is_stream = True  # stdin, or a pipe: it can be read once
        self.modified_us, self.size = time.time_ns() // 1000, 0
        if self.path is not None:
            found = self.path.stat()
            self.modified_us, self.size = found.st_mtime_ns // 1000, found.st_size
            self._is_stream = not stat.S_ISREG(found.st_mode)

    def is_database(self) -> bool:
        """Whether it is one. A database that may be in use is known by what lies beside it: to open and close it would
        take away the locks of a connection that this process has to it."""
        if self.path is None:
            return False
        if self.path.is_dir():
            return True
        if self._is_stream:
            return False
        if any(os.path.lexists(f"{self.path}{suffix}") for suffix in _IN_USE):
            return True
        with self.path.open("rb") as stream:
            return stream.read(len(_SQLITE)) == _SQLITE

    def keep(self) -> None:
        """Lets it be read more than once; what can be read once only is put into a file without a name for that."""
        if self._is_stream and self._kept is None:
            with self._beneath() as stream:
                self._kept = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115 - closed by `close`
                while piece := stream.read(1 << 20):
                    self._kept.write(piece)

    def close(self) -> None:
        """Lets go of what was kept."""
        if self._kept is not None:
            self._kept.close()

    @contextmanager
    def opened(self) -> Iterator[tuple[BinaryIO, BinaryIO]]:
        """Its bytes, unpacked if need be; and the file beneath, whose position tells how far it is read."""
        with ExitStack() as stack:
            beneath = stack.enter_context(self._beneath())
            buffered = io.BufferedReader(cast("io.RawIOBase", _Raw(beneath)), 1 << 16)
            if buffered.peek(2)[:2] == _GZIP:
                yield cast("BinaryIO", stack.enter_context(gzip.GzipFile(fileobj=buffered))), beneath
            else:
                yield cast("BinaryIO", buffered), beneath

    @contextmanager
    def _beneath(self) -> Iterator[BinaryIO]:
        if self._kept is not None:
            self._kept.seek(0)
            yield self._kept
        elif self.path is None:
            yield sys.stdin.buffer
        else:
            with self.path.open("rb") as stream:
                yield stream


class _Raw(io.RawIOBase):
    """A stream that stays open when what reads it is closed."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]  # of any buffer
        piece = self._stream.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)


def unique(places: list[str]) -> list[str]:
    """The files that are named, stdin at most once.

    Raises:
        WrongUse: it is named twice.
    """
    if places.count(STDIN) > 1:
        raise WrongUse("stdin (-) can be read once: name it once")
    return places
