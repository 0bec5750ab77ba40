"""A run under strace, as operations.

Their order is the one in which strace saw the calls end. A process goes on only after strace has seen its call, so
what one process did because of another comes later here, too. A sync covers what had ended when it began; an
acknowledgement counts from the moment it began.

Not seen: writes through a memory map. SQLite has one, of its index of the WAL (`-shm`), which is made anew after a cut;
any other map of a file that can be written, and all calls that are not modelled, end the simulation with `Unmodelled`
instead of leaving something out. Calls of `read` are not followed, so a plain `write` is refused on a descriptor that
may have been read from.
"""

from __future__ import annotations

import os
import posixpath
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.reliability.tools.powercut.operations import ROOT, Name, Operation, Resize, Run, Said, Sync, Write, files_of

_LINE = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\d+)(?:<((?:\\x[0-9a-f]{2})*)>)?")
_BEGUN = re.compile(r"(\d+) +(\w+)\((.*?) *<unfinished \.\.\.>$")
_RESUMED = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>(.*)$")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_DESCRIPTOR = re.compile(r"(?:(-?\d+)|AT_FDCWD)<((?:\\x[0-9a-f]{2})*)>")

_LINKING = ("link", "linkat", "symlink", "symlinkat")
_REFUSED = ("pwritev", "pwritev2", "sendfile", "copy_file_range", "splice", *_LINKING)
_SENDING = ("sendto", "sendmsg")
_SYNCING = ("fsync", "fdatasync")


class Unmodelled(Exception):
    """The program did something to its files that the model does not know."""


