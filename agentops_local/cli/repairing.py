"""`agentops-local doctor --repair`: a bar while it works; afterwards, in words, what was found, salvaged and lost."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agentops_local.cli.common import print_json, screen_width, styled
from agentops_local.cli.text import counted, many, wrap
from agentops_local.figures import size
from agentops_local.recovery.repair import Repair, Repaired
from agentops_local.recovery.salvage import Salvaged

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

Line = tuple[str, str, str]  # mark, colour, text

_NAMED = 5  # of what is lost, so many are named; `--json` names more
_NAMES = {"blobs": "long texts", "owners": "programs", "deliveries": "uploaded sessions", "uploads": "uploaded events"}
_TABLES = (
    "sessions",
    "events",
    "messages",
    "blobs",
    "agents",
    "environments",
    "losses",
    "scores",
    "uploads",
    "api_keys",
)
_STANDINS = {
    "sessions": "session rows",
    "owners": "programs",
    "agents": "event agents",
    "environments": "host environments",
    "prices": "prices of calls",
    "messages": "prompt parts",
    "blobs": "long texts",
}


class _Bar:
    """Shows how far a repair is, on a terminal."""

    def __init__(self, shown: ExitStack) -> None:
        self._shown = shown
        self._what = ""
        self._bar: ProgressBar[int] | None = None
        self._at = 0

    def tell(self, what: str, done: int, total: int) -> None:
        """Takes a step."""
        if what != self._what:
            self._shown.close()
            bar = click.progressbar(length=total, label=what, file=sys.stderr, hidden=not sys.stderr.isatty(), width=20)
            self._bar = self._shown.enter_context(bar)
            self._what, self._at = what, 0
        if self._bar is not None:
            self._bar.update(done - self._at)
            self._at = done


def repair(path: Path, as_json: bool) -> int:
    """Repairs a database and tells of it; the exit code."""
    with ExitStack() as shown:
        try:
            done = Repair(path, _Bar(shown).tell).run()
        except KeyboardInterrupt:
            raise click.ClickException("interrupted: what was not done yet is as it was") from None
    if as_json:
        print_json(asdict(done))
    else:
        for mark, colour, text in _told(path, done):
            first, *others = wrap(text, screen_width(), " " * 6, f"{mark:<6}")
            click.echo("\n".join([styled(mark, fg=colour) + first[len(mark) :], *others]))
    return int(bool(done.failed))


def _done(text: str) -> Line:
    return "done", "green", text


def _note(text: str) -> Line:
    return "note", "yellow", text


def _lost(text: str) -> Line:
    return "lost", "red", text


def _told(path: Path, done: Repaired) -> Iterator[Line]:
    if done.damage:
        yield _note(f"{path} was damaged: {done.damage[0]}")
    if done.reindexed:
        yield _done("only its indexes were: they are built anew, and the file is sound")
    if done.lost_rows:
        yield _lost(f"{many(done.lost_rows, 'event')} that an index knew and their table does not")
    if done.emptied:
        yield _note(f"{path} is empty: the next recording begins a new database there")
    for copy in done.copies:
        yield from _copy(copy)
    for name, why in done.failed:
        yield "WRONG", "red", f"{name} could not be salvaged, and is as it was: {why}"
    if not (done.damage or done.copies or done.failed or done.emptied):
        where = f"{path} is sound" if path.is_file() else f"there is no database at {path}"
        yield "ok", "green", f"{where}, and no damaged one lies beside it: there is nothing to repair"


def _copy(copy: Salvaged) -> Iterator[Line]:
    if copy.before:
        yield _done(f"{copy.copy} had been salvaged before, and has its name now")
        return
    what = ", ".join(_count(name, copy.rows[name]) for name in _TABLES if copy.rows.get(name))
    kinds = ", ".join(counted(kind, count) for kind, count in sorted(copy.events.items()))
    yield _done(f"salvaged: {what}") if what else _lost("nothing in it could be read")
    if kinds:
        yield _done(f"of the events: {kinds}")
    if copy.there:
        yield _note(f"there already: {', '.join(_count(name, count) for name, count in copy.there.items())}")
    yield from _losses(copy)
    yield from _gaps(copy)
    advice = "it holds prompts, so delete it once you miss nothing"
    yield _note(f"the damaged file is kept as {copy.copy} ({size(copy.bytes)}); {advice}")


def _losses(copy: Salvaged) -> Iterator[Line]:
    """What is certainly lost, and what may be."""
    if copy.lost_events_known:
        named = [str(event["id"]) for event in copy.lost_events[:_NAMED]]
        yield _lost(f"{many(copy.lost_events_known, 'event')}: {_some(named, copy.lost_events_known)}")
    rest = copy.numbers_missing - copy.lost_events_known
    if rest > 0:
        gaps = f"{many(rest, 'number')} of events {'is' if rest == 1 else 'are'} missing"
        if copy.exact:
            yield _note(f"{gaps} that no index knows, as after rm and prune")
        else:
            yield _lost(f"{gaps}: they were lost, or erased by rm or prune; the index that would tell is damaged, too")
    if copy.lost_sessions:
        count = len(copy.lost_sessions)
        named = copy.lost_sessions[:_NAMED]
        yield _lost(f"{many(count, 'session')} with all that was in them: {_some(named, count)}")


def _gaps(copy: Salvaged) -> Iterator[Line]:
    """What is there, but not as it was."""
    for table, count in copy.cut.items():
        yield _lost(f"a part of {_count(table, count)}; what is missing is marked in its place")
    for table, count in copy.altered.items():
        yield _note(f"altered, no longer as recorded: {_count(table, count)}")
    for table, count in copy.standins.items():
        yield _note(f"lost, and marked in its place: {counted(_STANDINS.get(table, table), count)}")
    if copy.cut_off:
        yield _lost(f"the last {many(copy.cut_off, 'page')} of {copy.cut_off + copy.pages:,}: the file was cut off")
    if copy.unreadable_pages:
        share = f"{len(copy.unreadable_pages):,} of {many(copy.pages, 'page')}"
        yield _note(f"{share} could not be read")
    rows = sum(copy.unreadable_rows.values())
    if rows:
        yield _note(f"{many(rows, 'row')} on other pages could not be read")


def _some(named: list[str], count: int) -> str:
    return ", ".join(named) + (", ..." if count > len(named) else "")


def _count(table: str, count: int) -> str:
    return counted(_NAMES.get(table, table.replace("_", " ")), count)
