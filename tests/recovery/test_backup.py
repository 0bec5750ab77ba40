from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import sys
from contextlib import closing
from pathlib import Path

import pytest

from agentops_local.errors import StoreFault, WrongUse
from agentops_local.recovery import backup
from agentops_local.recovery.backup import Refused, make
from agentops_local.recovery.digest import NotSound, digests, opened
from agentops_local.recovery.restore import restore
from agentops_local.store.backup import back_up, backups
from agentops_local.store.lock import WritersLock
from tests.analytics.recording import Book
from tests.reliability.conftest import Spawn
from tests.reliability.tools.crash import DB, SESSION, acks, check, examine

COUNT = "SELECT count(*) FROM events"
posix = pytest.mark.skipif(sys.platform == "win32", reason="there are no modes of files")


def fill(book: Book, events: int = 40) -> None:
    """Something of everything; large enough for a copy in many steps."""
    state = book.session("a tag")
    for number in range(events):
        book.tool(state, "search", {"number": number}, "found " * 500)
    book.llm(state, "ask", "again", completion="yes")
    book.error(state)
    book.end(state)


def begun_and_dead(book: Book) -> None:
    """The database as a writer with a rollback journal leaves it that dies in a transaction."""
    if not book.path.exists():
        fill(book)
        book.close()
        book.change("PRAGMA journal_mode = DELETE")
    whole = sqlite3.connect(book.path, isolation_level=None)
    with closing(whole), closing(whole.cursor()) as writer:
        writer.execute("PRAGMA cache_size = 1")
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE events SET logs = '\"' || hex(randomblob(3000)) || '\"'")
        writer.execute("INSERT INTO losses (at_us, pid, events, reason) VALUES (1, 1, 1, 'x')")
        for suffix in ("", "-journal"):
            shutil.copy(f"{book.path}{suffix}", f"copy{suffix}")
        writer.execute("ROLLBACK")
    for suffix in ("", "-journal"):
        shutil.move(f"copy{suffix}", f"{book.path}{suffix}")


def rows(path: Path) -> dict[str, str]:
    """The digests of all tables."""
    with opened(path) as connection:
        return digests(connection)


def beside(path: Path) -> set[str]:
    """What lies in the folder of a file."""
    return {file.name for file in path.parent.iterdir()}


