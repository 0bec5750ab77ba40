"""An export from beginning to end: which sessions, in which format, where to."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from agentops_local.analytics import filters
from agentops_local.analytics.filters import Filter
from agentops_local.analytics.reading import reading
from agentops_local.analytics.sessions import NoSuchSession, find_session
from agentops_local.errors import WrongUse, shown
from agentops_local.exporting import target
from agentops_local.exporting.choice import TABLES, Choice, Progress
from agentops_local.exporting.source import SessionHead, Source
from agentops_local.store.location import find_database

Sessions = str | Iterable[str] | Filter | None

# Each format: the module that writes it, and how its files end.
_FORMATS = {
    "v2": ("v2", "json"), "jsonl": ("jsonl", "jsonl"), "csv": ("spreadsheet", "csv"),
    "parquet": ("parquet", "parquet"), "html": ("page", "html"), "otlp": ("otlp", "json"),
}  # fmt: skip
FORMATS = tuple(_FORMATS)


@dataclass(frozen=True)
class Exported:
    """What was exported.

    Attributes:
        files: those that were written; none where it went to a stream.
    """

    sessions: int
    events: int
    files: tuple[Path, ...] = ()


class _Write(Protocol):
    def __call__(
        self, source: Source, sessions: Iterator[SessionHead], out: BinaryIO, choice: Choice, progress: Progress
    ) -> None: ...


def export(
    db: str | os.PathLike[str] | None,
    sessions: Sessions,
    format: str = "v2",
    out: str | os.PathLike[str] | BinaryIO = "export.json",
    *,
    table: str = "events",
    content: bool = True,
    each_message_once: bool = False,
    force: bool = False,
    heard: Callable[[int], None] | None = None,
) -> Exported:
    """Writes sessions for other programs or people. Memory stays flat however many there are, and no read stays open.

    Args:
        db: the database; None for that of the project around this folder.
        sessions: one by its id, the beginning of it, or `last`; several of these; those that a filter of
            `analytics.filters` picks; None for all.
        format: one of `FORMATS`.
        out: a file, which is there whole or not at all; a folder, which gets a file for each session; a binary stream.
        table: for csv and parquet one of events, llms, tools, actions, errors, sessions.
        content: False leaves out what the program said, heard and handed over: ids, times, names and numbers stay.
        each_message_once: for jsonl: messages stand apart, so that a long conversation is not repeated in each call.
        force: whether a file may take the place of another.
        heard: called now and then with the number of events written.

    Raises:
        WrongUse: an unknown format or table, an ambiguous session, a file that is there already.
        NoSuchSession: a session that is named is not there.
        DatabaseUnusable: the database cannot be read.
        CannotWrite: the file cannot be written.
    """
    choice = _choice(format, sessions, table, content, each_message_once)
    progress = Progress(heard=heard)
    write, suffix = _format(format)
    with reading(find_database(db)) as connection:
        source = Source(connection)
        heads = _heads(source, _seqs(connection, sessions), progress)
        if not isinstance(out, (str, os.PathLike)):
            write(source, heads, out, choice, progress)
            return Exported(progress.sessions, progress.events)
        path = Path(out)
        if path.is_dir() or str(out).endswith(("/", os.sep)):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            files = tuple(_each(source, heads, path, (write, suffix), replace(choice, single=True), progress, force))
        else:
            with target.writing(path, force) as stream:
                write(source, heads, stream, choice, progress)
            files = (path,)
        return Exported(progress.sessions, progress.events, files)


def _each(
    source: Source, heads: Iterator[SessionHead], folder: Path, how: tuple[_Write, str], choice: Choice,
    progress: Progress, force: bool,
) -> Iterator[Path]:  # fmt: skip
    write, suffix = how
    for head in heads:
        path = folder / target.file_name(head.id, suffix)
        with target.writing(path, force) as stream:
            write(source, iter([head]), stream, choice, progress)
        yield path


def _choice(format: str, sessions: Sessions, table: str, content: bool, once: bool) -> Choice:
    if format not in _FORMATS:
        raise WrongUse(f"format must be one of {', '.join(FORMATS)}, not {shown(format)}")
    if table not in TABLES:
        raise WrongUse(f"table must be one of {', '.join(TABLES)}, not {shown(table)}")
    if table != "events" and format not in ("csv", "parquet"):
        raise WrongUse(f"{format} has no tables: csv and parquet have")
    if once and format != "jsonl":
        raise WrongUse(f"{format} cannot tell each message once: jsonl can, and html always does")
    return Choice(isinstance(sessions, str), content, table, once)


def _format(name: str) -> tuple[_Write, str]:
    module, suffix = _FORMATS[name]
    return cast("_Write", import_module(f"agentops_local.exporting.{module}").write), suffix


def _seqs(connection: sqlite3.Connection, sessions: Sessions) -> Iterator[int]:
    """The rows of the sessions that are meant. Those that are named are looked up before anything is written."""
    if sessions is None or isinstance(sessions, Filter):
        return filters.sessions(connection, sessions or Filter())
    source = Source(connection)
    found: list[int] = []
    for name in [sessions] if isinstance(sessions, str) else sessions:
        session_id = find_session(connection, name)
        seq = None if session_id is None else source.seq(session_id)
        if seq is None:
            raise NoSuchSession(f"there is no session {name!r}: `agentops-local sessions` lists them")
        if seq not in found:
            found.append(seq)
    return iter(found)


def _heads(source: Source, seqs: Iterator[int], progress: Progress) -> Iterator[SessionHead]:
    for seq in seqs:
        head = source.session(seq)
        if head is not None:  # erased in between
            progress.sessions += 1
            yield head
