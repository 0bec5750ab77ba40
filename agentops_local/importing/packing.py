"""Some sessions of a database, or all, in a file of its own: to be carried elsewhere, and merged there.

A pack is a database like any other, so every command reads it. It holds what belongs to its sessions, what is known of
their uploads included, and nothing else: no API keys of a collector, no budgets, nothing of what was erased. Each
session is copied as of one moment, while programs record; the file gets its name when it is whole.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from agentops_local import process
from agentops_local.errors import WrongUse
from agentops_local.importing.merging import Into, Merged, bring
from agentops_local.importing.source import Source
from agentops_local.importing.target import Fresh
from agentops_local.recovery.digest import check, opened
from agentops_local.store.backup import put_in_place
from agentops_local.store.location import FILE, make_private

FOLDER = "packs"
_DAY = 86400  # seconds

Progress = Callable[[int, int], object]  # how many sessions are copied, of how many


@dataclass(frozen=True)
class Packed:
    """A pack that was made.

    Attributes:
        path: where it is.
        bytes: its size.
        sessions, events: in it.
    """

    path: Path
    bytes: int
    sessions: int
    events: int


def pack(
    db: Path, out: Path | None = None, sessions: Collection[str] | None = None, *, force: bool = False,
    progress: Progress = lambda *_: None,
) -> Packed:  # fmt: skip
    """Makes a pack, mode 0600.

    Args:
        db: the database.
        out: the file; None: one in the folder `packs` beside the database, named by host and time.
        sessions: ids of the sessions that go into it; None: all.
        force: whether it may take the place of a file.
        progress: told after each session how many are copied, of how many.

    Raises:
        WrongUse: there is a file of that name, or no folder for it; or there is nothing to pack.
        DatabaseUnusable: there is no such database.
        sqlite3.Error, OSError: it could not be made; then nothing is there.
    """
    with closing(Source(db)) as source:
        chosen = source.sessions() if sessions is None else list(dict.fromkeys(sessions))
        if not chosen:
            raise WrongUse(f"no session of {source.path} fits: there is nothing to pack")
        target = _place(source.path, out, force)
        folder = _workplace(target)
        try:
            made = folder / FILE
            found = _copy(source, made, chosen, progress)
            with opened(made) as copy:
                check(copy, "the pack")
            size = made.stat().st_size
            made.chmod(0o600)
            whole = target.with_name(f".{target.name}.packed-{os.getpid()}")
            made.rename(whole)  # out of its folder: `put_in_place` wants it beside its name
            try:
                put_in_place(whole, target, force)
            finally:
                whole.unlink(missing_ok=True)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return Packed(target, size, found.sessions, found.events)


def _copy(source: Source, made: Path, sessions: list[str], progress: Progress) -> Merged:
    found = Merged(files=1)
    with closing(Into(Fresh(made))) as into:
        for done, session in enumerate(sessions, 1):
            bring(source, session, into, found)
            progress(done, len(sessions))
        into.take_losses(source)
    return found


def _place(db: Path, out: Path | None, force: bool) -> Path:
    if out is None:
        folder = db.parent / FOLDER
        make_private(folder)
        host = re.sub(r"[^\w.-]+", "-", process.hostname())[:40] or "pack"
        out = folder / f"{host}-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}.db"
        while out.exists():
            out = out.with_name(f"{out.stem}+.db")
    if not out.parent.is_dir():
        raise WrongUse(f"there is no folder {out.parent}: make it first")
    if out.exists() and out.samefile(db):
        raise WrongUse(f"{out} is the database itself: name another file")
    if os.path.lexists(out) and (not force or out.is_dir()):
        raise WrongUse(f"{out} exists: name another file, or use --force")
    if any(os.path.lexists(f"{out}{suffix}") for suffix in ("-wal", "-shm", "-journal")):
        raise WrongUse(f"{out} is a database that may be in use: name another file")
    return out


def _workplace(target: Path) -> Path:
    """A folder that nobody else can look into; those of packings that were killed are removed."""
    for left in target.parent.glob(".*.packing-*"):
        if time.time() - left.stat().st_mtime > _DAY:
            shutil.rmtree(left, ignore_errors=True)
    folder = target.with_name(f".{target.name}.packing-{os.getpid()}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(0o700)
    return folder