def can_trace() -> str | None:
    """Why no run can be traced here, or None."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    done = subprocess.run(["strace", "-f", "-e", "trace=none", "true"], capture_output=True, text=True)
    return None if done.returncode == 0 else f"tracing is forbidden here: {done.stderr.strip()[:100]}"


def record(
    command: Sequence[str],
    folder: Path,
    env: Mapping[str, str] | None = None,
    timeout: float = 60,
    inject: str | None = None,
) -> Run:
    """Runs a command and records what it, and all that it starts, does to a folder.

    Args:
        inject: calls that fail, as strace has it: `fdatasync:error=EIO:when=9+7`.

    Raises:
        Unmodelled: it did something that the model does not know.
    """
    folder = folder.resolve()
    before = files_of(folder)
    with tempfile.TemporaryDirectory() as room:
        log = Path(room, "trace")
        calls = ",".join((*_Reader.calls(), *_REFUSED))
        strace = ["strace", "-f", "--seccomp-bpf", "-y", "-xx", "-s", str(1 << 28), "-e", "signal=none"]
        strace += ["-e", f"inject={inject}"] if inject else []
        done = subprocess.run(
            [*strace, "-e", f"trace={calls}", "-o", str(log), *command],
            env=env, capture_output=True, text=True, errors="replace", timeout=timeout,
        )  # fmt: skip
        if not log.exists():
            raise Unmodelled(f"strace did not begin: {done.stderr}")
        reader = _Reader(folder, before)
        with log.open(encoding="ascii") as lines:
            for call in _calls(lines, reader):
                reader.take(call)
    return Run(before, reader.operations, done.returncode, done.stderr)


# The log ------------------------------------------------------------------------------------------------------------


class _Call(NamedTuple):
    """A system call that did not fail, or a sync; `begun` is how many operations there were when it began."""

    task: int
    name: str
    arguments: str
    result: int
    path: str  # of the descriptor that it returned
    begun: int

    @property
    def texts(self) -> list[bytes]:
        return [_bytes(text) for text in _TEXT.findall(self.arguments)]

    @property
    def numbers(self) -> list[str]:
        """The arguments, where none has a comma of its own."""
        return [part.strip() for part in self.arguments.split(",")]

    @property
    def descriptor(self) -> tuple[int, str]:
        """The first descriptor among the arguments: its number and the path behind it."""
        found = _DESCRIPTOR.search(self.arguments)
        return (-1, "") if found is None else (int(found[1] or -1), os.fsdecode(_bytes(found[2])))

    @property
    def descriptors(self) -> list[str]:
        """The paths behind all of them."""
        return [os.fsdecode(_bytes(found[2])) for found in _DESCRIPTOR.finditer(self.arguments)]


def _calls(lines: Iterator[str] | Sequence[str], reader: _Reader) -> Iterator[_Call]:
    """The calls in the order of their ends."""
    open_calls: dict[str, tuple[str, int]] = {}
    for raw in lines:
        line = raw.rstrip("\n")
        begun = len(reader.operations)
        if half := _BEGUN.match(line):
            open_calls[half[1]] = (half[3], begun)
            if half[2] in _Reader.SPEAKING:  # what is said counts from here on, and is taken once
                yield _Call(int(half[1]), half[2], half[3], 1 << 30, "", begun)
            continue
        if rest := _RESUMED.match(line):
            first, begun = open_calls.pop(rest[1], ("", begun))
            line = f"{rest[1]} {rest[2]}({first}{rest[3]}"
            if rest[2] in _Reader.SPEAKING and reader.speaks(first):
                continue
        whole = _LINE.match(line)
        if whole and (int(whole[4]) >= 0 or whole[2] in _SYNCING):
            path = os.fsdecode(_bytes(whole[5] or ""))
            yield _Call(int(whole[1]), whole[2], whole[3], int(whole[4]), path, begun)


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


# The folder ---------------------------------------------------------------------------------------------------------


class _Opened:
    """An open file: what descriptors that were duplicated or inherited share."""

    def __init__(self, node: int, append: bool, offset: int | None) -> None:
        self.node = node
        self.append = append
        self.offset = offset  # None: it may have been moved by a read


class _Reader:
    """Turns calls into operations."""

    SPEAKING = ("write", "writev", *_SENDING)

    def __init__(self, folder: Path, before: Mapping[str, bytes | None]) -> None:
        self.operations: list[Operation] = []
        self._folder = str(folder)
        self._names: dict[str, int] = {self._folder: ROOT}  # what is there now, by its path
        self._removed: dict[str, int] = {}
        self._sizes: dict[int, int] = {ROOT: 0}
        self._tables: dict[int, dict[int, _Opened]] = {}
        self._cwd: dict[int, str] = {}
        for path, content in before.items():
            self._names[posixpath.join(self._folder, path)] = len(self._sizes)
            self._sizes[len(self._sizes)] = len(content or b"")

    @classmethod
    def calls(cls) -> list[str]:
        """The names of the calls that are understood."""
        return [name.removeprefix("_on_") for name in vars(cls) if name.startswith("_on_")]

    def take(self, call: _Call) -> None:
        """Takes what a call did."""
        act: Callable[[_Call], None] | None = getattr(self, f"_on_{call.name}", None)
        if act is not None:
            act(call)
        elif any(map(self._is_ours, call.descriptors)) or any(
            self._is_ours(self._path(call, text)) for text in call.texts if call.name in _LINKING
        ):
            raise Unmodelled(f"{call.name}({call.arguments[:200]})")

    def speaks(self, arguments: str) -> bool:
        """Whether the descriptor of a call is standard output or a socket."""
        number, path = _Call(0, "", arguments, 0, "", 0).descriptor
        return not self._is_ours(path) and (number == 1 or path.startswith("socket:"))

    def _is_ours(self, path: str) -> bool:
        return path == self._folder or path.startswith(self._folder + "/")

    def _path(self, call: _Call, text: bytes, folder: str = "") -> str:
        base = folder or self._cwd.get(call.task) or str(Path.cwd())
        return posixpath.normpath(posixpath.join(base, os.fsdecode(text)))

    def _opened(self, call: _Call) -> _Opened | None:
        """The open file that a call is about, if it is one of the folder."""
        number, path = call.descriptor
        if not self._is_ours(path):
            return None
        found = self._tables.setdefault(call.task, {}).get(number)
        if found is None:  # duplicated or inherited in a way that was not seen
            node = self._names.get(path, self._removed.get(path, -1))
            if node < 0:
                raise Unmodelled(f"{call.name}: nobody has opened {path}")
            found = _Opened(node, False, None)
        return found

    # Descriptors ------------------------------------------------------------------------------------------------------

    def _on_open(self, call: _Call) -> None:
        table = self._tables.setdefault(call.task, {})
        table.pop(call.result, None)
        path = call.path
        if not self._is_ours(path):
            return
        node = self._names.get(path)
        if node is None:
            if "O_CREAT" not in call.arguments and call.name != "creat":
                raise Unmodelled(f"{path} was made by somebody who was not traced")
            node = self._make(path)
        elif "O_TRUNC" in call.arguments and self._sizes[node]:
            self._resize(node, 0)
        if re.search(r"\bO_D?SYNC\b|O_TMPFILE", call.arguments):
            raise Unmodelled(f"open with {call.arguments[-80:]}")
        offset = None if "O_RDWR" in call.arguments and self._sizes[node] else 0
        table[call.result] = _Opened(node, "O_APPEND" in call.arguments, offset)

    _on_openat = _on_openat2 = _on_creat = _on_open

    def _on_close(self, call: _Call) -> None:
        self._tables.setdefault(call.task, {}).pop(call.descriptor[0], None)

    def _on_dup(self, call: _Call) -> None:
        opened = self._opened(call)
        table = self._tables.setdefault(call.task, {})
        if opened is None:
            table.pop(call.result, None)
        else:
            table[call.result] = opened

    _on_dup2 = _on_dup3 = _on_dup

    def _on_clone(self, call: _Call) -> None:
        mine = self._tables.setdefault(call.task, {})
        early = self._tables.get(call.result, {})  # what the child did before its parent had returned
        if "CLONE_FILES" in call.arguments:
            mine.update(early)
            self._tables[call.result] = mine
        else:
            self._tables[call.result] = {**mine, **early}
        self._cwd.setdefault(call.result, self._cwd.get(call.task, str(Path.cwd())))

    _on_clone3 = _on_fork = _on_vfork = _on_clone

    def _on_chdir(self, call: _Call) -> None:
        self._cwd[call.task] = self._path(call, call.texts[0])

    def _on_lseek(self, call: _Call) -> None:
        opened = self._opened(call)
        if opened is not None:
            opened.offset = call.result

    # Contents ---------------------------------------------------------------------------------------------------------

    def _on_write(self, call: _Call) -> None:
        if self.speaks(call.arguments):
            text = b"".join(call.texts).decode(errors="replace")
            self.operations.append(Said(text, call.descriptor[1].startswith("socket:")))
            return
        opened = self._opened(call)
        if opened is None or call.result == 1 << 30:  # only begun
            return
        offset = self._sizes[opened.node] if opened.append else opened.offset
        if offset is None:
            raise Unmodelled("a plain write to a descriptor that may have been read from")
        self._put(opened.node, offset, b"".join(call.texts)[: call.result])
        opened.offset = offset + call.result

    _on_writev = _on_sendto = _on_sendmsg = _on_write

    def _on_pwrite64(self, call: _Call) -> None:
        opened = self._opened(call)
        if opened is not None:
            self._put(opened.node, int(call.numbers[-1]), call.texts[0][: call.result])

    def _put(self, node: int, offset: int, data: bytes) -> None:
        self._sizes[node] = max(self._sizes[node], offset + len(data))
        self.operations.append(Write(node, offset, data))

    def _resize(self, node: int, size: int) -> None:
        self._sizes[node] = size
        self.operations.append(Resize(node, size))

    def _on_ftruncate(self, call: _Call) -> None:
        opened = self._opened(call)
        if opened is not None:
            self._resize(opened.node, int(call.numbers[-1]))

    def _on_truncate(self, call: _Call) -> None:
        path = self._path(call, call.texts[0])
        if self._is_ours(path):
            self._resize(self._names[path], int(call.numbers[-1]))

    def _on_fallocate(self, call: _Call) -> None:
        opened = self._opened(call)
        if opened is None:
            return
        _, mode, offset, length = call.numbers
        if mode != "0":
            raise Unmodelled(f"fallocate with {mode}")
        self._resize(opened.node, max(self._sizes[opened.node], int(offset) + int(length)))

    def _on_fsync(self, call: _Call) -> None:
        opened = self._opened(call)
        if opened is not None:
            self.operations.append(Sync(opened.node, call.begun, call.result < 0))

    _on_fdatasync = _on_fsync

    def _on_sync(self, call: _Call) -> None:
        for node in self._sizes:
            self.operations.append(Sync(node, call.begun))

    _on_syncfs = _on_sync

    def _on_mmap(self, call: _Call) -> None:
        path = call.descriptor[1]
        written = "PROT_WRITE" in call.arguments and "MAP_SHARED" in call.arguments
        if written and self._is_ours(path) and not path.endswith("-shm"):
            raise Unmodelled(f"a map of {path} that can be written")

    # Names ------------------------------------------------------------------------------------------------------------

    def _at(self, call: _Call, which: int = 0) -> str:
        """The path that a call names; relative to the folder behind a descriptor where there is one."""
        folders = call.descriptors if call.name.endswith(("at", "at2")) else []
        return self._path(call, call.texts[which], folders[which] if folders else "")

    def _make(self, path: str, is_folder: bool = False) -> int:
        node = len(self._sizes)
        self._sizes[node] = 0
        self._names[path] = node
        folder, name = posixpath.split(path)
        self.operations.append(Name(self._names[folder], name, node, None, is_folder))
        return node

    def _on_mkdir(self, call: _Call) -> None:
        path = self._at(call)
        if self._is_ours(path) and path != self._folder:
            self._make(path, is_folder=True)

    _on_mkdirat = _on_mkdir

    def _on_mknod(self, call: _Call) -> None:
        path = self._at(call)
        if self._is_ours(path):
            self._make(path)

    _on_mknodat = _on_mknod

    def _on_unlink(self, call: _Call) -> None:
        path = self._at(call)
        if self._is_ours(path):
            self._removed[path] = self._names.pop(path)
            folder, name = posixpath.split(path)
            self.operations.append(Name(self._names[folder], None, -1, name))

    _on_unlinkat = _on_rmdir = _on_unlink

    def _on_rename(self, call: _Call) -> None:
        old, new = self._at(call, 0), self._at(call, 1)
        if not self._is_ours(old) and not self._is_ours(new):
            return
        folder, name = posixpath.split(new)
        if posixpath.dirname(old) != folder or "RENAME_EXCHANGE" in call.arguments:
            raise Unmodelled(f"a rename from {old} to {new}")
        for path in [path for path in self._names if path == old or path.startswith(old + "/")]:
            self._names[new + path[len(old) :]] = self._names.pop(path)
        self.operations.append(Name(self._names[folder], name, self._names[new], posixpath.basename(old)))

    _on_renameat = _on_renameat2 = _on_rename
