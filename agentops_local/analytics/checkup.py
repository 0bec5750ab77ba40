"""What `doctor` looks at. Each look gives findings; none changes anything.

A finding is a problem (something to be put right), a note (worth knowing) or fine.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from agentops_local.analytics.erase import unfinished
from agentops_local.analytics.finding import Finding, Level
from agentops_local.analytics.owners import Status, judge, open_owners, owners_of
from agentops_local.analytics.reading import iso, open_reader
from agentops_local.analytics.uploading import upload_findings
from agentops_local.clock import now_us
from agentops_local.errors import DatabaseUnusable
from agentops_local.process import Liveness
from agentops_local.store.backup import backups
from agentops_local.store.filesystem import filesystem_type, wal_is_safe
from agentops_local.store.location import exposure
from agentops_local.store.schema import VERSION
from agentops_local.store.trouble import Trouble, complaints, diagnose

WAL_LARGE = 64 << 20

# Settings whose value may be shown. Of any other variable only the name is: it may hold a key.
_SHOWN = frozenset(
    (
        "AGENTOPS_LOCAL_BUDGET", "AGENTOPS_LOCAL_DB", "AGENTOPS_LOCAL_DURABILITY", "AGENTOPS_LOCAL_SESSION",
        "AGENTOPS_LOCAL_STRICT", "AGENTOPS_LOGGING_LEVEL", "AGENTOPS_ENV_DATA_OPT_OUT", "AGENTOPS_LOCAL_UPLOAD",
        "AGENTOPS_LOCAL_SAVE_KEY", "AGENTOPS_LOCAL_CREDENTIALS", "AGENTOPS_SYNC_TIMING",
        "AGENTOPS_SYNC_RESERVE",
    )
)  # fmt: skip


_STRAY = """
SELECT count(*) FROM scores x WHERE x.event IS NOT NULL
AND NOT EXISTS (SELECT 1 FROM events e WHERE e.session = x.session AND e.id = x.event)
"""
_REMEDY = "`agentops-local doctor --repair` puts the file aside and brings back what can be read of it"


@dataclass
class Checkup:
    """A look at a database and what is around it.

    Args:
        path: the database; there may be none yet.
        full: whether every index is compared with its table, too.
        environ: where settings are looked up.
    """

    path: Path
    full: bool = False
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def run(self) -> Iterator[Finding]:
        """The findings, as they are made."""
        yield from sqlite_findings(sqlite3.sqlite_version_info)
        yield from self._place()
        if not self.path.is_file():
            yield Finding(Level.NOTE, "database", f"{self.path} is not there yet: it is made with the first event")
        else:
            yield from self._database()
        yield from _lying_beside(self.path)
        yield from _settings(self.environ)

    def _place(self) -> Iterator[Finding]:
        kind = filesystem_type(self.path.parent)
        if wal_is_safe(kind):
            yield Finding(Level.FINE, "filesystem", f"{kind or 'unknown'}: WAL is safe there", {"type": kind})
        else:
            yield Finding(
                Level.NOTE, "filesystem",
                f"{kind}: WAL is unsafe there, so a slower rollback journal is used; a local disk is better",
                {"type": kind},
            )  # fmt: skip
        if self.path.parent.is_dir():
            yield _permissions(self.path)

    def _database(self) -> Iterator[Finding]:
        try:
            connection = open_reader(self.path)
        except DatabaseUnusable as error:
            yield from _unusable(self.path, error)
            return
        with closing(connection):
            looks: tuple[Callable[[sqlite3.Connection], Iterator[Finding]], ...] = (
                self._file, self._integrity, _references, _processes, _losses, _unfinished, self._upload,
            )  # fmt: skip
            failed: dict[str, sqlite3.DatabaseError] = {}
            damaged = False
            for look in looks:
                for finding in _tried(look, connection, failed):
                    damaged |= finding.about == "integrity" and finding.level is Level.PROBLEM
                    yield finding
        if failed:
            reasons = "; ".join(dict.fromkeys(map(str, failed.values())))
            text = f"not all of it can be read ({reasons}); not looked at: {', '.join(failed)}"
            yield Finding(Level.PROBLEM, "database", text, {"path": str(self.path)})
        if damaged or any(diagnose(error) is Trouble.DAMAGED for error in failed.values()):
            yield Finding(Level.NOTE, "remedy", _REMEDY)

    def _file(self, connection: sqlite3.Connection) -> Iterator[Finding]:
        version = _one(connection, "PRAGMA user_version")
        size, wal = _size(self.path), _size(self.path.with_name(f"{self.path.name}-wal"))
        mode = str(_one(connection, "PRAGMA journal_mode"))
        data = {"path": str(self.path), "schema": version, "bytes": size, "wal_bytes": wal, "journal_mode": mode}
        yield Finding(
            Level.FINE, "database", f"{self.path}: schema version {version}, {size:,} bytes, WAL {wal:,} bytes", data
        )
        if version != VERSION:
            text = f"schema version {version}; it is brought to {VERSION}, after a backup, when next recorded to"
            yield Finding(Level.NOTE, "schema", text)
        if mode == "wal" and not wal_is_safe(filesystem_type(self.path.parent)):
            text = "it is in WAL mode on a filesystem where WAL is unsafe: move it to a local disk"
            yield Finding(Level.PROBLEM, "journal", text)
        if wal > WAL_LARGE:
            text = f"it has grown to {wal:,} bytes: a reader that stays open keeps it from being emptied"
            yield Finding(Level.PROBLEM, "WAL", text)

    def _integrity(self, connection: sqlite3.Connection) -> Iterator[Finding]:
        check = "integrity_check" if self.full else "quick_check"
        found = [str(row[0]) for row in connection.execute(f"PRAGMA {check}(20)").fetchall()]
        if found == ["ok"]:
            yield Finding(Level.FINE, "integrity", f"{check}: ok")
        else:
            yield Finding(Level.PROBLEM, "integrity", f"{check} found damage: {complaints(found)[0]}", found)

    def _upload(self, connection: sqlite3.Connection) -> Iterator[Finding]:
        yield from upload_findings(connection, self.path, now_us())


def _tried(
    look: Callable[[sqlite3.Connection], Iterator[Finding]],
    connection: sqlite3.Connection,
    failed: dict[str, sqlite3.DatabaseError],
) -> Iterator[Finding]:
    try:
        yield from look(connection)
    except sqlite3.DatabaseError as error:
        failed[look.__name__.strip("_")] = error


def _unusable(path: Path, error: DatabaseUnusable) -> Iterator[Finding]:
    """Why a database could not be opened; the remedy where that is damage."""
    cause = error.__cause__
    damaged = cause is not None and diagnose(cause) is Trouble.DAMAGED
    text = f"{path} cannot be read: {cause}" if damaged else str(error)
    if not _size(path) and _size(path.with_name(f"{path.name}-wal")):
        damaged, text = True, f"{path} is empty, and its WAL is not: what that holds is lost with the next recording"
    yield Finding(Level.PROBLEM, "database", text, {"path": str(path)})
    if damaged:
        yield Finding(Level.NOTE, "remedy", _REMEDY)


def wal_reset_bug(version: tuple[int, ...]) -> bool:
    """Whether this SQLite can lose commits when two connections checkpoint while a third writes.

    It came with the WAL in 3.7.0, is fixed in 3.51.3 and from 3.53.0 on, and the fix went back into 3.50.7 and 3.44.6.
    """
    if version < (3, 7, 0) or version >= (3, 53, 0):
        return False
    mended: dict[tuple[int, ...], int] = {(3, 51): 3, (3, 50): 7, (3, 44): 6}
    since = mended.get(version[:2])
    return since is None or version[2] < since


def sqlite_findings(version: tuple[int, ...]) -> Iterator[Finding]:
    """What is known of a version of SQLite."""
    name = ".".join(map(str, version))
    if wal_reset_bug(version):
        text = (
            f"{name}: it has the WAL-reset bug (fixed in 3.51.3 and 3.53.0). Our settings avoid what triggers it: no "
            "memory mapping, no automatic checkpoints, one checkpointer at a time, under the writers' lock"
        )
        yield Finding(Level.NOTE, "SQLite", text, {"version": name, "wal_reset_bug": True})
    else:
        yield Finding(Level.FINE, "SQLite", f"{name}: no known fault", {"version": name, "wal_reset_bug": False})


def _permissions(path: Path) -> Finding:
    data = {"folder": _mode(path.parent), "file": _mode(path)}
    sentence = exposure(path)
    if sentence is not None:
        return Finding(Level.PROBLEM, "permissions", sentence, data)
    text = f"folder {data['folder'] or 'not known'}, file {data['file'] or 'not there'}: others cannot read it"
    return Finding(Level.FINE, "permissions", text, data)


def _references(connection: sqlite3.Connection) -> Iterator[Finding]:
    broken = connection.execute("PRAGMA foreign_key_check").fetchmany(1000)
    if not broken:
        yield Finding(Level.FINE, "references", "every row finds those it names")
    else:
        tables = sorted({str(row["table"]) for row in broken})
        text = f"{len(broken)} rows of {', '.join(tables)} name rows that are gone"
        yield Finding(Level.PROBLEM, "references", text, {"rows": len(broken), "tables": tables})
    stray = int(connection.execute(_STRAY).fetchone()[0])
    if stray:
        text = f"{stray} scores are about events that are not here; they count for their sessions all the same"
        yield Finding(Level.NOTE, "scores", text, {"rows": stray})


def _processes(connection: sqlite3.Connection) -> Iterator[Finding]:
    owners = open_owners(connection)
    live = [(owner, session) for owner, session, _ in owners if owner.life() is Liveness.ALIVE]
    data = [
        {"pid": owner.identity.pid, "program": owner.program, "session_id": session, "since": iso(owner.start_us)}
        for owner, session in live
    ]
    names = ", ".join(f"{owner.identity.pid} {owner.program or ''}".strip() for owner, _ in live)
    yield Finding(Level.FINE, "recording now", names or "nobody", data)
    rows = connection.execute("SELECT seq, id FROM sessions WHERE end_us IS NULL AND id <> '' ORDER BY seq").fetchall()
    by_status: dict[Status, list[str]] = {}
    for row in rows:
        by_status.setdefault(judge(None, owners_of(connection, row["seq"])), []).append(row["id"])
    died, unknown = by_status.get(Status.DIED, []), by_status.get(Status.UNKNOWN, [])
    if died:
        text = f"{len(died)} nobody ended, and their processes are gone (agentops-local sessions --state died)"
        yield Finding(Level.NOTE, "died sessions", text, died)
    if unknown:
        text = f"{len(unknown)} nobody ended, and whether their processes live cannot be told from here"
        yield Finding(Level.NOTE, "open sessions", text, unknown)


def _losses(connection: sqlite3.Connection) -> Iterator[Finding]:
    rows = connection.execute("SELECT at_us, pid, events, reason FROM losses ORDER BY id").fetchall()
    lost = sum(row["events"] for row in rows)
    if not lost:
        yield Finding(Level.FINE, "losses", "no event was lost")
        return
    data = [
        {"at": iso(row["at_us"]), "pid": row["pid"], "events": row["events"], "reason": row["reason"]} for row in rows
    ]
    last = rows[-1]
    text = f"{lost} events could not be stored, the last at {iso(last['at_us'])}: {last['reason']}"
    yield Finding(Level.PROBLEM, "losses", text, data)


def _unfinished(connection: sqlite3.Connection) -> Iterator[Finding]:
    left = unfinished(connection)
    if "scrubbing" in left:
        text = "`erase --pattern` was cut short, what it was to take out is still there: the same command finishes it"
        yield Finding(Level.PROBLEM, "erasing", text)
    elif "erasing" in left:
        text = "rm or prune was cut short, what it erased may still be there: `agentops-local rm` finishes it"
        yield Finding(Level.PROBLEM, "erasing", text)
    elif "rewrite_due" in left:
        text = (
            "the file was not rewritten after sessions were erased, so gaps in its pages may hold traces of them: "
            "`agentops-local rm` does it when nobody records, with --rewrite at once"
        )
        yield Finding(Level.NOTE, "erasing", text)


def copies(path: Path) -> list[Path]:
    """Copies that were made and left beside the database: damaged ones put aside, those of them that are salvaged,
    what a repair or a restoring that was killed has left, databases that a backup has replaced, backups before a
    migration, and those in the default folder."""
    ends = ("damaged-*", "salvaged-*", "salvaging-*", "replaced-*", "restoring-*", "v*.backup")
    found = [copy for end in ends for copy in path.parent.glob(f"{path.name}.{end}")]
    beside = sorted(copy for copy in found if not copy.name.endswith(("-wal", "-shm", "-journal")))
    return [*beside, *backups(path)]


def _lying_beside(path: Path) -> Iterator[Finding]:
    made = backups(path)
    if made:
        total = sum(map(_size, made))
        text = f"{len(made)}, {total:,} bytes, the newest {made[-1].name}; they hold prompts, too"
        yield Finding(Level.FINE, "backups", text, [str(backup) for backup in made])
    for copy in copies(path):
        if copy in made:
            continue
        if copy.name.endswith(".backup"):
            level, advice = Level.NOTE, "is a backup from before an upgrade; it holds prompts, too"
        elif copy.name.startswith(f"{path.name}.salvaged-"):
            level, advice = Level.NOTE, "was damaged and is salvaged; it holds prompts: delete it once you miss nothing"
        elif copy.name.startswith(f"{path.name}.salvaging-"):
            level, advice = Level.NOTE, "is left of a repair that was cut short, or is at work; the next one removes it"
        elif copy.name.startswith(f"{path.name}.replaced-"):
            level, advice = Level.NOTE, "was replaced by a backup; it holds prompts: delete it once you miss nothing"
        elif copy.name.startswith(f"{path.name}.restoring-"):
            level, advice = (
                Level.NOTE,
                "is left of a restoring that was cut short, or at work; a later one removes it",
            )
        else:
            level = Level.PROBLEM
            advice = "was put aside as damaged; `agentops-local doctor --repair` puts back what can be read of it"
        yield Finding(level, "beside it", f"{copy.name} ({_size(copy):,} bytes) {advice}", {"path": str(copy)})


def _settings(environ: Mapping[str, str]) -> Iterator[Finding]:
    found = {name: environ[name] for name in sorted(environ) if name.startswith("AGENTOPS_")}
    shown = {name: value if name in _SHOWN else "(set, not shown)" for name, value in found.items()}
    text = ", ".join(f"{name}={value}" for name, value in shown.items())
    yield Finding(Level.FINE, "settings", text or "no AGENTOPS_ variable is set", shown)


def _one(connection: sqlite3.Connection, sql: str) -> object:
    return connection.execute(sql).fetchone()[0]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _mode(path: Path) -> str | None:
    try:
        return f"{stat.S_IMODE(path.stat().st_mode):04o}"
    except OSError:
        return None
