"""Files of other programs, taken in as if what they tell had been recorded here.

A file is read a session at a time, and each session is written in one transaction. What cannot be taken in is told by
its place and left out; a session of which something is left out counts as partial, and is never told as whole. With
`strict` the whole file is read once before anything of it is written.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from agentops_local.errors import AgentOpsLocalError, WrongUse
from agentops_local.importing import chat, lines, otlp, v2
from agentops_local.importing.chat import Manner
from agentops_local.importing.merging import Dry, Into, Merged, bring
from agentops_local.importing.opening import Given, unique
from agentops_local.importing.parsing import Bad, Found, Item, values
from agentops_local.importing.source import Source
from agentops_local.importing.target import Target
from agentops_local.importing.told import Told

FORMATS = ("auto", "v2", "jsonl", "chat", "otlp", "db")
_KNOWN_BY: dict[str, Callable[[object], bool]] = {
    "jsonl": lines.is_one, "otlp": otlp.is_one, "v2": v2.is_one, "chat": chat.is_one,
}  # fmt: skip
_UNKNOWN = (
    "the file is of no format that is known: neither a session of v2, nor our JSON Lines, runs of chat messages or "
    "OTLP traces begin so. If it is one of them, say which with --format"
)
_MOST_TOLD = 1000  # of what is wrong, so much is remembered by its place

Progress = Callable[[str, int, int], object]  # which file, how many bytes are read, of how many


class Refused(AgentOpsLocalError):
    """A file was not taken in, for something in it is wrong."""


@dataclass
class TakenIn(Merged):
    """What files have brought, or would bring.

    Attributes:
        skipped: how many rows, lines or runs could not be taken in.
        wrong: the first of them: the file, the place in it, the reason.
        partial: the ids of sessions of which something was left out.
    """

    skipped: int = 0
    wrong: list[tuple[str, str, str]] = field(default_factory=list)
    partial: list[str] = field(default_factory=list)

    def skip(self, file: str, bad: Bad) -> None:
        """Counts what could not be taken in."""
        self.skipped += 1
        if len(self.wrong) < _MOST_TOLD:
            self.wrong.append((file, *bad))


def take_in(
    db: str | os.PathLike[str], files: Iterable[str | os.PathLike[str]], *, form: str = "auto", strict: bool = False,
    dry_run: bool = False, manner: Manner | None = None, progress: Progress = lambda *_: None,
) -> TakenIn:  # fmt: skip
    """Takes in what files tell. Once or often is the same.

    Args:
        db: the database; it is made if it is not there.
        files: their paths; "-" is stdin. Compressed with gzip or not.
        form: one of `FORMATS`; "auto" finds it out for each.
        strict: whether a file in which anything is wrong is refused; then nothing of any is written.
        dry_run: only looks, and writes nothing.
        manner: how runs of chat messages are understood.
        progress: told after each session how much of a file is read.

    Raises:
        WrongUse: there is no such format, or stdin is named twice.
        Refused: with `strict`, something in a file is wrong.
        DatabaseUnusable: a database cannot be read.
        StoreFault, sqlite3.Error, OSError: a file cannot be read, or ours cannot be written.
    """
    if form not in FORMATS:
        raise WrongUse(f"format must be one of {', '.join(FORMATS)}, not {form!r}")
    found = TakenIn()
    path = Path(db)
    with ExitStack() as stack:
        given = [stack.enter_context(closing(Given(file))) for file in unique([os.fspath(file) for file in files])]
        todo = [file if form == "db" or (form == "auto" and file.is_database()) else
                _File(file, form, manner or Manner(), progress) for file in given]  # fmt: skip
        for one in todo if strict else ():
            if isinstance(one, _File):
                one.refuse()
        into = stack.enter_context(closing(Dry(path) if dry_run else Into(Target(path))))
        for one in todo:
            found.files += 1
            if isinstance(one, _File):
                one.take(into, found)
            else:
                _merge(one, path, into, found)
    return found


def _merge(file: Given, path: Path, into: Into | Dry, found: TakenIn) -> None:
    if file.path is None:
        raise WrongUse("a database cannot be read from stdin: name its file")
    with closing(Source(file.path, path)) as source:
        for session in source.sessions():
            bring(source, session, into, found)
        into.take_losses(source)


class _File:
    """A file that tells of sessions."""

    def __init__(self, given: Given, form: str, manner: Manner, progress: Progress) -> None:
        self._given = given
        self._form = form
        self._manner = manner
        self._progress = progress

    def take(self, into: Into | Dry, found: TakenIn) -> None:
        """Takes in what it tells."""
        for one in self._told():
            if isinstance(one, Bad):
                found.skip(self._given.name, one)
                continue
            for bad in one.wrong:
                found.skip(self._given.name, bad)
            if one.wrong:
                found.partial.append(one.session.id)
            found.sessions += 1
            into.write(one.session, one.events, found)

    def refuse(self) -> None:
        """Raises Refused if anything is wrong in it."""
        self._given.keep()
        wrong = TakenIn()
        for one in self._told():
            for bad in (one,) if isinstance(one, Bad) else one.wrong:
                wrong.skip(self._given.name, bad)
        if wrong.skipped:
            _, place, reason = wrong.wrong[0]
            more = f"; and {wrong.skipped - 1:,} more" if wrong.skipped > 1 else ""
            raise Refused(f"nothing was taken in: {self._given.name}, {place}: {reason}{more}")

    def _told(self) -> Iterator[Told]:
        with self._given.opened() as (stream, beneath):
            for one in self._read(stream):
                yield one
                self._progress(self._given.name, _position(beneath), self._given.size)

    def _read(self, stream: BinaryIO) -> Iterator[Told]:
        every = values(stream)
        begun: list[Found] = []
        form = self._form
        for one in every if form == "auto" else ():
            begun.append(one)
            if isinstance(one, Item):
                form = next((name for name, is_one in _KNOWN_BY.items() if is_one(one.value)), form)
                break
        found = chain(begun, every)
        if form == "auto":
            return (one if isinstance(one, Bad) else Bad(one.place, _UNKNOWN) for one in begun)
        if form == "chat":
            return chat.read(found, self._manner, self._given.modified_us)
        return _READERS[form](found)


_READERS: dict[str, Callable[[Iterator[Found]], Iterator[Told]]] = {
    "v2": v2.read, "jsonl": lines.read, "otlp": otlp.read,
}  # fmt: skip


def _position(stream: BinaryIO) -> int:
    try:
        return stream.tell()
    except OSError:  # a pipe
        return 0