class TestWhatItIs:
    def test_it_holds_everything(self, book: Book) -> None:
        """A backup equals the database, table by table and row by row, also what only the WAL holds yet."""
        fill(book)
        made = make(book.path)
        assert rows(made.held.path) == rows(book.path)
        assert (made.held.sessions, made.held.events) == (1, 42)
        assert made.rows["events"] == 42

    @posix
    def test_it_is_private(self, book: Book) -> None:
        """It is 0600 in a folder of 0700 that git does not look into, whatever the umask."""
        fill(book)
        before = os.umask(0)
        try:
            path = make(book.path).held.path
            named = make(book.path, book.path.parent.parent / "named.db").held.path
        finally:
            os.umask(before)
        assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(named.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert (path.parent / ".gitignore").read_text().endswith("*\n")

    def test_it_is_one_file(self, book: Book) -> None:
        """It has no WAL, and does not ask for one: any SQLite tool reads it where nothing can be written."""
        fill(book)
        path = make(book.path, book.path.parent / "copy.db").held.path
        assert path.read_bytes()[18:20] == b"\x01\x01"
        with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as connection:
            assert connection.execute("SELECT count(*) FROM tools").fetchone() == (40,)
        assert not {name for name in beside(path) if name.startswith("copy.db-")}

    def test_erased_sessions_are_not_counted(self, book: Book) -> None:
        """The empty rows that keep the numbers of what was erased are neither sessions nor events."""
        book.end(book.session())
        state = book.session()
        book.tool(state)
        name = book.end(state)
        book.close()
        from agentops_local.analytics.erase import Eraser
        from agentops_local.analytics.owners import Status

        with closing(Eraser(book.path, frozenset(Status))) as eraser:
            eraser.erase(name)
            eraser.finish()
        made = make(book.path)
        assert made.rows["sessions"] == 2
        assert (made.held.sessions, made.held.events) == (1, 0)


class TestWhileProgramsRecord:
    WRITER = """
import sys
me = Actor(*sys.argv[1:])
number = 0
while True:
    number += 1
    me.tool("x" * 2000)
    me.llm("w", number, 2)
"""

    def test_nobody_waits_for_it(self, project: Path, spawn: Spawn, monkeypatch: pytest.MonkeyPatch) -> None:
        """Between two steps of a copy a program records events; the copy ends all the same, and is of the moment at
        which it was begun: whole, with everything that was acknowledged until then."""
        monkeypatch.setattr(backup, "_STEP", 16)
        program = spawn(self.WRITER, DB, SESSION)
        program.until(lambda: len(program.lines) > 200)
        before = acks(program)
        steps = 0

        def progress(left: int, total: int) -> None:
            nonlocal steps
            steps += 1
            heard = len(program.lines)
            program.until(lambda: len(program.lines) > heard)

        made = make(Path(DB).resolve(), progress=progress)
        program.kill()
        assert steps > 5
        truth = check(before, made.held.path)
        assert truth.events.total() == made.held.events < len(acks(program)) - steps // 2
        check(acks(program), DB)

    def test_a_rollback_journal(self, book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without WAL, a copy that writers disturb is begun anew, and the last attempt keeps them out: it ends, and
        holds what they wrote."""
        monkeypatch.setattr(backup, "_SMALL_STEP", 4)
        fill(book)
        book.close()
        book.change("PRAGMA journal_mode = DELETE")
        kept_out = 0

        def progress(left: int, total: int) -> None:
            nonlocal kept_out
            lock = WritersLock(book.path.with_name(f"{book.path.name}.lock"), timeout=0)
            try:
                lock.acquire()
                book.change("INSERT INTO losses (at_us, pid, events, reason) VALUES (1, 1, 1, 'x')")
            except StoreFault:
                kept_out += 1
            finally:
                lock.release()
                lock.close()

        made = make(book.path, progress=progress)
        assert made.rows["losses"] == backup._ATTEMPTS
        assert kept_out > 0
        assert rows(made.held.path) == rows(book.path)

    def test_a_rollback_journal_undisturbed(self, book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without WAL, a copy that nobody disturbs is made without keeping anybody out."""
        monkeypatch.setattr(backup, "_SMALL_STEP", 4)
        fill(book)
        book.close()
        book.change("PRAGMA journal_mode = DELETE")
        lock = WritersLock(book.path.with_name(f"{book.path.name}.lock"), timeout=0)

        def progress(left: int, total: int) -> None:
            lock.acquire()
            lock.release()

        made = make(book.path, progress=progress)
        lock.close()
        assert rows(made.held.path) == rows(book.path)

    def test_a_writer_that_came_to_a_sudden_end(self, book: Book) -> None:
        """Without WAL, what a dead writer had begun is undone, and then copied, and restored over."""
        begun_and_dead(book)
        made = make(book.path)
        assert made.held.events == 42
        assert made.rows["losses"] == 0
        begun_and_dead(book)
        asked: list[int] = []
        done = restore(book.path, made.held.path, lambda found: asked.extend(found.execute(COUNT).fetchone()))
        assert asked == [42], "who records was asked before anything was replaced"
        assert done.replaced is not None
        assert rows(done.replaced)["events"] == rows(book.path)["events"]

    def test_it_cancels_no_locks(self, project: Path, spawn: Spawn) -> None:
        """A backup made by a process that has the database open takes none of its locks away: another program that
        opens and closes it does not take itself for the last one, and a SIGKILL loses nothing."""
        program = spawn(
            """
import sys
from pathlib import Path
from agentops_local.recovery.backup import make
me = Actor(*sys.argv[1:])
me.many(20)
make(me.database.path)
me.many(20)
say("copied")
order()
me.many(20)
die()
""",
            DB,
            SESSION,
        )
        program.expect("copied")
        with closing(sqlite3.connect(DB)) as other:
            assert other.execute("SELECT count(*) FROM events").fetchone() == (40,)
        assert Path(f"{DB}-wal").exists()
        program.tell()
        program.until(lambda: False)
        assert len(acks(program)) == 60
        check(acks(program), DB)
        check(acks(program)[:20], *backups(Path(DB)))


class TestHalfACopy:
    def test_an_interruption_leaves_nothing(self, book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
        """Ctrl-C in the midst of a copy leaves no file behind, and what was to be overwritten as it was."""
        monkeypatch.setattr(backup, "_STEP", 4)
        fill(book)
        target = book.path.parent / "copy.db"
        target.write_text("mine")
        there = beside(target)

        def progress(left: int, total: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            make(book.path, target, force=True, progress=progress)
        assert beside(target) - there <= {f"{book.path.name}-wal", f"{book.path.name}-shm"}
        assert target.read_text() == "mine"

    def test_a_kill_leaves_no_backup(self, project: Path, spawn: Spawn) -> None:
        """What a SIGKILL leaves of a copy is not called a backup, and is removed by a backup a day later."""
        program = spawn(
            """
import sys
from agentops_local.recovery import backup
backup._STEP = 4
me = Actor(*sys.argv[1:])
me.many(100)
me.tool("x" * 50000)
backup.make(me.database.path, progress=lambda left, total: left < total // 2 and die())
""",
            DB,
            SESSION,
        )
        program.until(lambda: False)
        path = Path(DB).resolve()
        assert backups(path) == []
        (part,) = (path.parent / "backups").glob("*.part-*[0-9]")
        make(path)
        assert part.exists(), "it may be being written"
        os.utime(part, (1, 1))
        make(path)
        assert not list(part.parent.glob("*.part-*"))
        examine(*backups(path))

    def test_a_damaged_database(self, book: Book) -> None:
        """A database that is damaged gets no backup that one would rely on."""
        fill(book)
        book.close()
        size = book.path.stat().st_size
        with book.path.open("r+b") as file:
            file.seek(size // 2 // 4096 * 4096)
            file.write(b"\xff" * 4096)
        with pytest.raises((NotSound, sqlite3.DatabaseError)):
            make(book.path)
        assert backups(book.path) == []
        assert beside(book.path.parent / "backups" / "x") == {".gitignore"}

    def test_a_copy_that_lacks_rows(self, book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
        """A copy that has not the rows which the database had is thrown away."""
        fill(book)

        def lossy(source: sqlite3.Connection, target: Path, *more: object) -> Path:
            back_up(source, target)
            with closing(sqlite3.connect(target)) as connection, connection:
                connection.execute("DELETE FROM losses")
                connection.execute("DELETE FROM events WHERE seq = 3")
            return target

        monkeypatch.setattr(backup, "back_up", lossy)
        with pytest.raises(Refused, match="other rows than the database had, in events"):
            make(book.path)
        assert backups(book.path) == []


class TestWhereItGoes:
    def test_each_has_a_name_of_its_own(self, book: Book) -> None:
        """Backups of one second get different names; `backups` lists them in the order in which they were made."""
        fill(book, 1)
        made = [make(book.path).held.path for _ in range(12)]
        assert backups(book.path) == made
        assert all(path.name.startswith("agentops-2") for path in made)

    @pytest.mark.parametrize("keep", [1, 3, 9])
    def test_the_newest_are_kept(self, book: Book, keep: int) -> None:
        """`keep` removes all backups of this database but the newest ones, and no other file."""
        fill(book, 1)
        folder = book.path.parent / "backups"
        made = [make(book.path).held.path for _ in range(4)]
        others = [folder / "mine.db", folder / "agentops-20200101T000000.db.txt", folder / "other-20200101T000000.db"]
        for other in others:
            other.touch()
        done = make(book.path, keep=keep)
        left = [*made, done.held.path][-keep:]
        assert backups(book.path) == left
        assert done.removed == [path for path in made if path not in left]
        assert all(other.exists() for other in others)

    def test_a_folder(self, book: Book, tmp_path: Path) -> None:
        """A target that is a folder gets a file with the default name."""
        fill(book, 1)
        path = make(book.path, tmp_path).held.path
        assert path.parent == tmp_path
        assert make(book.path, tmp_path).held.path != path

    def test_a_file_is_not_overwritten(self, book: Book) -> None:
        """A file of that name stays, unless one insists."""
        fill(book, 1)
        target = book.path.parent / "copy.db"
        target.write_text("mine")
        with pytest.raises(Refused, match="--force"):
            make(book.path, target)
        assert target.read_text() == "mine"
        assert make(book.path, target, force=True).held.path == target
        assert rows(target) == rows(book.path)

    @pytest.mark.parametrize(
        "suffix", ["", "-wal", "-shm", "-journal", ".lock", "-generation", ".sync.lock", ".sync.reserve"]
    )
    def test_never_onto_the_database(self, book: Book, suffix: str) -> None:
        """Nothing that belongs to the database is ever overwritten by its own backup, under whatever name."""
        fill(book, 1)
        target = book.path.with_name(book.path.name + suffix)
        with pytest.raises(WrongUse):
            make(book.path, target, force=True)
        if target.exists():
            other = book.path.parent / "other.name"
            os.link(target, other)
            with pytest.raises(WrongUse):
                make(book.path, other, force=True)
        book.check()

    def test_never_onto_a_database_in_use(self, book: Book) -> None:
        """A database with a WAL is not overwritten: SQLite would play that into the backup."""
        fill(book, 1)
        other = Book(book.path.parent / "other.db")
        fill(other, 1)
        with pytest.raises(Refused, match="in use"):
            make(book.path, other.path, force=True)
        other.close()
        assert make(book.path, other.path, force=True).held.path == other.path
